"""What the processes of test_reduction.py do, and how things get there."""

from library import load

from targets import calls


class Unpicklable:
    """A thing that only a registered reducer can pickle."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __reduce__(self):
        raise TypeError("only by its reducer")


class File:
    """A descriptor that is duplicated when it is pickled."""

    def __init__(self, fd: int) -> None:
        self.fd = fd


def rebuild_file(wrapped) -> File:
    return File(wrapped.detach())


def reduce_file(file: File):
    return rebuild_file, (load("reduction").DupFd(file.fd),)


def reduce_unpicklable(thing: Unpicklable):
    return Unpicklable, (thing.value,)


load("reduction").ForkingPickler.register(Unpicklable, reduce_unpicklable)
load("reduction").register(File, reduce_file)


# The ways: each has a child call a function with the thing, and returns the result.


def by_arguments(mp, thing, function, *more):
    answers = mp.SimpleQueue()
    arguments = (answers, function, (thing, *more), {})
    child = mp.Process(target=calls.call_and_put, args=arguments)
    child.start()
    return answer_of(answers, child)


def by_queue(mp, thing, function, *more):
    things, answers = mp.Queue(), mp.SimpleQueue()
    child = mp.Process(target=get_and_call, args=(things, answers, function, more))
    child.start()
    things.put(thing)
    result = answer_of(answers, child)
    things.close()
    things.join_thread()
    return result


def by_pipe(mp, thing, function, *more):
    here, there = mp.Pipe()
    answers = mp.SimpleQueue()
    child = mp.Process(target=receive_and_call, args=(there, answers, function, more))
    child.start()
    with here, there:
        here.send(thing)
        return answer_of(answers, child)


def by_pool(mp, thing, function, *more):
    with mp.Pool(1) as pool:
        return pool.apply(function, (thing, *more))


def answer_of(answers, child):
    succeeded, result = answers.get()
    child.join()
    child.close()
    if not succeeded:
        raise result
    return result


def get_and_call(things, answers, function, more) -> None:
    calls.call_and_put(answers, function, (things.get(), *more), {})


def receive_and_call(connection, answers, function, more) -> None:
    calls.call_and_put(answers, function, (connection.recv(), *more), {})


# What is called with the thing.


def value_of(thing: Unpicklable) -> int:
    return thing.value


def send_word(sock) -> None:
    with sock:
        sock.sendall(b"a word")


def echo_once(connection, other) -> None:
    other.close()
    with connection:
        connection.send("a word")


def read_all(file: File) -> bytes:
    with open(file.fd, "rb") as opened:
        opened.seek(0)
        return opened.read()


def receive_handle(connection) -> None:
    handle = load("reduction").recv_handle(connection)
    with open(handle, "rb") as file:
        connection.send(file.read())


def call(function, *arguments):
    return function(*arguments)
