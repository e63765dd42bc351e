"""What the workers of test_pool.py do."""

import ctypes
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from library import PATIENCE, multiprocessing

given_by_initializer: list = []


def square(number: int) -> int:
    return number * number


def add(first: int, second: int = 0, *, third: int = 0) -> int:
    return first + second + third


def note_in(notes: list, item: object = None, *, more: tuple[list, ...] = ()) -> list:
    """Appends to lists that are bound to it; returns how long they are."""
    for each in (notes, *more):
        each.append(item)
    return [len(each) for each in (notes, *more)]


def length_with(data: bytes, _: object) -> int:
    return len(data)


def pid(_: object = None) -> int:
    return os.getpid()


def who(_: object = None) -> tuple[str, bool]:
    me = multiprocessing.current_process()
    return me.name, me.daemon


def same(value: object) -> object:
    return value


def first_of(*values: object) -> object:
    return values[0]


def new_lock(_: object = None):
    """Returns a lock that nobody else has."""
    return multiprocessing.Lock()


def new_lock_beside(value: object) -> tuple:
    return new_lock(), value


def fail(message: object = "on purpose") -> NoReturn:
    raise ValueError(message)


def fail_if_odd(number: int) -> int:
    if number % 2:
        raise ValueError(number)
    return number


def fail_deeply() -> None:
    """Fails two calls below, for the sake of the traceback."""
    raise_from_below()


def raise_from_below() -> NoReturn:
    raise LookupError("from below")


def fail_with_cause() -> NoReturn:
    try:
        fail("the cause")
    except ValueError as error:
        raise RuntimeError("the effect") from error


def return_lock() -> object:
    """Returns what cannot be pickled."""
    return threading.Lock()


def raise_lock() -> NoReturn:
    """Raises what cannot be pickled."""
    raise ValueError(threading.Lock())


class Demanding(Exception):
    """An exception whose class cannot be called with what it hands on to `Exception`."""

    def __init__(self, first: object, second: object, *, third: object = None) -> None:
        super().__init__(f"{first} and {second}")
        self.parts = first, second, third


def raise_demanding() -> NoReturn:
    raise Demanding(1, 2, third=3)


def raise_demanding_group() -> NoReturn:
    raise ExceptionGroup("both", [Demanding(1, 2), KeyError("key")])


async def of_no_loop(number: int = 0) -> int:
    return number


class Unreadable(Exception):
    """An exception that pickles, but does not unpickle."""

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("no number",)


def raise_unreadable() -> NoReturn:
    raise Unreadable("not to be read")


def exit_with(code: int) -> NoReturn:
    sys.exit(code)


def interrupt(_: object = None) -> NoReturn:
    raise KeyboardInterrupt


class Unusual(BaseException):
    """What is no Exception and no end of the program either."""


def raise_unusual() -> NoReturn:
    raise Unusual("from below")


def fail_below(function: Callable[[], object]) -> object:
    """Calls what fails, for the sake of the traceback."""
    return function()


class FailsToPickle:
    def __reduce__(self) -> NoReturn:
        raise ValueError("it does not pickle")


def return_what_fails_to_pickle() -> object:
    return FailsToPickle()


class ExitsWhenPickled:
    def __reduce__(self) -> NoReturn:
        sys.exit("as it was pickled")


def return_what_exits_when_pickled() -> object:
    return ExitsWhenPickled()


class FailsToTell(Exception):
    """An exception without a message."""

    def __str__(self) -> str:
        raise ValueError("no message")

    def __reduce__(self) -> NoReturn:
        raise ValueError("no pickle")


def raise_what_fails_to_tell() -> NoReturn:
    raise FailsToTell


def exit_to_initialize() -> NoReturn:
    sys.exit("no worker can be made")


def initialize(*values: object) -> None:
    given_by_initializer.extend(values)


def initialized(_: object = None) -> list:
    return given_by_initializer


def initialized_number(_: object) -> tuple[int, int]:
    """Meets the others at the barrier that the initializer gave, so that all work."""
    given_by_initializer[0].wait(PATIENCE)
    return os.getpid(), given_by_initializer[1]


def trim_memory(_: object) -> int:
    """Trims the memory of all workers, which meet at the initializer's barrier."""
    pid, _ = initialized_number(None)
    trim()
    return pid


def trim() -> None:
    """Gives the system what the C library keeps of what was freed."""
    ctypes.CDLL(None).malloc_trim(0)


def fail_to_initialize() -> NoReturn:
    raise ValueError("no worker can be made")


def wait_for_given(_: object = None) -> str:
    """Tells that it runs, and waits for the event that the initializer gave."""
    started, event = given_by_initializer
    started.release()
    event.wait()
    return "waited"


def wait_or_square(number: int) -> int:
    """Waits for the event that the initializer gave, if the number is 3."""
    if number == 3:
        wait_for_given()
    return number * number


def numbers_then_error(count: int) -> Iterator[int]:
    """Yields so many numbers, and then fails."""
    yield from range(count)
    raise KeyError("the input is broken")


def pool_in_child() -> list[int]:
    """Uses a pool of its own."""
    with multiprocessing.Pool(2) as pool:
        return pool.map(square, range(5))


def end_at_three(number: int, _: object = None) -> int:
    """Raises what passes for the end of an iteration."""
    if number == 3:
        raise StopIteration(number)
    return number


def end_async_at_three(number: int) -> int:
    if number == 3:
        raise StopAsyncIteration(number)
    return number
