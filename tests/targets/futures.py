"""What the workers of test_futures.py do, and objects that they cannot send."""

import os
import signal
import sys
from typing import NoReturn

from library import PATIENCE

from targets import pool


def add(first: int, second: int = 0, *, third: int = 0) -> int:
    return first + second + third


def begin_and_wait(value: object = None) -> object:
    """Tells that it has begun, and waits until it may end; by what the initializer gave."""
    begun, may_end = pool.given_by_initializer
    begun.release()
    assert may_end.acquire(timeout=PATIENCE)
    return value


def begin_and_stay(_: object = None) -> NoReturn:
    """Tells that it has begun, and never ends."""
    pool.given_by_initializer[0].release()
    while True:
        signal.pause()


def count(value: object = None) -> object:
    """Tells that it was called, by the semaphore that the initializer gave."""
    pool.given_by_initializer[0].release()
    return value


def fail_at(number: int, which: int) -> int:
    if number == which:
        raise ValueError(number)
    return number


def exit_with(code: int) -> NoReturn:
    sys.exit(code)


class UnreadableError(Exception):
    """Pickles, and does not unpickle."""

    def __init__(self, one: object, two: object) -> None:
        super().__init__("there are two of them")


class UnsendableError(Exception):
    """Does not pickle."""

    def __reduce__(self):
        raise TypeError("never")


def raise_unreadable() -> NoReturn:
    raise UnreadableError(1, 2)


def raise_unsendable() -> NoReturn:
    raise UnsendableError("not to be sent")


class Unreadable:
    """Raises in whoever unpickles it."""

    def __reduce__(self):
        return divmod, (1, 0)


def return_unreadable() -> Unreadable:
    return Unreadable()


def fill_memory() -> int:
    return len(bytearray(2 << 30))


def call_in_executor(number: int) -> tuple[int, int]:
    """Has an executor of its own; returns what its worker says, and whose child that is."""
    from procession.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(1) as executor:
        future = executor.submit(pool.square, number)
        return future.result(PATIENCE), os.getpid()
