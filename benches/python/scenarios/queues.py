"""Scenarios that send small items through a queue."""

from multiprocessing.context import BaseContext
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier, Event
from time import perf_counter

ITEMS = 100_000
CROWD_ITEMS = 40_000
# Each of the three producers and of the twenty consumers has a whole number of them.
MANY_ITEMS = 36_000


def queue_1p1c(context: BaseContext) -> float:
    """Returns items per second from a child to its parent."""
    return from_child(context, context.Queue())


def from_child(context: BaseContext, queue: "Queue[object]") -> float:
    """Returns items per second from a child to its parent through a queue."""
    go = context.Event()
    child = context.Process(target=_produce, args=(queue, go))
    child.start()
    assert queue.get() == "ready"
    begin = perf_counter()
    go.set()
    for value in range(ITEMS):
        assert queue.get() == value
    seconds = perf_counter() - begin
    child.join()
    return ITEMS / seconds


def queue_4p4c(context: BaseContext) -> float:
    """Returns items per second from four producers to four consumers."""
    return _crowd(context, 4, 4, CROWD_ITEMS)


def queue_1p8c(context: BaseContext) -> float:
    """Returns items per second from one producer to eight consumers."""
    return _crowd(context, 1, 8, CROWD_ITEMS)


def queue_3p20c(context: BaseContext) -> float:
    """Returns items per second from three producers to twenty consumers."""
    return _crowd(context, 3, 20, MANY_ITEMS)


def _crowd(context: BaseContext, producers: int, consumers: int, items: int) -> float:
    """Returns items per second from as many processes to as many others, all with a share of their own."""
    queue, barrier = context.Queue(), context.Barrier(producers + consumers + 1)
    children = [
        context.Process(target=target, args=(queue, barrier, items // count))
        for target, count in ((_put_share, producers), (_get_share, consumers))
        for _ in range(count)
    ]
    for child in children:
        child.start()
    barrier.wait()
    begin = perf_counter()
    barrier.wait()
    seconds = perf_counter() - begin
    for child in children:
        child.join()
        assert child.exitcode == 0
    return items / seconds


def _produce(queue: "Queue[object]", go: Event) -> None:
    queue.put("ready")
    go.wait()
    for value in range(ITEMS):
        queue.put(value)


def _put_share(queue: "Queue[int]", barrier: Barrier, share: int) -> None:
    barrier.wait()
    for value in range(share):
        queue.put(value)
    barrier.wait()


def _get_share(queue: "Queue[int]", barrier: Barrier, share: int) -> None:
    barrier.wait()
    for _ in range(share):
        queue.get()
    barrier.wait()
