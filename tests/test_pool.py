"""Pools: results, order, errors, workers, and the end."""

import gc
import itertools
import operator
import pickle
import queue
import subprocess
import sys
import threading
import time

import pytest
from library import MOMENT, PATIENCE, load
from targets import calls
from targets import pool as targets


@pytest.fixture(scope="module")
def pool(mp):
    """Returns a pool of two workers that the tests of one start method share."""
    set_up = mp.Semaphore(0)
    with mp.Pool(2, operator.methodcaller("release"), (set_up,)) as pool:
        for _ in range(2):  # Until then they may look like processes held in reserve.
            assert set_up.acquire(timeout=PATIENCE)
        yield pool
        pool.close()
        pool.join()


# One call.


def test_apply_returns_the_result(pool) -> None:
    assert pool.apply(targets.square, (5,)) == 25
    assert pool.apply(targets.add, (1, 2), {"third": 3}) == 6
    assert pool.apply(targets.add, [1], {"second": 4}) == 5


def test_apply_calls_in_another_process(lib, pool) -> None:
    assert pool.apply(targets.pid) != lib.current_process().pid


def test_apply_async_brings_the_result_later(pool) -> None:
    result = pool.apply_async(targets.add, (1,), {"third": 3})
    assert result.get() == 4
    assert result.get(timeout=0) == 4
    assert result.ready() is True
    assert result.successful() is True
    assert result.wait() is None


def test_many_results_may_be_outstanding(pool) -> None:
    results = [pool.apply_async(targets.square, (number,)) for number in range(500)]
    assert [result.get(PATIENCE) for result in results] == [n * n for n in range(500)]


def test_result_that_is_not_there_yet_says_so(mp) -> None:
    started, event = mp.Semaphore(0), mp.Event()
    with mp.Pool(1, targets.initialize, (started, event)) as pool:
        result = pool.apply_async(targets.wait_for_given)
        assert started.acquire(timeout=PATIENCE)
        assert result.ready() is False
        with pytest.raises(ValueError, match="not ready"):
            result.successful()
        before = time.monotonic()
        with pytest.raises(mp.TimeoutError):
            result.get(timeout=MOMENT)
        assert time.monotonic() - before >= MOMENT
        with pytest.raises(mp.TimeoutError):
            result.get(0)
        assert result.wait(MOMENT) is None
        event.set()
        assert result.get(PATIENCE) == "waited"


def test_results_may_be_made_while_garbage_is_collected(pool) -> None:
    before = gc.get_threshold()
    gc.set_threshold(3, 2, 2)
    try:
        results = [pool.apply_async(targets.square, (n,)) for n in range(200)]
        assert [result.get(PATIENCE) for result in results] == [
            n * n for n in range(200)
        ]
    finally:
        gc.set_threshold(*before)


# Callbacks.


@pytest.mark.parametrize(
    ("use", "function", "argument", "expected"),
    [
        ("apply_async", targets.square, (3,), 9),
        ("map_async", targets.square, [1, 2, 3], [1, 4, 9]),
        ("starmap_async", targets.add, [(1, 2), (3, 4)], [3, 7]),
    ],
)
def test_callback_gets_the_result(pool, use, function, argument, expected) -> None:
    got, called = [], threading.Event()

    def callback(result) -> None:
        got.append(result)
        called.set()

    def must_not_be_called(error) -> None:
        got.append(error)

    getattr(pool, use)(
        function, argument, callback=callback, error_callback=must_not_be_called
    )
    assert called.wait(PATIENCE)
    assert got == [expected]


@pytest.mark.parametrize(
    ("use", "argument"),
    [("apply_async", (3,)), ("map_async", [1, 2, 3]), ("starmap_async", [(1,), (2,)])],
)
def test_error_callback_gets_the_error(pool, use, argument) -> None:
    got, called = [], threading.Event()

    def callback(error) -> None:
        got.append(error)
        called.set()

    def must_not_be_called(result) -> None:
        got.append(result)

    result = getattr(pool, use)(
        targets.fail, argument, callback=must_not_be_called, error_callback=callback
    )
    assert called.wait(PATIENCE)
    assert [type(error) for error in got] == [ValueError]
    with pytest.raises(ValueError, match=r"^[123]$"):
        result.get(PATIENCE)
    assert result.successful() is False


# Many calls.


@pytest.mark.parametrize("chunksize", [None, 1, 2, 7, 100, 1000])
def test_map_returns_results_in_the_order_of_the_input(pool, chunksize) -> None:
    numbers = range(100)
    assert pool.map(targets.square, numbers, chunksize) == [n * n for n in numbers]


@pytest.mark.parametrize("items", [[], (), range(0), iter(())])
def test_map_of_nothing_is_an_empty_list(pool, items) -> None:
    assert pool.map(targets.square, items) == []
    assert pool.starmap(targets.add, items) == []
    assert pool.map_async(targets.square, items).get(PATIENCE) == []


@pytest.mark.procession_only("it does not count them")
@pytest.mark.parametrize("use", ["map", "starmap", "map_async", "starmap_async"])
def test_inputs_of_a_map_are_put_together(mp, use) -> None:
    inputs = [(number,) for number in range(1000)] if "star" in use else range(1000)
    with mp.Pool(2) as pool:
        result = getattr(pool, use)(targets.square, inputs)
        result = result.get(PATIENCE) if "async" in use else result
        assert result == [number * number for number in range(1000)]
        work = pool.stats().work
        assert work.calls == 1000
        # Each worker has some of its own: who is done early does not wait for the others.
        assert 2 <= work.tasks <= 16


def test_map_takes_any_iterable(pool) -> None:
    expected = [0, 1, 4, 9]
    for items in (iter(range(4)), (n for n in range(4)), {0: "", 1: "", 2: "", 3: ""}):
        assert pool.map(targets.square, items) == expected


def test_starmap_spreads_the_arguments(pool) -> None:
    pairs = [(n, n + 1) for n in range(50)]
    expected = [first + second for first, second in pairs]
    assert pool.starmap(targets.add, pairs) == expected
    assert pool.starmap(targets.add, pairs, chunksize=3) == expected
    assert pool.starmap(targets.add, iter(pairs), 100) == expected
    assert pool.starmap_async(targets.add, pairs).get(PATIENCE) == expected


def test_imap_yields_in_the_order_of_the_input(pool) -> None:
    for options in ({}, {"chunksize": 1}, {"chunksize": 7}, {"chunksize": 1000}):
        results = pool.imap(targets.square, range(50), **options)
        assert iter(results) is results
        assert list(results) == [n * n for n in range(50)]
        with pytest.raises(StopIteration):
            next(results)


def test_imap_unordered_yields_each_result_once(pool) -> None:
    for chunksize in (1, 7, 1000):
        results = pool.imap_unordered(targets.square, range(50), chunksize)
        assert sorted(results) == [n * n for n in range(50)]


def test_imap_of_nothing_yields_nothing(pool) -> None:
    assert list(pool.imap(targets.square, [])) == []
    assert list(pool.imap_unordered(targets.square, iter(()))) == []


@pytest.mark.parametrize("use", ["imap", "imap_unordered"])
def test_imap_yields_results_before_its_input_has_ended(pool, use) -> None:
    may_end = threading.Event()

    def numbers():
        yield 1
        yield 2
        may_end.wait(PATIENCE)
        yield 3

    results = getattr(pool, use)(targets.square, numbers())
    assert sorted([results.next(PATIENCE), results.next(PATIENCE)]) == [1, 4]
    with pytest.raises(load("context").TimeoutError):
        results.next(timeout=MOMENT)
    may_end.set()
    assert results.next(PATIENCE) == 9
    with pytest.raises(StopIteration):
        results.next(PATIENCE)


@pytest.mark.parametrize("use", ["imap", "imap_unordered"])
@pytest.mark.parametrize("chunksize", [0, -1])
def test_imap_needs_a_chunk_of_at_least_one(pool, use, chunksize) -> None:
    with pytest.raises(ValueError, match="Chunksize must be 1"):
        getattr(pool, use)(targets.square, range(5), chunksize)


def test_several_maps_may_run_at_the_same_time(pool) -> None:
    results = [
        pool.map_async(targets.square, range(start, start + 50)) for start in range(10)
    ]
    for start, result in enumerate(results):
        assert result.get(PATIENCE) == [n * n for n in range(start, start + 50)]


def test_several_threads_may_use_one_pool(pool) -> None:
    got = {}

    def work(start: int) -> None:
        got[start] = pool.map(targets.square, range(start, start + 50), 1)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == {
        start: [n * n for n in range(start, start + 50)] for start in range(4)
    }


def test_functions_may_be_builtin_or_bound(pool) -> None:
    assert pool.map(len, ["a", "bb", "ccc"]) == [1, 2, 3]
    assert pool.map("-".join, [["a", "b"], ["c"]]) == ["a-b", "c"]
    assert pool.starmap(operator.mul, [(2, 3), (4, 5)]) == [6, 20]


@pytest.mark.slow
def test_large_arguments_and_results_arrive_whole(pool) -> None:
    data = bytes(range(256)) * (80 * 1024)
    assert pool.apply(calls.digest, (data,)) == calls.digest(data)
    assert pool.apply(calls.same, (data,)) == data
    assert pool.map(len, [data, data[:-1]]) == [len(data), len(data) - 1]


# Errors.


def test_error_in_a_call_is_raised_here(pool) -> None:
    with pytest.raises(ValueError, match="on purpose") as caught:
        pool.apply(targets.fail)
    assert caught.value.args == ("on purpose",)


def test_error_has_the_traceback_of_the_worker(pool) -> None:
    with pytest.raises(LookupError) as caught:
        pool.apply(targets.fail_deeply)
    told = str(caught.value.__cause__)
    assert "Traceback (most recent call last)" in told
    assert "in raise_from_below" in told
    assert "LookupError: from below" in told


def test_traceback_of_the_worker_tells_the_cause_too(pool) -> None:
    with pytest.raises(RuntimeError, match="the effect") as caught:
        pool.apply(targets.fail_with_cause)
    assert "ValueError: the cause" in str(caught.value.__cause__)


@pytest.mark.parametrize("chunksize", [1, 3, None])
def test_map_raises_the_error_of_one_of_its_calls(pool, chunksize) -> None:
    with pytest.raises(ValueError, match="^3$"):
        pool.map(targets.fail_if_odd, [0, 2, 4, 3, 6], chunksize)
    with pytest.raises(ValueError, match="on purpose"):
        pool.starmap(targets.fail, [("on purpose",)])


def test_imap_raises_an_error_in_its_place_and_goes_on(pool) -> None:
    results = pool.imap(targets.fail_if_odd, range(6))
    for number in (0, 2, 4):
        assert next(results) == number
        with pytest.raises(ValueError, match=str(number + 1)):
            next(results)
    with pytest.raises(StopIteration):
        next(results)


def values_and_errors(results) -> tuple[list[int], list[int]]:
    """Takes all results; returns the values and what the errors name, each sorted."""
    values, errors = [], []
    while True:
        try:
            values.append(next(results))
        except ValueError as error:
            errors.append(error.args[0])
        except StopIteration:
            return sorted(values), sorted(errors)


@pytest.mark.procession_only("there it has ended once it has raised")
@pytest.mark.parametrize("use", ["imap", "imap_unordered"])
def test_imap_in_chunks_loses_no_more_than_the_chunk_of_an_error(pool, use) -> None:
    inputs = [0, 2, 4, 1, 3, 6, 8, 10, 12]
    results = getattr(pool, use)(targets.fail_if_odd, inputs, 2)
    assert values_and_errors(results) == ([0, 2, 8, 10, 12], [1, 3])
    with pytest.raises(StopIteration):
        next(results)


def test_imap_unordered_raises_each_error_once(pool) -> None:
    results = pool.imap_unordered(targets.fail_if_odd, range(6))
    assert values_and_errors(results) == ([0, 2, 4], [1, 3, 5])


def test_error_in_the_input_is_raised_to_who_asked(pool) -> None:
    with pytest.raises(KeyError, match="the input is broken"):
        pool.map(targets.square, targets.numbers_then_error(3))
    results = pool.imap(targets.square, targets.numbers_then_error(3), 1)
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    with pytest.raises(KeyError, match="the input is broken"):
        next(results)
    unordered = pool.imap_unordered(targets.square, targets.numbers_then_error(0))
    with pytest.raises(KeyError, match="the input is broken"):
        next(unordered)
    assert pool.apply(targets.square, (3,)) == 9


def test_argument_that_does_not_pickle_fails_its_call_only(pool) -> None:
    others = pool.map_async(targets.square, range(10))
    with pytest.raises((TypeError, pickle.PicklingError)):
        pool.apply(calls.same, (threading.Lock(),))
    with pytest.raises((TypeError, pickle.PicklingError)):
        pool.apply(threading.Lock().acquire)
    assert others.get(PATIENCE) == [n * n for n in range(10)]


@pytest.mark.parametrize("function", [targets.return_lock, targets.raise_lock])
def test_result_that_does_not_pickle_is_an_error_that_tells_it(pool, function) -> None:
    error = load("pool").MaybeEncodingError
    with pytest.raises(error, match="pickle") as caught:
        pool.apply(function)
    assert "lock" in caught.value.exc
    if function is targets.return_lock:
        assert "lock" in caught.value.value
    assert pool.apply(targets.square, (3,)) == 9


@pytest.mark.procession_only("the result is lost and the pool dead")
def test_error_that_does_not_unpickle_comes_home_by_its_text(pool) -> None:
    with pytest.raises(Exception, match="not to be read"):
        pool.apply_async(targets.raise_unreadable).get(PATIENCE)
    assert pool.apply(targets.square, (3,)) == 9


@pytest.mark.procession_only("the result is lost, and nobody told")
def test_exit_in_a_call_is_an_error_here(mp) -> None:
    with mp.Pool(1) as pool:
        with pytest.raises((SystemExit, load("context").ProcessError), match="3"):
            pool.apply_async(targets.exit_with, (3,)).get(PATIENCE)
        assert pool.apply(targets.square, (3,)) == 9


# Workers.


def test_as_many_workers_as_asked_for_work_at_the_same_time(mp) -> None:
    barrier = mp.Barrier(3)
    with mp.Pool(3, targets.initialize, (barrier, 17)) as pool:
        results = pool.map(targets.initialized_number, range(3), chunksize=1)
    assert len({pid for pid, _ in results}) == 3
    assert {number for _, number in results} == {17}


def test_worker_is_a_daemon_with_a_name(pool, method) -> None:
    name, daemon = pool.apply(targets.who)
    kind = {"forkserver": "ForkServer"}.get(method, method.capitalize())
    assert name.startswith(f"{kind}PoolWorker-")
    assert daemon is True


def test_initializer_runs_in_each_worker_before_its_tasks(mp) -> None:
    with mp.Pool(2, initializer=targets.initialize, initargs=("a", 1)) as pool:
        assert pool.map(targets.initialized, range(4), 1) == [["a", 1]] * 4


@pytest.mark.slow
def test_worker_is_replaced_after_its_number_of_tasks(mp) -> None:
    with mp.Pool(1, maxtasksperchild=2) as pool:
        pids = [pool.apply(targets.pid) for _ in range(6)]
    runs = [len(list(same)) for _, same in itertools.groupby(pids)]
    assert runs == [2, 2, 2]


@pytest.mark.slow
def test_workers_are_replaced_in_the_middle_of_a_map(mp) -> None:
    with mp.Pool(2, None, (), 3) as pool:
        pids = pool.map(targets.pid, range(20), chunksize=1)
    assert all(pids.count(pid) <= 3 for pid in set(pids))
    assert len(set(pids)) >= 7


def test_pool_without_a_number_has_a_worker_for_each_processor(lib, method) -> None:
    with lib.get_context(method).Pool() as pool:
        assert pool.map(targets.square, range(5)) == [0, 1, 4, 9, 16]
        assert f"pool_size={lib.cpu_count()}" in repr(pool)


@pytest.mark.slow
def test_child_may_have_a_pool_of_its_own(call) -> None:
    assert call(targets.pool_in_child) == [0, 1, 4, 9, 16]


# The end of a pool.


def test_closed_pool_ends_its_work_and_takes_no_more(mp) -> None:
    pool = mp.Pool(2)
    result = pool.map_async(targets.square, range(20), 1)
    assert pool.close() is None
    pool.close()
    for use in ("apply", "apply_async", "map", "map_async", "imap", "starmap"):
        with pytest.raises(ValueError, match="Pool not running"):
            getattr(pool, use)(targets.square, (1,))
    assert pool.join() is None
    pool.join()
    assert result.get(0) == [n * n for n in range(20)]


def test_join_of_a_pool_that_runs_is_an_error(pool) -> None:
    with pytest.raises(ValueError, match="Pool is still running"):
        pool.join()


def test_terminate_does_not_wait_for_tasks(mp) -> None:
    started, never = mp.Semaphore(0), mp.Event()
    pool = mp.Pool(2, targets.initialize, (started, never))
    pool.map_async(targets.wait_for_given, range(10), 1)
    assert started.acquire(timeout=PATIENCE)
    assert pool.terminate() is None
    pool.terminate()
    pool.join()
    with pytest.raises(ValueError, match="Pool not running"):
        pool.apply(targets.square, (1,))


@pytest.mark.procession_only("whoever waits for a result waits for ever")
def test_terminate_leaves_nobody_waiting(lib, mp) -> None:
    started, never = mp.Semaphore(0), mp.Event()
    pool = mp.Pool(2, targets.initialize, (started, never))
    result = pool.map_async(targets.wait_for_given, range(100), 1)
    iterators = [
        pool.imap(targets.wait_for_given, range(10)),
        pool.imap_unordered(targets.wait_for_given, itertools.count()),
    ]
    assert started.acquire(timeout=PATIENCE)
    pool.terminate()
    pool.join()
    with pytest.raises(lib.ProcessError, match="terminated"):
        result.get(PATIENCE)
    for results in iterators:
        with pytest.raises(lib.ProcessError, match="terminated"):
            results.next(PATIENCE)


def test_terminate_ends_results_whose_inputs_are_being_taken(lib, mp) -> None:
    for already in range(10):
        pool = mp.Pool(1)
        results = pool.imap_unordered(abs, itertools.count())
        for _ in range(already):
            results.next(PATIENCE)
        pool.terminate()
        with pytest.raises(lib.ProcessError, match="terminated"):
            while True:
                results.next(PATIENCE)


def test_context_manager_terminates_the_pool(mp) -> None:
    started, never = mp.Semaphore(0), mp.Event()
    with mp.Pool(1, targets.initialize, (started, never)) as pool:
        pool.apply_async(targets.wait_for_given)
        assert started.acquire(timeout=PATIENCE)
    with pytest.raises(ValueError, match="Pool not running"), pool:
        pass


def test_pool_tells_its_state(mp) -> None:
    pool = mp.Pool(1)
    assert "state=RUN" in repr(pool)
    assert "pool_size=1" in repr(pool)
    pool.close()
    assert "state=CLOSE" in repr(pool)
    pool.terminate()
    assert "state=TERMINATE" in repr(pool)
    pool.join()


def test_pool_cannot_be_pickled(pool) -> None:
    with pytest.raises(NotImplementedError):
        pickle.dumps(pool)


def test_program_may_end_without_ending_its_pool(program) -> None:
    code, out, _err = program("""
        import multiprocessing

        if __name__ == "__main__":
            pool = multiprocessing.Pool(2)
            print(pool.map(len, ["a", "bb"]))
    """)
    assert (code, out) == (0, "[1, 2]\n")


def test_functions_of_the_program_itself_reach_its_workers(program) -> None:
    code, out, err = program("""
        from multiprocessing import Pool

        class Pair:
            def __init__(self, first, second):
                self.first, self.second = first, second

        def swap(pair):
            return Pair(pair.second, pair.first)

        if __name__ == "__main__":
            with Pool(2) as pool:
                for pair in pool.map(swap, [Pair(1, 2), Pair("a", "b")]):
                    print(pair.first, pair.second)
    """)
    assert (code, err) == (0, "")
    assert out == "2 1\nb a\n"


def test_pool_of_threads_has_the_same_methods(lib) -> None:
    with load("pool").ThreadPool(2) as pool:
        assert pool.map(targets.square, range(5)) == [0, 1, 4, 9, 16]
        assert pool.apply(targets.add, (1, 2)) == 3
        assert list(pool.imap(targets.square, range(3))) == [0, 1, 4]
        assert sorted(pool.imap_unordered(targets.square, range(3))) == [0, 1, 4]
        assert pool.starmap(targets.add, [(1, 2), (3, 4)]) == [3, 7]
        assert pool.apply(targets.pid) == lib.current_process().pid
        told = queue.SimpleQueue()
        for use, inputs, expected in (
            ("apply_async", (3,), 9),
            ("map_async", range(4), [0, 1, 4, 9]),
            ("starmap_async", [(2,), (3,)], [4, 9]),
        ):
            later = getattr(pool, use)(targets.square, inputs, callback=told.put)
            assert later.get(PATIENCE) == told.get(timeout=PATIENCE) == expected
        failed = pool.apply_async(targets.fail, error_callback=told.put)
        assert isinstance(told.get(timeout=PATIENCE), ValueError)
        with pytest.raises(ValueError, match="on purpose"):
            failed.get(PATIENCE)
        pool.close()
        pool.join()


def test_pool_of_threads_finishes_what_is_asked_for_when_closed(lib) -> None:
    with load("pool").ThreadPool(2) as pool:
        squares = pool.imap(targets.square, iter(range(100)))
        later = pool.map_async(targets.square, range(100), chunksize=7)
        pool.close()
        pool.join()
        assert list(squares) == later.get() == [number**2 for number in range(100)]


@pytest.mark.procession_only("threads may have begun with tasks that are put slowly")
def test_terminated_pool_of_threads_has_begun_few_tasks(lib) -> None:
    pool = load("pool").ThreadPool(2)
    begun = []
    pool.map_async(begun.append, range(1_000_000), chunksize=1)
    pool.terminate()
    pool.join()
    assert len(begun) < 1_000_000


def test_pool_that_cannot_be_filled_fails_and_leaves_no_worker(mp) -> None:
    started = []

    class Scarce(load("pool").Pool):
        @staticmethod
        def Process(context, *args, **kwargs):
            if len(started) == 2:
                raise OSError("no more processes")
            started.append(context.Process(*args, **kwargs))
            return started[-1]

    with pytest.raises(OSError, match="no more processes"):
        Scarce(4, context=mp)
    assert [process.is_alive() for process in started] == [False, False]


FAREWELL = """
import atexit
import multiprocessing as mp
import os

def initialize(both, path):
    atexit.register(os.mkdir, f"{path}-{os.getpid()}")
    both.wait()

if __name__ == "__main__":
    path = os.path.abspath(f"ended-{os.getpid()}")
    with mp.Pool(2, initialize, (mp.Barrier(2), path)) as pool:
        pool.map(abs, range(10), chunksize=1)
        pool.map(abs, range(10), chunksize=1)
    ended = [name for name in os.listdir() if name.startswith(f"ended-{os.getpid()}-")]
    print(len(ended))
"""


@pytest.mark.procession_only("workers are killed, and may not come to it")
def test_idle_workers_of_a_terminated_pool_come_to_their_ends(program) -> None:
    # A worker has a fifth of a second for it, which a busy machine may not give it.
    assert (0, "2\n", "") in (program(FAREWELL) for _ in range(5))


ON_ONE_CPU = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import procession
with procession.get_context("fork").Pool() as pool:
    print(len(pool.workers()))
"""


@pytest.mark.procession_only("it looks at the affinity from Python 3.13 on")
def test_default_size_is_that_of_the_affinity() -> None:
    out = subprocess.check_output([sys.executable, "-c", ON_ONE_CPU], text=True)
    assert out == "1\n"
