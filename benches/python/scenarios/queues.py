"""Scenarios that send small items through a queue."""

from multiprocessing.context import BaseContext
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier, Event
from time import perf_counter

ITEMS = 100_000
CROWD_ITEMS = 40_000
CROWD = 4


def queue_1p1c(context: BaseContext) -> float:
    """Returns items per second from a child to its parent."""
    queue, go = context.Queue(), context.Event()
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
    queue, barrier = context.Queue(), context.Barrier(2 * CROWD + 1)
    share = CROWD_ITEMS // CROWD
    children = [
        context.Process(target=target, args=(queue, barrier, share))
        for target in (_put_share, _get_share)
        for _ in range(CROWD)
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
    return CROWD_ITEMS / seconds


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
