"""Scenarios that change a number in shared memory."""

from multiprocessing.context import BaseContext
from time import perf_counter

TIMES = 300_000


def value_increment(context: BaseContext) -> float:
    """Returns the seconds to add one to a value under its lock, which nobody else wants."""
    value = context.Value("i", 0)
    begin = perf_counter()
    for _ in range(TIMES):
        with value.get_lock():
            value.value += 1
    seconds = perf_counter() - begin
    assert value.value == TIMES
    return seconds / TIMES
