"""Workers that have nothing to do end, and are started again; those that end are reaped."""

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest
from library import PATIENCE, gone, load, wait_until
from targets import pool as pool_targets
from targets import worker_life as targets

pytestmark = pytest.mark.procession_only("workers live as long as their pool")

# Seconds without a task after which workers end here.
IDLE = 0.2

AMPLE = 60


def test_idle_workers_end_and_are_reaped_though_nobody_asks(mp) -> None:
    with mp.Pool(2, idle_timeout=IDLE) as pool:
        # Those that have ended by now included.
        pids = [process.pid for process in pool._pool]
        assert len(pids) == 2
        before = time.monotonic()
        assert pool.map(pool_targets.square, range(4)) == [0, 1, 4, 9]
        wait_until(lambda: all(gone(pid) for pid in pids))
        assert time.monotonic() - before >= IDLE
        assert pool.workers() == []
        # So do those that have never had a task.
        assert pool.apply(pool_targets.square, (3,)) == 9


@pytest.mark.parametrize(
    "use", ["apply", "apply_async", "map", "imap", "imap_unordered", "blocking"]
)
def test_workers_are_started_again_for_each_kind_of_call(mp, use) -> None:
    with mp.Pool(2, idle_timeout=IDLE) as pool:
        for _ in range(2):
            wait_until(lambda: pool.workers() == [])
            if use == "apply":
                assert pool.apply(pool_targets.square, (3,)) == 9
            elif use == "apply_async":
                assert pool.apply_async(pool_targets.square, (3,)).get(PATIENCE) == 9
            elif use == "blocking":
                results = pool.imap(pool_targets.square, iter(range(9)), chunksize=2)
                assert list(results) == [n * n for n in range(9)]
            else:
                results = getattr(pool, use)(pool_targets.square, range(9))
                assert sorted(results) == [n * n for n in range(9)]


def test_as_many_are_started_again_as_there_is_work_for(mp) -> None:
    with mp.Pool(3, idle_timeout=IDLE) as pool:
        wait_until(lambda: pool.workers() == [])
        assert pool.apply(pool_targets.square, (3,)) == 9
        assert len(pool.workers()) <= 1
        # These need one another.
        barrier = mp.Barrier(3)
        later = [pool.apply_async(targets.meet, (barrier,)) for _ in range(3)]
        assert len({result.get(PATIENCE) for result in later}) == 3
        wait_until(lambda: pool.workers() == [])
        assert len(set(pool.map(targets.meet, [barrier] * 3, 1))) == 3


def test_task_behind_a_long_one_gets_a_worker_of_its_own(mp) -> None:
    gate = started, event = mp.Semaphore(0), mp.Event()
    with mp.Pool(2, pool_targets.initialize, gate, idle_timeout=IDLE) as pool:
        wait_until(lambda: pool.workers() == [])
        # Short tasks, so that two are queued on the one worker.
        pool.map(pool_targets.square, range(100), 1)
        wait_until(lambda: pool.workers() == [])
        first = pool.apply_async(pool_targets.wait_for_given)
        assert started.acquire(timeout=PATIENCE)
        assert pool.apply_async(pool_targets.square, (3,)).get(PATIENCE) == 9
        event.set()
        assert first.get(PATIENCE) == "waited"


def test_busy_worker_does_not_end_and_idle_one_beside_it_does(mp) -> None:
    gate = started, event = mp.Semaphore(0), mp.Event()
    with mp.Pool(2, pool_targets.initialize, gate, idle_timeout=IDLE) as pool:
        result = pool.apply_async(pool_targets.wait_for_given)
        assert started.acquire(timeout=PATIENCE)
        wait_until(lambda: len(pool.workers()) == 1)
        # It waits in a call now, whose thread ends the others.
        event.set()
        assert result.get(PATIENCE) == "waited"


def test_worker_that_is_used_in_time_lives_on(mp) -> None:
    with mp.Pool(1, idle_timeout=AMPLE) as pool:
        pids = {pool.apply(pool_targets.pid) for _ in range(20)}
        assert len(pids) == 1


def test_death_of_a_worker_is_made_good_only_when_there_is_work(lib, mp) -> None:
    with mp.Pool(1, idle_timeout=AMPLE) as pool:
        pid = pool.apply(pool_targets.pid)
        with pytest.raises(lib.WorkerDied):
            pool.apply(os.kill, (pid, signal.SIGKILL))
        assert pool.apply(pool_targets.pid) != pid
        for _ in range(3):
            os.kill(pool.apply(pool_targets.pid), signal.SIGKILL)
        assert pool.apply(pool_targets.square, (3,)) == 9


def test_pool_without_workers_is_closed_and_terminated_like_any(lib, mp) -> None:
    for end in ("close", "terminate"):
        pool = mp.Pool(2, idle_timeout=IDLE)
        wait_until(lambda pool=pool: pool.workers() == [])
        getattr(pool, end)()
        pool.join()
    pool = mp.Pool(2, idle_timeout=IDLE)
    wait_until(lambda: pool.workers() == [])
    result = pool.map_async(pool_targets.square, range(5))
    pool.close()
    pool.join()
    assert result.get(0) == [0, 1, 4, 9, 16]


def test_error_of_a_call_that_never_was_a_task_is_told_without_workers(mp) -> None:
    with mp.Pool(1, idle_timeout=IDLE) as pool:
        wait_until(lambda: pool.workers() == [])
        with pytest.raises(ValueError, match="does not pickle"):
            pool.apply(pool_targets.same, (pool_targets.FailsToPickle(),))


def test_executor_ends_idle_workers_and_starts_others(mp) -> None:
    executors = load("futures").ProcessPoolExecutor
    with executors(2, mp, idle_timeout=IDLE) as executor:
        for _ in range(2):
            pid = executor.submit(pool_targets.pid).result(PATIENCE)
            wait_until(lambda pid=pid: gone(pid))
            assert list(executor.map(pool_targets.square, range(4))) == [0, 1, 4, 9]


def test_workers_that_are_too_many_are_reaped_though_nobody_asks(mp) -> None:
    with mp.Pool(4) as pool:
        assert pool.map(pool_targets.square, range(4)) == [0, 1, 4, 9]
        before = [worker.pid for worker in pool.workers()]
        pool.resize(1)
        wait_until(lambda: sum(gone(pid) for pid in before) == 3)
        assert pool.apply(pool_targets.pid) in before


def collectors() -> int:
    """Returns how many threads of this process look after pools."""
    names = []
    for task in Path("/proc/self/task").iterdir():
        # One may end meanwhile.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            names.append((task / "comm").read_text().strip())
    return names.count("procession-pool")


def test_pool_without_idle_timeout_needs_no_thread(mp) -> None:
    # A fork of a process with threads is warned of, also that of a worker.
    with mp.Pool(2, maxtasksperchild=1) as pool:
        # Those of tests before this one end by themselves.
        wait_until(lambda: collectors() == 0)
        for _ in range(3):
            assert pool.map(pool_targets.square, range(4), 1) == [0, 1, 4, 9]
            assert pool.apply(pool_targets.square, (3,)) == 9
            assert collectors() == 0


def test_thread_that_looks_after_a_pool_ends_with_the_last_worker(mp) -> None:
    with mp.Pool(1, idle_timeout=IDLE) as pool:
        for _ in range(2):
            wait_until(lambda: pool.workers() == [] and collectors() == 0)
            assert pool.apply(pool_targets.square, (3,)) == 9
        pool.resize(2)
        wait_until(lambda: pool.workers() == [] and collectors() == 0)
