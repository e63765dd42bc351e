"""What the workers of test_on_error.py do."""

import os
import signal
import threading
import time
from typing import NoReturn

from targets import pool as pool_targets


def square(number: int) -> int:
    """Returns the square; 3 fails, and 7 dies."""
    if number == 3:
        raise ValueError(number)
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def add(first: int, second: int) -> int:
    if first == 3:
        raise ValueError(first, second)
    return first + second


def wait_or_fail(number: int) -> str:
    """Fails for 0; all others tell that they run, and wait for the initializer's event."""
    started, _ = pool_targets.given_by_initializer
    if number == 0:
        # Once another runs, so that it is known who does.
        assert started.acquire(timeout=60)
        started.release()
        raise ValueError(number)
    return pool_targets.wait_for_given()


def fail_for_odd(number: int) -> int:
    """Counts its calls in what the initializer gave."""
    (calls,) = pool_targets.given_by_initializer
    with calls.get_lock():
        calls.value += 1
    return pool_targets.fail_if_odd(number)


def lock_for_two(number: int) -> object:
    """Returns what cannot be pickled, for 2."""
    return threading.Lock() if number == 2 else number


def exit_for_two(number: int) -> int:
    if number == 2:
        raise SystemExit("on purpose")
    return number


def numbers_then_error() -> object:
    yield 1
    yield 2
    raise KeyError("the input is broken")


def no_input(_: object) -> NoReturn:
    raise AssertionError("there is no input")


def add_one(number: int) -> int:
    return number + 1


def rest(seconds: float) -> None:
    time.sleep(seconds)


def tell_and_stay(told) -> NoReturn:
    told.release()
    while True:
        signal.pause()


def wait_for(told, gate) -> bool:
    """Tells that it runs, and waits."""
    told.release()
    return gate.acquire(timeout=60)


class Named:
    """Can be called, and has no name of a function."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self) -> str:
        return self.name
