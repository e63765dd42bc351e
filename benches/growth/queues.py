"""Queues: what an item costs each side, how many pass a second, and whether a long queue is slower."""

from multiprocessing.context import BaseContext
from multiprocessing.queues import Queue, SimpleQueue
from multiprocessing.synchronize import Barrier
from time import perf_counter, process_time

from starts import Times, all_of, span


def rate(context: BaseContext, consumers: int, items: int) -> float:
    """Returns items per second from one producer to that many consumers."""
    share = max(1, items // consumers)
    queue, barrier = context.Queue(), context.Barrier(consumers + 1)
    told, spent = context.SimpleQueue(), context.SimpleQueue()
    works = [(_put, (queue, barrier, share * consumers, told, spent))]
    works += [(_get, (queue, barrier, share, told, spent))] * consumers
    with all_of(context, works):
        seconds = span(told, len(works))
    return share * consumers / seconds


def processor_time(
    context: BaseContext, consumers: int, items: int
) -> tuple[float, float]:
    """Returns the processor time of an item, in the one producer and in all consumers together."""
    share = max(1, items // consumers)
    queue, barrier = context.Queue(), context.Barrier(consumers + 1)
    told, spent = context.SimpleQueue(), context.SimpleQueue()
    works = [(_put, (queue, barrier, share * consumers, told, spent))]
    works += [(_get, (queue, barrier, share, told, spent))] * consumers
    with all_of(context, works):
        found = [spent.get() for _ in works]
    each = share * consumers
    return (
        sum(seconds for side, seconds in found if side == "put") / each,
        sum(seconds for side, seconds in found if side == "get") / each,
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


def _put(
    queue: "Queue[int]",
    barrier: Barrier,
    items: int,
    told: "SimpleQueue[Times]",
    spent: "SimpleQueue[tuple[str, float]]",
) -> None:
    barrier.wait()
    begin, processor = perf_counter(), process_time()
    for value in range(items):
        queue.put(value)
    spent.put(("put", process_time() - processor))
    told.put((begin, perf_counter()))


def _get(
    queue: "Queue[int]",
    barrier: Barrier,
    items: int,
    told: "SimpleQueue[Times]",
    spent: "SimpleQueue[tuple[str, float]]",
) -> None:
    barrier.wait()
    begin, processor = perf_counter(), process_time()
    for _ in range(items):
        queue.get()
    spent.put(("get", process_time() - processor))
    told.put((begin, perf_counter()))
