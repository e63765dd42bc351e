"""Pools: what a task costs each side, and how many are done a second by several workers."""

from multiprocessing.context import BaseContext
from multiprocessing.pool import Pool
from multiprocessing.synchronize import Barrier
from time import perf_counter, process_time

_all_there: Barrier


def rate(context: BaseContext, workers: int, seconds: float, tasks: int) -> float:
    """Returns tasks per second, of which each takes that much processor time."""
    with context.Pool(workers) as pool:
        _warm(pool, workers)
        begin = perf_counter()
        pool.map(spend, [seconds] * tasks, chunksize=1)
        return tasks / (perf_counter() - begin)


def processor_time(
    context: BaseContext, workers: int, tasks: int
) -> tuple[float, float]:
    """Returns the processor time that a task which does nothing costs the parent, and all workers together."""
    barrier = context.Barrier(workers)
    with context.Pool(workers, initializer=_keep, initargs=(barrier,)) as pool:
        _warm(pool, workers)
        theirs, mine = _spent(pool, workers), process_time()
        pool.map(spend, [0.0] * tasks, chunksize=1)
        mine = process_time() - mine
        theirs = _spent(pool, workers) - theirs
    return mine / tasks, theirs / tasks


def roundtrip(context: BaseContext, times: int) -> float:
    """Returns the seconds of a task that does nothing, one after another."""
    with context.Pool(1) as pool:
        _warm(pool, 1)
        begin = perf_counter()
        for _ in range(times):
            pool.apply(spend, (0.0,))
        return (perf_counter() - begin) / times


def spend(seconds: float) -> None:
    """Spends that much of this process's processor time."""
    if seconds:
        end = process_time() + seconds
        while process_time() < end:
            pass


def _spent(pool: Pool, workers: int) -> float:
    """Returns the processor time that the workers have had, all together."""
    return sum(pool.map(_mine, range(workers), chunksize=1))


def _keep(barrier: Barrier) -> None:
    global _all_there
    _all_there = barrier


def _mine(_number: int) -> float:
    """Returns this worker's; none has a second of these tasks before each has had one."""
    found = process_time()
    _all_there.wait()
    return found


def _warm(pool: Pool, workers: int) -> None:
    """Has each worker ready, and the pool know how short tasks are."""
    pool.map(spend, [0.0] * 100 * workers, chunksize=1)
