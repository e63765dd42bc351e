"""Pools whose subclass sets up the queues for tasks and results, as joblib and torch do."""

import threading

import pytest
from library import PATIENCE
from targets import pool_queues as targets

pytestmark = pytest.mark.slow

KINDS = [targets.Counting, targets.Repopulating]


@pytest.mark.parametrize("kind", KINDS)
def test_tasks_and_results_go_through_the_queues(mp, kind) -> None:
    with kind(2, context=mp) as pool:
        assert pool.map(targets.square, range(10), chunksize=1) == [
            number * number for number in range(10)
        ]
        assert pool.apply(targets.square, (7,)) == 49
        assert list(pool.imap(targets.square, range(4))) == [0, 1, 4, 9]
        assert sorted(pool.imap_unordered(targets.square, range(4), 2)) == [0, 1, 4, 9]
        assert pool.starmap(pow, [(2, 3), (3, 2)]) == [8, 9]
        # Ten, one, four, two and two.
        assert pool.put_count == 19
    pool.join()


@pytest.mark.parametrize("kind", KINDS)
def test_error_of_a_task_is_raised_where_its_result_is_asked_for(mp, kind) -> None:
    with kind(1, context=mp) as pool:
        with pytest.raises(ValueError, match="for a reason") as caught:
            pool.apply(targets.fail, ("for a reason",))
        assert "in fail" in str(caught.value.__cause__)
        with pytest.raises(TypeError, match="cannot pickle"):
            pool.apply(targets.square, (threading.Lock(),))
        assert pool.apply(targets.square, (2,)) == 4
    pool.join()


def test_callbacks_are_called(mp) -> None:
    got, wrong = [], []
    with targets.Counting(2, context=mp) as pool:
        results = [
            pool.apply_async(targets.square, (3,), callback=got.append),
            pool.map_async(targets.square, [1, 2], callback=got.append),
            pool.apply_async(targets.fail, ("no",), error_callback=wrong.append),
        ]
        for result in results:
            result.wait(PATIENCE)
        pool.close()
        pool.join()
    assert sorted(map(str, got)) == ["9", "[1, 4]"]
    assert [str(error) for error in wrong] == ["no"]


def test_pool_that_is_closed_does_what_it_has_and_ends(mp) -> None:
    pool = targets.Counting(2, context=mp, maxtasksperchild=3)
    result = pool.map_async(targets.square, range(20), chunksize=1)
    pool.close()
    pool.join()
    assert result.get(0) == [number * number for number in range(20)]
    with pytest.raises(ValueError, match="not running"):
        pool.apply(targets.square, (1,))


@pytest.mark.procession_only("the caller waits for ever")
@pytest.mark.parametrize("kind", KINDS)
def test_death_of_a_worker_is_an_error(lib, mp, kind) -> None:
    with kind(2, context=mp) as pool:
        with pytest.raises(lib.WorkerDied):
            pool.apply(targets.kill_this)
        assert kind is targets.Repopulating or pool.apply(targets.square, (3,)) == 9
    pool.join()


@pytest.mark.procession_only("what was not done is waited for ever")
def test_tasks_of_a_pool_that_was_terminated_fail(lib, mp) -> None:
    pool = targets.Counting(1, context=mp)
    # More than a pipe holds.
    results = pool.map_async(len, [bytes(100_000)] * 50, chunksize=1)
    pool.terminate()
    pool.join()
    with pytest.raises(lib.WorkerDied):
        results.get(PATIENCE)


@pytest.mark.procession_only("multiprocessing has no such options")
@pytest.mark.parametrize("kind", KINDS)
def test_what_the_queues_cannot_bring_about_is_refused(mp, kind) -> None:
    for option, value in (
        ("memory_limit", 1 << 30),
        ("max_memory_per_worker", 1 << 30),
        ("affinity", [0]),
        ("env", {"A": "B"}),
        ("retries", 1),
        ("worker_state", list),
        ("worker_exit", list),
        ("idle_timeout", 1),
        ("initializer_timeout", 1),
        ("threads_per_worker", 1),
    ):
        with pytest.raises(ValueError, match=f"has no {option}"):
            kind(1, context=mp, **{option: value})
    with kind(1, context=mp) as pool:
        for use in ("apply", "apply_async", "map", "map_async", "imap"):
            with pytest.raises(ValueError, match="cannot be killed"):
                getattr(pool, use)(targets.square, (3,), timeout=1)
            with pytest.raises(ValueError, match="is not run again"):
                getattr(pool, use)(targets.square, (3,), retries=1)
        for result in (
            pool.apply_async(targets.square, (3,)),
            pool.imap(targets.square, range(4)),
        ):
            with pytest.raises(ValueError, match="cannot be cancelled"):
                result.cancel()
        assert pool.apply(targets.square, (3,)) == 9
