"""Scenarios that take and release a lock."""

from multiprocessing.context import BaseContext
from multiprocessing.synchronize import Barrier, Lock
from time import perf_counter

UNCONTENDED = 1_000_000
CONTENDED = 500_000


def lock_uncontended(context: BaseContext) -> float:
    """Returns the seconds to take and release a lock that nobody else wants."""
    lock = context.Lock()
    begin = perf_counter()
    _take_and_release(lock, UNCONTENDED)
    return (perf_counter() - begin) / UNCONTENDED


def lock_contended(context: BaseContext) -> float:
    """Returns how often a second two processes together take and release a lock."""
    lock, barrier = context.Lock(), context.Barrier(3)
    children = [
        context.Process(target=_contend, args=(lock, barrier)) for _ in range(2)
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
    return 2 * CONTENDED / seconds


def _contend(lock: Lock, barrier: Barrier) -> None:
    barrier.wait()
    _take_and_release(lock, CONTENDED)
    barrier.wait()


def _take_and_release(lock: Lock, times: int) -> None:
    for _ in range(times):
        lock.acquire()
        lock.release()
