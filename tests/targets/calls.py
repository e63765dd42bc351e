"""Calls that bring their result home over a queue, under any library."""


def nothing() -> None:
    """Returns at once."""


def call_and_put(answers, function, args, kwargs) -> None:
    """Puts what a function returns, or what it raises."""
    try:
        answers.put((True, function(*args, **kwargs)))
    except Exception as error:  # noqa: BLE001 -- handed to the test
        answers.put((False, error))
