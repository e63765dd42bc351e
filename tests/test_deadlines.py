"""Tasks of a pool that take too long, or are not wanted any more: they alone are ended."""

import contextlib
import itertools
import queue as threads_queue
import time

import pytest
from library import PATIENCE, load
from targets import pool as targets

pytestmark = pytest.mark.procession_only("a task takes what it takes")

# Seconds that a task may take in these tests.
LIMIT = 0.1

# Seconds that no task here takes.
AMPLE = 60


# Deadlines.


def test_task_that_takes_too_long_fails_and_tells_its_name_and_limit(lib, mp) -> None:
    gate = mp.Semaphore(0), mp.Event()
    with mp.Pool(1, targets.initialize, gate) as pool:
        pid = pool.apply(targets.pid)
        before = time.monotonic()
        with pytest.raises(lib.TaskTimeout) as caught:
            pool.apply(targets.wait_for_given, timeout=LIMIT)
        assert time.monotonic() - before >= LIMIT
        error = caught.value
        assert isinstance(error, lib.TimeoutError)
        assert error.task == "targets.pool.wait_for_given"
        assert (error.limit, error.pid) == (LIMIT, pid)
        assert str(error) == (
            f"targets.pool.wait_for_given took longer than {LIMIT} s, "
            f"and was killed with worker process {pid}"
        )
        assert pool.apply(targets.pid) != pid


def test_task_that_takes_too_long_fails_alone(lib, mp) -> None:
    gate = mp.Semaphore(0), mp.Event()
    with mp.Pool(2, targets.initialize, gate) as pool:
        results = [
            pool.apply_async(targets.wait_or_square, (number,), timeout=LIMIT)
            for number in range(12)
        ]
        for number, result in enumerate(results):
            if number == 3:
                with pytest.raises(lib.TaskTimeout):
                    result.get(PATIENCE)
            else:
                assert result.get(PATIENCE) == number * number


def test_task_that_is_in_time_is_left_alone(mp) -> None:
    gate = mp.Semaphore(0), mp.Event()
    with mp.Pool(1, targets.initialize, gate) as pool:
        assert pool.apply(targets.square, (3,), timeout=AMPLE) == 9
        assert pool.map(targets.square, range(20), timeout=AMPLE) == [
            n * n for n in range(20)
        ]


def test_time_in_line_does_not_count(mp) -> None:
    gate = mp.Semaphore(0), mp.Event()
    with mp.Pool(1, targets.initialize, gate) as pool:
        started, event = gate
        first = pool.apply_async(targets.wait_for_given)
        second = pool.apply_async(targets.square, (3,), timeout=LIMIT)
        assert started.acquire(timeout=PATIENCE)
        first.wait(2 * LIMIT)
        event.set()
        assert second.get(PATIENCE) == 9


def test_deadline_is_kept_though_nobody_waits(lib, mp) -> None:
    gate = mp.Semaphore(0), mp.Event()
    with mp.Pool(1, targets.initialize, gate) as pool:
        told = threads_queue.Queue()
        pool.apply_async(targets.wait_for_given, timeout=LIMIT, error_callback=told.put)
        assert isinstance(told.get(timeout=PATIENCE), lib.TaskTimeout)


@pytest.mark.parametrize("use", ["map", "map_async", "starmap", "starmap_async"])
def test_map_is_given_the_time_of_each_of_its_tasks(lib, mp, use) -> None:
    gate = mp.Semaphore(0), mp.Event()
    inputs = range(8) if "star" not in use else [(number,) for number in range(8)]
    with mp.Pool(2, targets.initialize, gate) as pool:
        with pytest.raises(lib.TaskTimeout, match="wait_or_square on input 3 took"):
            result = getattr(pool, use)(targets.wait_or_square, inputs, timeout=LIMIT)
            result.get(PATIENCE)
        assert pool.map(targets.square, range(3)) == [0, 1, 4]


def test_chunk_has_the_time_of_one_task(lib, mp) -> None:
    gate = mp.Semaphore(0), mp.Event()
    with (
        mp.Pool(1, targets.initialize, gate) as pool,
        pytest.raises(lib.TaskTimeout, match="on inputs 2 to 3 took"),
    ):
        pool.map(targets.wait_or_square, range(8), chunksize=2, timeout=LIMIT)


@pytest.mark.parametrize("endless", [False, True])
def test_imap_tells_of_a_timeout_in_its_place_and_goes_on(lib, mp, endless) -> None:
    gate = mp.Semaphore(0), mp.Event()
    with mp.Pool(1, targets.initialize, gate) as pool:
        inputs = itertools.count() if endless else range(8)
        results = pool.imap(targets.wait_or_square, inputs, timeout=LIMIT)
        assert [next(results) for _ in range(3)] == [0, 1, 4]
        with pytest.raises(lib.TaskTimeout, match="on input 3 took"):
            next(results)
        assert [next(results) for _ in range(4)] == [16, 25, 36, 49]


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_timeout_that_is_no_time_is_refused(lib, timeout) -> None:
    with lib.Pool(1) as pool, pytest.raises(ValueError):
        pool.apply(targets.square, (3,), timeout=timeout)


def test_threads_refuse_what_needs_a_process() -> None:
    pools = load("pool")
    for option in (
        "retries",
        "memory_limit",
        "max_memory_per_worker",
        "affinity",
        "env",
    ):
        with pytest.raises(TypeError, match=option):
            pools.ThreadPool(1, **{option: 1})
    with pools.ThreadPool(1) as pool:
        for use in ("apply", "apply_async", "map", "map_async", "imap"):
            with pytest.raises(ValueError, match="cannot be killed"):
                getattr(pool, use)(targets.square, (3,), timeout=1)
            with pytest.raises(ValueError, match="is not run again"):
                getattr(pool, use)(targets.square, (3,), retries=1)
        with pytest.raises(ValueError, match="cannot be cancelled"):
            pool.apply_async(targets.square, (3,)).cancel()
        for chunksize in (1, 2):
            results = pool.imap(targets.square, range(4), chunksize)
            with pytest.raises(ValueError, match="cannot be cancelled"):
                results.cancel(kill=True)
            assert list(results) == [0, 1, 4, 9]
        results.close()
        assert pool.apply(targets.square, (3,), timeout=None, retries=0) == 9


# Cancelling.


def test_task_in_line_is_cancelled_and_never_runs(lib, mp) -> None:
    gate = mp.Semaphore(0), mp.Event()
    with mp.Pool(1, targets.initialize, gate) as pool:
        started, event = gate
        told = threads_queue.Queue()
        first = pool.apply_async(targets.wait_for_given)
        second = pool.apply_async(targets.wait_for_given, error_callback=told.put)
        third = pool.apply_async(targets.square, (3,))
        assert started.acquire(timeout=PATIENCE)
        assert second.cancelled() is False
        assert second.cancel() is True
        assert second.cancel() is False
        assert second.cancelled() is True
        with pytest.raises(lib.CancelledError, match="wait_for_given was cancelled"):
            second.get(0)
        assert isinstance(told.get(timeout=PATIENCE), lib.CancelledError)
        event.set()
        assert (first.get(PATIENCE), third.get(PATIENCE)) == ("waited", 9)
        assert started.acquire(block=False) is False


def test_task_that_runs_is_spared_or_killed(lib, mp) -> None:
    gate = mp.Semaphore(0), mp.Event()
    started, event = gate
    with mp.Pool(2, targets.initialize, gate) as pool:
        killed, spared = (pool.apply_async(targets.wait_for_given) for _ in range(2))
        for _ in range(2):
            assert started.acquire(timeout=PATIENCE)
        assert spared.cancel() is False
        assert killed.cancel(kill=True) is True
        with pytest.raises(lib.CancelledError):
            killed.get(PATIENCE)
        assert pool.apply(targets.square, (3,)) == 9
        event.set()
        assert spared.get(PATIENCE) == "waited"
        assert spared.cancelled() is False


def test_result_that_is_there_is_not_cancelled(mp) -> None:
    gate = mp.Semaphore(0), mp.Event()
    with mp.Pool(1, targets.initialize, gate) as pool:
        result = pool.apply_async(targets.square, (3,))
        assert result.get(PATIENCE) == 9
        assert result.cancel(kill=True) is False
        assert result.get() == 9


def test_map_in_line_is_cancelled_at_once(lib, mp) -> None:
    gate = mp.Semaphore(0), mp.Event()
    with mp.Pool(1, targets.initialize, gate) as pool:
        started, event = gate
        first = pool.apply_async(targets.wait_for_given)
        many = pool.map_async(targets.square, range(10_000), 1)
        assert started.acquire(timeout=PATIENCE)
        assert many.cancel() is True
        with pytest.raises(lib.CancelledError):
            many.get(PATIENCE)
        event.set()
        assert first.get(PATIENCE) == "waited"
        assert pool.map(targets.square, range(3)) == [0, 1, 4]


def test_map_that_runs_is_cancelled_with_what_is_left(lib, mp) -> None:
    gate = mp.Semaphore(0), mp.Event()
    started, event = gate
    with mp.Pool(2, targets.initialize, gate) as pool:
        spared = pool.map_async(targets.wait_for_given, range(10), 1)
        for _ in range(2):
            assert started.acquire(timeout=PATIENCE)
        assert spared.cancel() is True
        assert spared.ready() is False
        event.set()
        with pytest.raises(lib.CancelledError):
            spared.get(PATIENCE)
        assert started.acquire(block=False) is False
        event.clear()
        killed = pool.map_async(targets.wait_for_given, range(10), 1)
        for _ in range(2):
            assert started.acquire(timeout=PATIENCE)
        assert killed.cancel(kill=True) is True
        with pytest.raises(lib.CancelledError):
            killed.get(PATIENCE)
        assert pool.apply(targets.square, (3,)) == 9


class Numbers:
    """An endless iterator that knows how far it was asked."""

    def __init__(self) -> None:
        self.count = 0

    def __iter__(self):
        return self

    def __next__(self) -> int:
        self.count += 1
        return 3 if self.count == 2 else self.count - 1


def drained(lib, results) -> list[str]:
    """Tells of all that is left of an iterator."""
    left = []
    while True:
        try:
            left.append(str(next(results)))
        except StopIteration:
            return left
        except lib.CancelledError:
            left.append("cancelled")


@pytest.mark.parametrize("use", ["imap", "imap_unordered"])
@pytest.mark.parametrize("chunksize", [1, 2])
@pytest.mark.parametrize("endless", [False, True])
def test_imap_is_cancelled_with_what_is_left(lib, mp, use, chunksize, endless) -> None:
    gate = mp.Semaphore(0), mp.Event()
    started, event = gate
    with mp.Pool(1, targets.initialize, gate) as pool:
        for kill in (False, True):
            numbers = Numbers() if endless else [0, 3, *range(2, 3000)]
            results = getattr(pool, use)(targets.wait_or_square, numbers, chunksize)
            assert started.acquire(timeout=PATIENCE)
            assert results.cancel(kill) is True
            event.set()
            left = drained(lib, results)
            done = [] if kill and chunksize == 2 else ["0"]
            done += [] if kill else ["9"]
            # One at least stands for the inputs that were left.
            cancelled = left.count("cancelled")
            assert sorted(left) == [*done, *["cancelled"] * max(1, cancelled)]
            assert results.cancel() is False
            assert pool.apply(targets.square, (3,)) == 9
            assert started.acquire(block=False) is False
            event.clear()
        if endless:
            asked = numbers.count
            assert pool.apply(targets.square, (3,)) == 9
            assert numbers.count == asked


def test_imap_that_is_closed_gives_its_results_up(mp) -> None:
    gate = mp.Semaphore(0), mp.Event()
    started, event = gate
    with mp.Pool(1, targets.initialize, gate) as pool:
        for use, numbers, chunksize in (
            ("imap", Numbers(), 1),
            ("imap", Numbers(), 2),
            ("imap_unordered", [0, 3, *range(100)], 1),
        ):
            results = getattr(pool, use)(targets.wait_or_square, numbers, chunksize)
            assert started.acquire(timeout=PATIENCE)
            with contextlib.closing(results):
                assert pool._cache
            assert list(results) == []
            event.set()
            # It waits for what runs, and then the pool knows nothing of it.
            assert pool.apply(targets.square, (3,)) == 9
            assert not pool._cache
            event.clear()


@pytest.mark.slow
def test_cancelling_races_with_running_and_every_result_comes(lib, mp) -> None:
    with mp.Pool(2) as pool:
        results = [pool.apply_async(targets.square, (n,)) for n in range(500)]
        asked = [result.cancel(kill=n % 10 == 0) for n, result in enumerate(results)]
        for number, (result, was_cancelled) in enumerate(zip(results, asked)):
            if was_cancelled:
                with pytest.raises(lib.CancelledError):
                    result.get(PATIENCE)
            else:
                assert result.get(PATIENCE) == number * number
