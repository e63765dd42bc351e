"""Tasks with a higher priority begin first."""

import contextlib

import pytest
from library import PATIENCE, load
from targets import pool as targets
from targets import priorities as own

pytestmark = pytest.mark.procession_only("a task waits for its turn")


@contextlib.contextmanager
def busy(mp):
    """Gives a pool whose one worker is at a task, and what tells who begins when that ends."""
    started, event = gate = mp.Semaphore(0), mp.Event()
    begun = mp.Queue()
    with mp.Pool(1, own.initialize, (gate, begun)) as pool:
        # Tasks so far were short: many would be queued on the worker ahead of time.
        pool.map(targets.square, range(1000), 1)
        first = pool.apply_async(targets.wait_for_given)
        assert started.acquire(timeout=PATIENCE)

        def order() -> list:
            event.set()
            assert first.get(PATIENCE) == "waited"
            pool.close()
            pool.join()
            return [begun.get() for _ in range(begun.qsize())]

        yield pool, order


def test_higher_priority_begins_first(mp) -> None:
    with busy(mp) as (pool, order):
        for priority in (0, 5, -1, 0, 5, 7):
            pool.apply_async(own.note, (priority,), priority=priority)
        assert order() == [7, 5, 5, 0, 0, -1]


def test_order_within_a_priority_is_that_of_the_calls(mp) -> None:
    with busy(mp) as (pool, order):
        expected = []
        for number in range(20):
            pool.apply_async(own.note, ((number % 3, number),), priority=number % 3)
            expected.append((number % 3, number))
        assert order() == sorted(expected, key=lambda pair: (-pair[0], pair[1]))


def test_maps_have_priorities_too(mp) -> None:
    with busy(mp) as (pool, order):
        pool.map_async(own.note, ["low"] * 300, 1)
        pool.imap(own.note, ["lower"] * 300, priority=-1)
        pool.imap_unordered(own.note, (each for each in ["high"] * 30), priority=3)
        pool.starmap_async(own.note, [("highest",)] * 30, 1, priority=4)
        pool.apply_async(own.note, ("middle",), priority=2)
        found = order()
        assert found[:30] == ["highest"] * 30
        # Those of an iterator that may block come when it yields them.
        rest = [each for each in found[30:] if each != "high"]
        assert rest == ["middle"] + ["low"] * 300 + ["lower"] * 300
        assert len(found) == 30 + 30 + 1 + 300 + 300


def test_task_that_is_run_again_keeps_its_place(mp) -> None:
    gate = mp.Semaphore(0), mp.Event()
    begun = mp.Queue()
    with mp.Pool(1, own.initialize, (gate, begun)) as pool:
        first = pool.apply_async(own.die_at_first, (gate,), retries=1, priority=1)
        assert gate[0].acquire(timeout=PATIENCE)
        pool.apply_async(own.note, ("low",))
        pool.apply_async(own.note, ("high",), priority=2)
        gate[1].set()
        first.get(PATIENCE)
        pool.close()
        pool.join()
        assert [begun.get() for _ in range(3)] == ["high", "again", "low"]


def test_cancelled_and_ended_tasks_of_each_priority_are_told(lib, mp) -> None:
    with busy(mp) as (pool, order):
        results = [
            pool.apply_async(own.note, (priority,), priority=priority)
            for priority in (3, 0, -3)
        ]
        assert results[1].cancel()
        assert order() == [3, -3]
        with pytest.raises(lib.CancelledError):
            results[1].get(0)


def test_end_of_the_pool_is_told_to_tasks_of_each_priority(lib, mp) -> None:
    with busy(mp) as (pool, _):
        results = [
            pool.apply_async(own.note, (priority,), priority=priority)
            for priority in (3, 0, -3)
        ]
        pool.terminate()
        for result in results:
            with pytest.raises(lib.ProcessError, match="terminated"):
                result.get(PATIENCE)


def test_executor_and_its_views_have_priorities(mp) -> None:
    gate = mp.Semaphore(0), mp.Event()
    begun = mp.Queue()
    with load("futures").ProcessPoolExecutor(
        1, mp, own.initialize, (gate, begun), priority=1
    ) as executor:
        first = executor.submit(targets.wait_for_given)
        assert gate[0].acquire(timeout=PATIENCE)
        executor.with_options(priority=0).submit(own.note, "low")
        executor.submit(own.note, "usual")
        executor.with_options(priority=2).map(own.note, ["high"] * 2)
        gate[1].set()
        first.result(PATIENCE)
    assert [begun.get() for _ in range(4)] == ["high", "high", "usual", "low"]


@pytest.mark.parametrize("priority", [1.5, "1", None, 2**31, -(2**31) - 1])
def test_what_is_no_priority_is_refused(lib, priority) -> None:
    with (
        lib.Pool(1) as pool,
        pytest.raises((TypeError, ValueError), match="priority must"),
    ):
        pool.apply(targets.square, (3,), priority=priority)


def test_pools_of_threads_refuse_it() -> None:
    with (
        load("pool").ThreadPool(1) as pool,
        pytest.raises(ValueError, match="has no priority"),
    ):
        pool.apply(targets.square, (3,), priority=1)
