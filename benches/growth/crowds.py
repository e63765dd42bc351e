"""Crowds: what becomes slower while many locks, or many processes, are alive."""

from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from time import perf_counter
from typing import Any

import locks
import starts
import workers


def beside_objects(
    context: BaseContext, counts: list[int], times: int
) -> Iterator[tuple[int, float, float]]:
    """Yields, for each number of locks alive, the seconds to make one more and those of a start."""
    kept: list[Any] = []
    for count in counts:
        kept += [context.Lock() for _ in range(count - len(kept))]
        begin = perf_counter()
        more = [context.Lock() for _ in range(50 * times)]
        made = (perf_counter() - begin) / len(more)
        del more
        yield count, made, starts.start_join(context, times)


def beside_members(
    context: BaseContext, count: int, times: int, rounds: int
) -> tuple[float, float, float]:
    """Returns the least seconds to take a lock, of a start and of a task while so many processes are alive."""
    with _alive(context, count):
        lock = context.Lock()
        return (
            min(locks.take(lock, 1_000 * times) for _ in range(rounds)),
            min(starts.start_join(context, times) for _ in range(rounds)),
            min(workers.roundtrip(context, 50 * times) for _ in range(rounds)),
        )


@contextmanager
def _alive(context: BaseContext, count: int) -> Iterator[None]:
    """Keeps that many processes, this one among them."""
    told = context.Event()
    with starts.all_of(context, [(told.wait, ())] * (count - 1)):
        yield
        told.set()
