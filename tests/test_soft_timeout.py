"""Tasks that are told that they take too long, by an exception that they may handle."""

import time

import pytest
from library import PATIENCE, load
from targets import pool as pool_targets
from targets import soft_timeout as targets

pytestmark = pytest.mark.procession_only("a task takes what it takes")

# Seconds after which a task is told in these tests. One that has nothing to do takes less, also
# where the machine has much else to do.
LIMIT = 0.5

# Seconds that no task here takes.
AMPLE = 60


@pytest.mark.parametrize(
    "function",
    [
        targets.sleep,
        targets.spin,
        targets.read_pipe,
        targets.Callable(),
        targets.partial,
    ],
)
def test_task_is_interrupted_wherever_it_is(lib, mp, function) -> None:
    with mp.Pool(1) as pool:
        pid = pool.apply(pool_targets.pid)
        before = time.monotonic()
        with pytest.raises(
            lib.SoftTimeout, match=rf"longer than its soft_timeout of {LIMIT} s"
        ):
            pool.apply_async(function, soft_timeout=LIMIT).get(PATIENCE)
        assert time.monotonic() - before >= LIMIT
        # Its worker lives.
        assert pool.apply(pool_targets.pid) == pid


def test_task_is_interrupted_where_it_waits_for_others(lib, mp) -> None:
    gate = mp.Semaphore(0), mp.Event()
    with mp.Pool(1, pool_targets.initialize, gate) as pool:
        with pytest.raises(lib.SoftTimeout):
            pool.apply(targets.wait_for_event, soft_timeout=LIMIT)
        assert gate[0].acquire(block=False)
    with mp.Pool(1, pool_targets.initialize, (mp.Queue(),)) as pool:
        with pytest.raises(lib.SoftTimeout):
            pool.apply(targets.wait_for_item, soft_timeout=LIMIT)
        assert pool.apply(pool_targets.square, (3,)) == 9


def test_task_is_interrupted_while_it_waits_for_a_pool_of_its_own(lib) -> None:
    with load("futures").ProcessPoolExecutor(1) as executor:
        view = executor.with_options(soft_timeout=1)
        with pytest.raises(lib.SoftTimeout):
            view.submit(targets.wait_for_pool).result(PATIENCE)
        assert executor.submit(pool_targets.square, 3).result(PATIENCE) == 9


def test_error_tells_task_limit_and_worker_and_comes_with_its_traceback(
    lib, mp
) -> None:
    with mp.Pool(1) as pool:
        pid = pool.apply(pool_targets.pid)
        with pytest.raises(lib.SoftTimeout) as caught:
            pool.apply(targets.sleep, soft_timeout=LIMIT)
    error = caught.value
    assert isinstance(error, lib.TimeoutError)
    name = "targets.soft_timeout.sleep"
    assert (error.task, error.limit, error.pid) == (name, LIMIT, pid)
    assert str(error) == (
        f"{name} has run for longer than its soft_timeout of {LIMIT} s, in worker "
        f"process {pid}"
    )
    assert "in sleep" in str(error.__cause__)


def test_task_may_handle_it_and_return_a_value(mp) -> None:
    with mp.Pool(1) as pool:
        text, task, limit, pid, worker = pool.apply(targets.handle, soft_timeout=LIMIT)
        assert "soft_timeout" in text
        assert (task, limit) == ("targets.soft_timeout.handle", LIMIT)
        assert pid == worker
        assert pool.apply(targets.handle_then_sleep, (0.3,), soft_timeout=LIMIT) == (
            "told once"
        )


def test_task_that_goes_on_is_killed_at_its_timeout(lib, mp) -> None:
    gate = mp.Semaphore(0), mp.Event()
    with mp.Pool(1, pool_targets.initialize, gate) as pool:
        pid = pool.apply(pool_targets.pid)
        with pytest.raises(lib.TaskTimeout):
            pool.apply(targets.handle_and_go_on, soft_timeout=LIMIT, timeout=4 * LIMIT)
        assert gate[0].acquire(block=False)
        assert pool.apply(pool_targets.pid) != pid


def test_nothing_comes_when_the_task_has_ended(lib, mp) -> None:
    with mp.Pool(1) as pool:
        for _ in range(3):
            assert pool.apply(pool_targets.square, (3,), soft_timeout=LIMIT) == 9
            assert pool.apply(targets.uninterrupted, (2 * LIMIT,)) is True
        # Many tasks end at about the time at which they are told: no other is.
        results = pool.map(
            targets.handle_then_sleep, [0] * 30, soft_timeout=0.001, on_error="collect"
        )
        # It may come before the task has come to where it handles it.
        told = [result for result in results if not isinstance(result, lib.SoftTimeout)]
        assert set(told) <= {"told once"}
        assert pool.apply(targets.uninterrupted, (LIMIT,)) is True


@pytest.mark.parametrize("use", ["map", "map_async", "starmap", "starmap_async"])
def test_each_task_of_a_map_has_its_own_time(lib, mp, use) -> None:
    inputs = [(n,) for n in range(4)] if "star" in use else range(4)
    with mp.Pool(2) as pool:
        results = getattr(pool, use)(
            targets.sleep_for_odd, inputs, soft_timeout=LIMIT, on_error="collect"
        )
        results = results.get(PATIENCE) if "async" in use else results
        assert [results[0], results[2]] == [0, 2]
        assert isinstance(results[1], lib.SoftTimeout)
        assert isinstance(results[3], lib.SoftTimeout)


def test_imap_and_chunks_have_it_too(lib, mp) -> None:
    with mp.Pool(1) as pool:
        results = pool.imap(targets.sleep_for_odd, iter(range(3)), soft_timeout=LIMIT)
        assert next(results) == 0
        with pytest.raises(lib.SoftTimeout):
            next(results)
        assert next(results) == 2
        # It is the time of a task, which is a chunk here: what that has not done has none.
        results = pool.map(
            targets.sleep_for_odd,
            [0, 2, 4, 6, 1, 8],
            3,
            soft_timeout=LIMIT,
            on_error="collect",
        )
        assert results[:4] == [0, 2, 4, 6]
        assert [type(each) for each in results[4:]] == [lib.SoftTimeout] * 2


def test_worker_that_dies_of_it_fails_its_task_alone(lib, mp) -> None:
    with mp.Pool(2) as pool:
        results = pool.map(
            targets.kill_for_odd_when_told,
            range(4),
            soft_timeout=LIMIT,
            on_error="collect",
        )
        assert [results[0], results[2]] == [0, 2]
        assert isinstance(results[1], lib.WorkerDied)
        assert isinstance(results[3], lib.WorkerDied)


def test_executor_has_it_for_all_tasks_or_for_those_of_a_view(lib, mp) -> None:
    executors = load("futures").ProcessPoolExecutor
    with executors(1, mp_context=mp, soft_timeout=LIMIT) as executor:
        with pytest.raises(lib.SoftTimeout):
            executor.submit(targets.sleep).result(PATIENCE)
        view = executor.with_options(soft_timeout=AMPLE)
        assert view.submit(targets.uninterrupted, 2 * LIMIT).result(PATIENCE) is True


@pytest.mark.parametrize("limit", [0, -1, float("nan"), float("inf")])
def test_limit_that_is_no_time_is_refused(lib, limit) -> None:
    with lib.Pool(1) as pool:
        with pytest.raises(ValueError):
            pool.apply(pool_targets.square, (3,), soft_timeout=limit)
        with pytest.raises(ValueError, match="must be less than timeout"):
            pool.apply(pool_targets.square, (3,), soft_timeout=2, timeout=2)


def test_pools_of_threads_refuse_it() -> None:
    with (
        load("pool").ThreadPool(1) as pool,
        pytest.raises(ValueError, match="has no soft_timeout"),
    ):
        pool.apply(pool_targets.square, (3,), soft_timeout=1)
