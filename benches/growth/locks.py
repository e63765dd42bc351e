"""Locks: how often several processes take one, and what each of many costs."""

from multiprocessing.context import BaseContext
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier, Lock
from time import perf_counter

from starts import Times, all_of, span


def rate(context: BaseContext, contenders: int, times: int) -> float:
    """Returns how often a second so many processes take and release one lock, all together."""
    lock, barrier, told = (
        context.Lock(),
        context.Barrier(contenders),
        context.SimpleQueue(),
    )
    share = max(1, times // contenders)
    with all_of(context, [(_contend, (lock, barrier, share, told))] * contenders):
        seconds = span(told, contenders)
    return share * contenders / seconds


def take(lock: Lock, times: int) -> float:
    """Returns the seconds to take and release a lock that nobody else wants."""
    begin = perf_counter()
    for _ in range(times):
        lock.acquire()
        lock.release()
    return (perf_counter() - begin) / times


def _contend(
    lock: Lock, barrier: Barrier, times: int, told: "SimpleQueue[Times]"
) -> None:
    barrier.wait()
    begin = perf_counter()
    take(lock, times)
    told.put((begin, perf_counter()))
