"""Scenarios with more processes than processors: how many a program can have, and what each costs."""

import os
import resource
from contextlib import suppress
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from time import perf_counter

from scenarios.starts import nothing, start_and_join

ALIVE = 1_000
STARTS = 20
TOLD = 100

# What a process may take of the memory, and the descriptors that one costs its parent at most.
BYTES = 8 << 20
DESCRIPTORS = 4

_all_there: Barrier


def pool_32(context: BaseContext) -> float:
    """Returns the seconds to make a pool of 32, to get a result of each worker, and to end it."""
    return _whole_life(context, 32)


def pool_500(context: BaseContext) -> float:
    """Returns the same for a pool of 500."""
    return _whole_life(context, 500)


def start_100(context: BaseContext) -> float:
    """Returns the seconds to start a hundred processes that stay until they are told, and to join them."""
    context.Process(target=nothing).start()
    told = context.Event()
    begin = perf_counter()
    children = _stay(context, told, TOLD)
    _end(children, told)
    return perf_counter() - begin


def alive_1000(context: BaseContext) -> tuple[float, str]:
    """Returns the seconds to start and join one process while a thousand are alive, or as many as there may be."""
    count = min(ALIVE, *_limits())
    told = context.Event()
    children = _stay(context, told, count)
    begin = perf_counter()
    for _ in range(STARTS):
        start_and_join(context, 1)
    seconds = perf_counter() - begin
    assert all(child.is_alive() for child in children)
    _end(children, told)
    return seconds / STARTS, "" if count == ALIVE else f"{count} alive"


def _whole_life(context: BaseContext, workers: int) -> float:
    barrier = context.Barrier(workers)
    begin = perf_counter()
    with context.Pool(workers, initializer=_keep, initargs=(barrier,)) as pool:
        # No worker has a second one before each has had one.
        pids = pool.map(_meet, range(workers), chunksize=1)
        pool.close()
        pool.join()
    seconds = perf_counter() - begin
    assert len(set(pids)) == workers
    return seconds


def _keep(barrier: Barrier) -> None:
    global _all_there
    _all_there = barrier


def _meet(_number: int) -> int:
    _all_there.wait()
    return os.getpid()


def _stay(context: BaseContext, told: Event, count: int) -> list[BaseProcess]:
    children: list[BaseProcess] = [
        context.Process(target=told.wait) for _ in range(count)
    ]
    for child in children:
        child.start()
    return children


def _end(children: list[BaseProcess], told: Event) -> None:
    told.set()
    for child in children:
        child.join()
        assert child.exitcode == 0


def _limits() -> list[int]:
    """Returns how many processes each limit of this machine leaves room for."""
    found = [
        os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // BYTES,
        resource.getrlimit(resource.RLIMIT_NOFILE)[0] // DESCRIPTORS,
        int(Path("/proc/sys/kernel/pid_max").read_text()) // 2,
    ]
    most = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if most != resource.RLIM_INFINITY:
        found.append(most // 2)
    with suppress(FileNotFoundError, ValueError):  # No such group, or "max".
        found.append(int(Path("/sys/fs/cgroup/pids.max").read_text()) // 2)
    return found
