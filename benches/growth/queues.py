"""Queues: what an item costs each side, how many pass a second, and whether a long queue is slower."""

from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from multiprocessing.queues import Queue, SimpleQueue
from multiprocessing.synchronize import Barrier
from time import perf_counter, process_time

from starts import Times, all_of, span


def rate(context: BaseContext, consumers: int, items: int) -> float:
    """Returns items per second from one producer to that many consumers."""
    passed, seconds, _ = _pass(context, consumers, items)
    return passed / seconds


def processor_time(
    context: BaseContext, consumers: int, items: int
) -> tuple[float, float]:
    """Returns the processor time of an item, in the one producer and in all consumers together."""
    passed, _, found = _pass(context, consumers, items)
    return (
        sum(seconds for side, seconds in found if side == "put") / passed,
        sum(seconds for side, seconds in found if side == "get") / passed,
    )


def alone(context: BaseContext, items: int) -> tuple[float, float]:
    """Returns the seconds of a put and of a get, in one process that does first all of the one."""
    queue: Queue[int] = context.Queue()
    at_length(queue, items)
    return least_at_length(queue, items, 3)


def at_length(queue: "Queue[int]", items: int) -> tuple[float, float]:
    """Returns the seconds of a put and of a get of so many items, behind what is in the queue."""
    begin = perf_counter()
    for value in range(items):
        queue.put(value)
    between = perf_counter()
    for _ in range(items):
        queue.get()
    return (between - begin) / items, (perf_counter() - between) / items


def least_at_length(queue: "Queue[int]", items: int, times: int) -> tuple[float, float]:
    """Returns the least of several of each: what disturbs one only makes it slower."""
    puts, gets = zip(*(at_length(queue, items) for _ in range(times)), strict=True)
    return min(puts), min(gets)


def _pass(
    context: BaseContext, consumers: int, items: int
) -> tuple[int, float, list[tuple[str, float]]]:
    """Passes items through a queue: how many, in which time, and the processor time of each side."""
    share = max(1, items // consumers)
    queue, barrier = context.Queue(), context.Barrier(consumers + 1)
    told, spent = context.SimpleQueue(), context.SimpleQueue()
    works = [(_put, (queue, barrier, share * consumers, told, spent))]
    works += [(_get, (queue, barrier, share, told, spent))] * consumers
    with all_of(context, works):
        found = [spent.get() for _ in works]
        seconds = span(told, len(works))
    return share * consumers, seconds, found


def _put(
    queue: "Queue[int]",
    barrier: Barrier,
    items: int,
    told: "SimpleQueue[Times]",
    spent: "SimpleQueue[tuple[str, float]]",
) -> None:
    with _timed("put", barrier, told, spent):
        for value in range(items):
            queue.put(value)


def _get(
    queue: "Queue[int]",
    barrier: Barrier,
    items: int,
    told: "SimpleQueue[Times]",
    spent: "SimpleQueue[tuple[str, float]]",
) -> None:
    with _timed("get", barrier, told, spent):
        for _ in range(items):
            queue.get()


@contextmanager
def _timed(
    side: str,
    barrier: Barrier,
    told: "SimpleQueue[Times]",
    spent: "SimpleQueue[tuple[str, float]]",
) -> Iterator[None]:
    """Waits until all are there, and tells how long a side has taken then."""
    barrier.wait()
    begin, processor = perf_counter(), process_time()
    yield
    spent.put((side, process_time() - processor))
    told.put((begin, perf_counter()))
