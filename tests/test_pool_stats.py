"""What a pool tells of its work: `Pool.stats`."""

import functools
import importlib
import json

import pytest
from library import MOMENT, PATIENCE, load, wait_until
from targets import on_error as error_targets
from targets import pool as targets

pytestmark = pytest.mark.procession_only("pools tell nothing there")


def test_calls_are_counted_by_function_and_by_worker(mp) -> None:
    with mp.Pool(2) as pool:
        assert pool.map(error_targets.add_one, range(10), chunksize=3)
        assert pool.apply(len, ("four",)) == 4
        assert pool.apply(functools.partial(len, "partial")) == 7
        assert len(list(pool.imap(len, ["a", "b"]))) == 2
        assert len(list(pool.imap_unordered(len, iter(["a", "b"]), chunksize=2))) == 2
        stats = pool.stats()
        name = "targets.on_error.add_one"
        assert set(stats.functions) == {name, "builtins.len"}
        assert (stats.functions[name].calls, stats.functions[name].tasks) == (10, 4)
        assert stats.functions["builtins.len"].calls == 6
        assert (stats.work.calls, stats.work.failed, stats.work.deaths) == (16, 0, 0)
        assert sum(worker.work.calls for worker in stats.workers) == 16
        assert (stats.waiting, stats.running) == (0, 0)
        assert stats.submitted == stats.work.tasks
        assert [worker.index for worker in stats.workers] == [0, 1]
        assert {worker.pid for worker in stats.workers} == {
            process.pid for process in pool._pool
        }
        assert stats.work.bytes_sent > 0
        assert stats.work.bytes_received > 0


def test_times_are_those_of_the_calls(mp) -> None:
    with mp.Pool(1) as pool:
        before = pool.stats()
        assert before.work.total == 0
        assert before.work.mean is before.work.quantile(0.5) is None
        seconds = [0.0] * 9 + [0.2]
        pool.map(error_targets.rest, seconds, chunksize=1)
        stats = pool.stats()
    work = stats.functions["targets.on_error.rest"]
    assert 0.2 <= work.longest <= work.total <= stats.age
    assert work.shortest <= work.quantile(0.5) < 0.2
    assert work.quantile(1) == work.longest
    assert work.mean == pytest.approx(work.total / 10)
    (worker,) = stats.workers
    assert worker.work.total == work.total
    assert 0 < worker.starting <= stats.age
    assert 0 <= worker.waiting <= stats.age - worker.work.longest
    for part in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 1"):
            work.quantile(part)


def test_time_between_two_tasks_is_what_a_worker_has_waited(mp) -> None:
    never = mp.Event()
    with mp.Pool(1) as pool:
        pool.apply(error_targets.rest, (MOMENT,))
        (before,) = pool.stats().workers
        (process,) = pool._pool
        wait_until(lambda: process.state == "blocked")
        assert not never.wait(2 * MOMENT)
        pool.apply(len, ("",))
        (after,) = pool.stats().workers
    assert before.work.total >= MOMENT
    # It may be on its way to where it waits, and blocked there by another, for an instant.
    assert after.waiting - before.waiting >= MOMENT


def test_errors_deaths_retries_timeouts_and_kills_are_counted(lib, mp) -> None:
    with mp.Pool(1) as pool:
        for number in (1, 3, 2, 3):
            result = pool.apply_async(error_targets.square, (number,))
            result.wait(PATIENCE)
        with pytest.raises(lib.WorkerDied):
            pool.apply(error_targets.square, (7,))
        with pytest.raises(lib.WorkerDied):
            pool.apply(error_targets.square, (7,), retries=2)
        with pytest.raises(lib.TaskTimeout):
            pool.apply(error_targets.rest, (PATIENCE,), timeout=0.01)
        gate = mp.Semaphore(0)
        held = pool.apply_async(error_targets.tell_and_stay, (gate,))
        assert gate.acquire(timeout=PATIENCE)
        assert held.cancel(kill=True)
        assert pool.apply(len, ("",)) == 0
        stats = pool.stats()
    work = stats.functions["targets.on_error.square"]
    assert (work.tasks, work.failed, work.deaths, work.retries) == (4, 2, 2, 2)
    assert stats.work.timeouts == 1
    assert stats.work.cancelled == 1
    (worker,) = stats.workers
    assert (worker.starts, worker.deaths) == (7, 4)


def test_what_runs_and_what_waits_is_told(mp) -> None:
    told, gate = mp.Semaphore(0), mp.Semaphore(0)
    with mp.Pool(1) as pool:
        results = [
            pool.apply_async(error_targets.wait_for, (told, gate)) for _ in range(3)
        ]
        assert told.acquire(timeout=PATIENCE)
        stats = pool.stats()
        assert (stats.submitted, stats.running, stats.waiting) == (3, 1, 2)
        (worker,) = stats.workers
        assert worker.running >= 0
        for _ in range(3):
            gate.release()
        for result in results:
            result.get(PATIENCE)
        assert pool.stats().running == 0


def test_stats_of_a_pool_that_has_ended_are_kept(mp) -> None:
    with mp.Pool(2) as pool:
        pool.map(len, ["a", "b"], chunksize=1)
        pool.close()
        pool.join()
        stats = pool.stats()
    assert stats.work.calls == 2
    assert [worker.pid for worker in stats.workers] == [None, None]
    assert [worker.deaths for worker in stats.workers] == [0, 0]


def test_stats_are_numbers_for_json(mp) -> None:
    with mp.Pool(1) as pool:
        pool.map(len, ["a", "b"])
        told = json.loads(json.dumps(pool.stats().as_dict()))
    assert told["functions"]["builtins.len"]["calls"] == 2
    assert told["workers"][0]["work"]["p99"] >= told["workers"][0]["work"]["shortest"]


def test_many_functions_are_counted_under_one_name_in_the_end(mp) -> None:
    # The methods of many classes, all of one name each.
    with mp.Pool(1) as pool:
        for number in range(30):
            pool.apply(error_targets.Named(f"name{number}"))
        names = set(pool.stats().functions)
    assert names == {"a targets.on_error.Named"}


def test_executor_tells_what_its_workers_have_done(mp) -> None:
    futures = importlib.import_module("procession.futures")
    with futures.ProcessPoolExecutor(2, mp) as executor:
        assert list(executor.map(len, ["a", "b", "c"])) == [1, 1, 1]
        assert executor.submit(targets.square, 3).result(PATIENCE) == 9
        stats = executor.stats()
    assert stats.functions["builtins.len"].calls == 3
    assert stats.work.calls == 4


def test_pool_of_threads_counts_nothing() -> None:
    with load("pool").ThreadPool(1) as pool:
        assert pool.apply(len, ("a",)) == 1
        with pytest.raises(ValueError, match="counts nothing"):
            pool.stats()
