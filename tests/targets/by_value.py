"""What the children of the tests of functions by value run."""

_noted = None


def call(function):
    return function(1)


def note(value) -> None:
    global _noted
    _noted = value


def noted():
    return _noted


def get_call_and_put(queue, answers) -> None:
    answers.put(queue.get()(1))


def answer_calls(connection) -> None:
    function = connection.recv()
    connection.send(lambda number: function(number))


def close_and_wait(connection, _function, closed, leave) -> None:
    connection.close()
    closed.set()
    leave.wait()


class Reduced:
    """Is written by a reducer that a test registers."""


def reduce(_reduced):
    return str, ("reduced",)
