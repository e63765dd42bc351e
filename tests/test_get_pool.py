"""A pool that a program uses again and again: `get_pool`."""

import os
import signal

import procession
import pytest
from library import PATIENCE
from targets import pool as targets

pytestmark = pytest.mark.procession_only("a program keeps its pools itself")


@pytest.fixture(autouse=True)
def no_pool_is_left():
    """Ends the pool of this process, which would live as long as this does."""
    yield
    from procession import _reusable

    _reusable._reusable.end()
    _reusable._reusable.pool = None


def test_same_pool_and_workers_come_back(mp) -> None:
    first = procession.get_pool(2, context=mp)
    pids = {worker.pid for worker in first.workers()}
    assert first.map(targets.square, range(4)) == [0, 1, 4, 9]
    for processes in (2, None):
        again = procession.get_pool(processes, context=mp)
        assert again is first
        assert {worker.pid for worker in again.workers()} == pids


def test_pool_is_resized_to_what_is_asked_for(mp) -> None:
    pool = procession.get_pool(1, context=mp)
    (first,) = (worker.pid for worker in pool.workers())
    assert procession.get_pool(3, context=mp) is pool
    assert len(pool.workers()) == 3
    assert procession.get_pool(context=mp) is pool
    assert procession.get_pool(1, context=mp) is pool
    assert [worker.pid for worker in pool.workers()] == [first]


@pytest.mark.parametrize("end", ["close", "terminate"])
def test_pool_that_has_ended_is_replaced(mp, end) -> None:
    pool = procession.get_pool(1, context=mp)
    getattr(pool, end)()
    another = procession.get_pool(1, context=mp)
    assert another is not pool
    assert another.apply(targets.square, (3,)) == 9
    pool.join()


def test_pool_that_is_broken_is_replaced(mp) -> None:
    options = {"context": mp, "initializer": targets.fail_to_initialize}
    pool = procession.get_pool(1, **options)
    with pytest.raises(ValueError, match="no worker can be made"):
        pool.apply(targets.square, (3,))
    another = procession.get_pool(1, **options)
    assert another is not pool
    pool.terminate()
    pool.join()


def test_death_of_a_worker_does_not_break_it(lib, mp) -> None:
    pool = procession.get_pool(1, context=mp)
    with pytest.raises(lib.WorkerDied):
        pool.apply(os.kill, (pool.apply(targets.pid), signal.SIGKILL))
    assert procession.get_pool(1, context=mp) is pool
    assert pool.apply(targets.square, (3,)) == 9


def test_pool_with_other_options_takes_its_place_and_loses_no_task(mp) -> None:
    gate = started, event = mp.Semaphore(0), mp.Event()
    initializer = {"initializer": targets.initialize, "initargs": gate}
    pool = procession.get_pool(1, context=mp, **initializer)
    waiting = pool.apply_async(targets.wait_for_given)
    behind = pool.apply_async(targets.square, (3,))
    assert started.acquire(timeout=PATIENCE)
    assert procession.get_pool(1, context=mp, **initializer) is pool
    another = procession.get_pool(1, context=mp)
    assert another is not pool
    assert another.apply(targets.square, (2,)) == 4
    event.set()
    assert (waiting.get(PATIENCE), behind.get(PATIENCE)) == ("waited", 9)
    pool.join()


@pytest.mark.methods("fork")
def test_forked_copy_has_a_pool_of_its_own(mp, call) -> None:
    pool = procession.get_pool(1, context=mp)
    assert pool.apply(targets.square, (3,)) == 9
    assert call(own_pool) == [0, 1, 4]
    assert pool.apply(targets.square, (3,)) == 9


def own_pool() -> list[int]:
    context = procession.get_context("fork")
    process = procession.current_process()
    process._config.pop("daemon", None)
    return procession.get_pool(1, context=context).map(targets.square, range(3))


def test_program_need_not_close_it(prints) -> None:
    assert prints("""
        import warnings
        warnings.simplefilter("error")
        import procession

        def main():
            print(procession.get_pool(2).map(abs, [-1, -2]))

        if __name__ == "__main__":
            main()
    """) == ["[1, 2]"]


def test_options_that_cannot_be_are_refused_and_leave_the_pool() -> None:
    for options in ({"processes": 0}, {"memory_limit": "much"}, {"idle_timeout": 0}):
        with pytest.raises(ValueError):
            procession.get_pool(**options)
    with pytest.raises(TypeError):
        procession.get_pool(1, colour="blue")
    pool = procession.get_pool(1)
    with pytest.raises(ValueError, match="at least 1"):
        procession.get_pool(0)
    assert procession.get_pool() is pool
