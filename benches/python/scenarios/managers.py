"""Scenarios that use what a manager keeps."""

from multiprocessing.context import BaseContext
from time import perf_counter

ROUNDS = 3_000


def manager_dict(context: BaseContext) -> float:
    """Returns the seconds for setting or getting an item of a manager's dictionary."""
    with context.Manager() as manager:
        mapping = manager.dict()
        for value in range(100):
            mapping["key"] = value
            assert mapping["key"] == value
        begin = perf_counter()
        for value in range(ROUNDS):
            mapping["key"] = value
            assert mapping["key"] == value
        seconds = perf_counter() - begin
    return seconds / (2 * ROUNDS)
