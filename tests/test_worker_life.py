"""What a worker makes once for its tasks, what it leaves at its end, how long it may take."""

import functools
import os
import signal

import pytest
from library import PATIENCE, gone, load, wait_until
from targets import pool as pool_targets
from targets import worker_life as targets

try:
    import numpy  # noqa: F401 (here, as it starts threads when it is imported, and they stay)
except ImportError:
    pass

pytestmark = pytest.mark.procession_only("a worker has an initializer, and no more")


# State.


def test_state_is_made_once_in_each_worker_and_passed_to_its_tasks(mp) -> None:
    with mp.Pool(2, worker_state=targets.Counter) as pool:
        work = functools.partial(targets.count, pool.worker_state)
        calls = pool.map(work, range(40), 1)
        calls += pool.map(work, range(40), 5)
        calls += [pool.apply(targets.count, (pool.worker_state,)) for _ in range(5)]
        calls += pool.starmap(targets.count, [(pool.worker_state, 1)] * 5)
        calls += list(pool.imap(work, iter(range(5))))
        calls += pool.map(targets.count_by_process, range(5))
        pids = {worker.pid for worker in pool.workers()}
    by_worker: dict[int, list[int]] = {}
    for maker, holder, number in calls:
        assert maker == holder
        by_worker.setdefault(holder, []).append(number)
    assert set(by_worker) <= pids
    for numbers in by_worker.values():
        assert sorted(numbers) == list(range(1, len(numbers) + 1))


def test_state_is_made_after_the_initializer(mp) -> None:
    with mp.Pool(
        1,
        pool_targets.initialize,
        ("a", "b"),
        worker_state=targets.state_after_initializer,
    ) as pool:
        assert pool.apply(pool_targets.same, (pool.worker_state,)) == [
            "a",
            "b",
            "state",
        ]


def test_successor_of_a_dead_worker_makes_its_own(lib, mp) -> None:
    with mp.Pool(1, worker_state=targets.Counter) as pool:
        first = pool.apply(targets.count, (pool.worker_state,))
        with pytest.raises(lib.WorkerDied):
            pool.apply(os.kill, (first[1], signal.SIGKILL))
        second = pool.apply(targets.count, (pool.worker_state,))
    assert first[1] != second[1]
    assert second == (second[1], second[1], 1)


@pytest.mark.parametrize("make", [targets.fail_to_make, targets.exit_to_make])
def test_state_that_cannot_be_made_is_the_error_of_each_task(lib, mp, make) -> None:
    with mp.Pool(1, worker_state=make) as pool:
        for _ in range(2):
            with pytest.raises((LookupError, lib.RemoteError), match="no state can be"):
                pool.apply_async(pool_targets.square, (3,)).get(PATIENCE)


def test_state_is_of_the_workers_of_its_pool_only(lib, mp) -> None:
    with (
        mp.Pool(1, worker_state=list) as pool,
        mp.Pool(1, worker_state=dict) as other,
        mp.Pool(1) as third,
    ):
        assert pool.apply(pool_targets.same, (pool.worker_state,)) == []
        assert other.apply(pool_targets.same, (other.worker_state,)) == {}
        for stranger in (other, third):
            with pytest.raises(RuntimeError, match="is no worker of the pool that"):
                stranger.apply(pool_targets.same, (pool.worker_state,))
        assert third.apply(targets.own_state) is None
        with pytest.raises(ValueError, match="has no worker_state"):
            _ = third.worker_state
    assert lib.current_process().worker_state is None


def test_executor_has_states_and_exit_results(mp) -> None:
    executors = load("futures").ProcessPoolExecutor
    with executors(
        1, mp, worker_state=targets.Counter, worker_exit=targets.tell
    ) as executor:
        state = executor.worker_state
        numbers = [executor.submit(targets.count, state).result() for _ in range(3)]
        assert [number for _, _, number in numbers] == [1, 2, 3]
    assert executor.exit_results() == [(numbers[0][0], 3)]


# Ends.


def test_each_worker_leaves_a_result(mp) -> None:
    pool = mp.Pool(3, worker_state=targets.Counter, worker_exit=targets.tell)
    work = functools.partial(targets.count, pool.worker_state)
    calls = pool.map(work, range(30), 1)
    pids = {worker.pid for worker in pool.workers()}
    assert pool.exit_results() == []
    pool.close()
    pool.join()
    results = pool.exit_results()
    assert {pid for pid, _ in results} == pids
    assert sum(count for _, count in results) == len(calls)
    assert pool.exit_results() == results


def test_worker_that_is_replaced_leaves_a_result(mp) -> None:
    pool = mp.Pool(1, maxtasksperchild=2, worker_exit=targets.pid_at_exit)
    pids = [pool.apply(pool_targets.pid) for _ in range(6)]
    pool.close()
    pool.join()
    results = pool.exit_results()
    assert results[:3] == list(dict.fromkeys(pids))


def test_worker_that_is_too_many_leaves_a_result(mp) -> None:
    pool = mp.Pool(2, worker_exit=targets.pid_at_exit)
    first, second = (worker.pid for worker in pool.workers())
    pool.resize(1)
    pool.close()
    pool.join()
    assert sorted(pool.exit_results()) == sorted([first, second])


def test_worker_that_is_killed_leaves_none_and_others_do(lib, mp) -> None:
    pool = mp.Pool(2, worker_exit=targets.pid_at_exit)
    killed, spared = (worker.pid for worker in pool.workers())
    os.kill(killed, signal.SIGKILL)
    pool.close()
    pool.join()
    assert killed not in pool.exit_results()
    assert spared in pool.exit_results()


def test_worker_that_is_killed_at_its_end_is_none_the_less_ended(mp) -> None:
    gate = started, _ = mp.Semaphore(0), mp.Event()
    pool = mp.Pool(1, pool_targets.initialize, gate, worker_exit=targets.wait_at_exit)
    pid = pool.workers()[0].pid
    pool.close()
    assert started.acquire(timeout=PATIENCE)
    os.kill(pid, signal.SIGKILL)
    pool.join()
    assert pool.exit_results() == []


@pytest.mark.parametrize("on_exit", [targets.fail_at_exit, targets.lock_at_exit])
def test_error_at_the_end_stands_among_the_results(mp, on_exit) -> None:
    pool = mp.Pool(2, worker_exit=on_exit)
    pool.close()
    pool.join()
    results = pool.exit_results()
    assert len(results) == 2
    kind = {
        targets.fail_at_exit: LookupError,
        targets.lock_at_exit: load("pool").MaybeEncodingError,
    }[on_exit]
    assert [type(result) for result in results] == [kind] * 2


def test_pool_without_a_function_for_the_end_has_no_results(mp) -> None:
    with mp.Pool(1) as pool, pytest.raises(ValueError, match="has no worker_exit"):
        pool.exit_results()


# An initializer's time.


@pytest.mark.parametrize("with_state", [False, True])
def test_initializer_that_takes_too_long_ends_the_pool(lib, mp, with_state) -> None:
    started = mp.Semaphore(0)
    options = {"worker_state": list} if with_state else {}
    with mp.Pool(
        1, targets.hang, (started,), initializer_timeout=0.2, **options
    ) as pool:
        pid = pool.workers()[0].pid
        name = "the initializer targets.worker_life.hang"
        if with_state:
            name += " with the worker_state builtins.list"
        expected = (
            rf"^{name} took longer than 0.2 s to set up worker 0 \(process {pid}\), "
            "which was ended, and its pool with it"
        )
        with pytest.raises(lib.TimeoutError, match=expected):
            pool.apply_async(pool_targets.square, (3,)).get(PATIENCE)
        assert started.acquire(block=False)
        with pytest.raises(lib.TimeoutError, match=expected):
            pool.map(pool_targets.square, range(3))
        wait_until(lambda: gone(pid))


def test_state_that_takes_too_long_ends_the_pool(lib, mp) -> None:
    with (
        mp.Pool(1, worker_state=targets.hang, initializer_timeout=0.2) as pool,
        pytest.raises(
            lib.TimeoutError, match="^the worker_state targets.worker_life.hang"
        ),
    ):
        pool.map(pool_targets.square, range(3))


@pytest.mark.slow
def test_successor_that_takes_too_long_fails_what_is_left(lib, mp) -> None:
    calls = mp.Value("i", 0)
    with mp.Pool(1, targets.hang_second_time, (calls,), initializer_timeout=2) as pool:
        assert pool.apply(pool_targets.square, (3,)) == 9
        results = pool.map_async(pool_targets.square, range(3), 1)
        os.kill(pool.apply(pool_targets.pid), signal.SIGKILL)
        results.wait(PATIENCE)
        with pytest.raises(
            lib.TimeoutError, match="hang_second_time took longer than 2"
        ):
            pool.map(pool_targets.square, range(3))


@pytest.mark.slow
def test_initializer_in_time_is_left_alone_and_time_is_not_that_of_tasks(mp) -> None:
    with mp.Pool(2, pool_targets.initialize, ("a",), initializer_timeout=2) as pool:
        assert pool.map(targets.nap, [2.1, 0], 1)
        assert pool.map(pool_targets.square, range(5)) == [n * n for n in range(5)]


def test_executor_with_an_initializer_that_takes_too_long_is_broken(mp) -> None:
    futures = load("futures")
    with futures.ProcessPoolExecutor(
        1, mp, targets.hang, initializer_timeout=0.2
    ) as executor:
        with pytest.raises(futures.BrokenProcessPool, match="hang took longer than"):
            executor.submit(pool_targets.square, 3).result(PATIENCE)
        with pytest.raises(futures.BrokenProcessPool):
            executor.submit(pool_targets.square, 3)


# Threads.


def test_environment_tells_libraries_how_many_threads_they_may_have(mp) -> None:
    before = dict(os.environ)
    with mp.Pool(1, threads_per_worker=3) as pool:
        assert set(pool.apply(targets.threads_variables).values()) == {"3"}
    # What is said of a variable goes before what is said of all.
    env = {"OMP_NUM_THREADS": "5"}
    with mp.Pool(1, threads_per_worker=3, env=env) as pool:
        found = pool.apply(targets.threads_variables)
        assert found["OMP_NUM_THREADS"] == "5"
        assert found["OPENBLAS_NUM_THREADS"] == "3"
    assert dict(os.environ) == before


def test_numpy_has_as_many_threads_as_it_may_have(mp) -> None:
    pytest.importorskip("threadpoolctl")
    pytest.importorskip("numpy")
    # Under fork it is loaded already, with as many as there are processors.
    targets.blas_threads()
    with mp.Pool(1, threads_per_worker=1) as pool:
        assert pool.apply(targets.blas_threads) == {1}


# What cannot be.


@pytest.mark.parametrize("name", ["idle_timeout", "initializer_timeout"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "1"])
def test_time_that_is_none_is_refused(lib, name, value) -> None:
    with pytest.raises(ValueError, match=f"{name} must be more than 0 seconds"):
        lib.Pool(1, **{name: value})
    with pytest.raises(ValueError, match=f"{name} must be more than 0 seconds"):
        load("futures").ProcessPoolExecutor(1, **{name: value})


@pytest.mark.parametrize("value", [0, -1, 1.5, "2"])
def test_number_of_threads_that_is_none_is_refused(lib, value) -> None:
    with pytest.raises((TypeError, ValueError), match="threads_per_worker must be"):
        lib.Pool(1, threads_per_worker=value)


@pytest.mark.parametrize("name", ["worker_state", "worker_exit"])
def test_what_cannot_be_called_is_refused(lib, name) -> None:
    with pytest.raises(TypeError, match=f"{name} must be a callable"):
        lib.Pool(1, **{name: 3})
