"""Threads that wait for futures of an executor: whatever happens meanwhile, each gets what is its own.

A future has no lock until somebody wants one, so that what comes with its result is tried here.
"""

import concurrent.futures
import os
import signal
import threading
import time

import pytest
from library import MOMENT, PATIENCE
from procession.futures import BrokenProcessPool, ProcessPoolExecutor, WorkerDied
from targets import futures as targets
from targets import pool as pool_targets

pytestmark = pytest.mark.procession_only("its futures always have a lock")

CANCELLED = concurrent.futures.CancelledError


class Waiters:
    """Threads that wait for futures, and note what each future has come to."""

    def __init__(self, futures, count: int, timeouts=(PATIENCE,)) -> None:
        self._outcomes: list[list[object]] = [[] for _ in futures]
        self._threads = [
            threading.Thread(target=self._wait, args=(at, futures[at], timeout))
            for at in range(len(futures))
            for timeout in timeouts * count
        ]
        for thread in self._threads:
            thread.start()

    def _wait(self, at: int, future, timeout: float) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                outcome = future.result(timeout)
            except TimeoutError:
                continue
            except (BrokenProcessPool, CANCELLED) as error:
                outcome = type(error)
            self._outcomes[at].append(outcome)
            return

    def outcomes(self) -> list[list[object]]:
        """Returns what each of the futures has come to, for each of its threads."""
        for thread in self._threads:
            thread.join(PATIENCE)
        return self._outcomes


@pytest.fixture
def gates(mp):
    """Returns two semaphores: tasks tell that they have begun, and are told to end."""
    gates = [mp.Semaphore(0), mp.Semaphore(0)]
    yield gates
    gates.clear()


def executor_with(mp, size: int, gates) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(size, mp, pool_targets.initialize, tuple(gates))


@pytest.mark.slow
def test_who_comes_as_the_result_does_is_told_once(mp) -> None:
    numbers = range(300)
    called: list[int] = []
    with ProcessPoolExecutor(2, mp) as executor:
        for number in numbers:
            future = executor.submit(targets.add, number)
            waiters = Waiters([future], 1)
            for _ in range(number % 30):
                future.done()  # Some come earlier, some later.
            future.add_done_callback(lambda done: called.append(done.result()))
            assert concurrent.futures.wait([future], PATIENCE).done == {future}
            assert waiters.outcomes() == [[number]]
    assert called == list(numbers)


def test_all_threads_that_wait_get_what_their_task_has_come_to(mp) -> None:
    calls = [(os._exit, 3), (targets.add, 5), (time.sleep, MOMENT), (os._exit, 4)] * 3
    with ProcessPoolExecutor(2, mp) as executor:
        futures = [executor.submit(*call) for call in calls]
        futures.append(executor.submit(time.sleep, PATIENCE))
        waiters = Waiters(futures, 2, (PATIENCE, 0, MOMENT / 100))
        assert futures[-1].cancel(kill=True)
        each = [WorkerDied, 5, None, WorkerDied] * 3 + [CANCELLED]
        assert waiters.outcomes() == [[outcome] * 6 for outcome in each]


def test_time_that_is_over_ends_a_wait_and_nothing_else(mp, gates) -> None:
    with executor_with(mp, 1, gates) as executor:
        future = executor.submit(targets.begin_and_wait, "value")
        assert gates[0].acquire(timeout=PATIENCE)
        for timeout in (0, -1, MOMENT, True / 100):
            with pytest.raises(TimeoutError):
                future.result(timeout)
            with pytest.raises(TimeoutError):
                future.exception(timeout)
        gates[1].release()
        assert future.result() == "value"
        assert future.result(0) == future.result(-1) == "value"
        assert future.exception(0) is None


class Interrupted(Exception):
    """Raised by a handler of a signal."""


def test_wait_that_is_interrupted_loses_no_result(mp, gates) -> None:
    def interrupt(*_) -> None:
        raise Interrupted

    def raise_signal() -> None:
        for _ in range(2):
            assert gates[0].acquire(timeout=PATIENCE)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR2)

    before = signal.signal(signal.SIGUSR2, interrupt)
    try:
        with executor_with(mp, 2, gates) as executor:
            futures = [executor.submit(targets.begin_and_wait, at) for at in range(2)]
            waiters = Waiters(futures, 1)
            thread = threading.Thread(target=raise_signal)
            with pytest.raises(Interrupted):
                thread.start()
                futures[0].result(PATIENCE)
            thread.join()
            assert not any(future.done() for future in futures)
            for _ in futures:
                gates[1].release()
            assert waiters.outcomes() == [[0], [1]]
            assert [future.result(PATIENCE) for future in futures] == [0, 1]
    finally:
        signal.signal(signal.SIGUSR2, before)


@pytest.mark.parametrize("waits", [True, False])
def test_shutdown_tells_all_who_wait(mp, gates, waits) -> None:
    executor = executor_with(mp, 1, gates)
    futures = [executor.submit(targets.begin_and_wait, at) for at in range(3)]
    assert gates[0].acquire(timeout=PATIENCE)
    # The one that runs may end when those that wait were cancelled.
    futures[-1].add_done_callback(lambda _: gates[1].release())
    waiters = Waiters(futures, 2)
    executor.shutdown(waits, cancel_futures=True)
    assert waiters.outcomes() == [[0] * 2, [CANCELLED] * 2, [CANCELLED] * 2]
    executor.shutdown()


def test_workers_that_are_killed_fail_what_others_wait_for(mp, gates) -> None:
    executor = executor_with(mp, 1, gates)
    futures = [executor.submit(targets.begin_and_stay) for _ in range(2)]
    assert gates[0].acquire(timeout=PATIENCE)
    waiters = Waiters(futures, 2, (PATIENCE, MOMENT / 100))
    executor.kill_workers()
    died, cancelled = waiters.outcomes()
    assert len(died) == 4
    assert all(issubclass(error, BrokenProcessPool) for error in died)
    assert cancelled == [CANCELLED] * 4


def test_copy_of_a_process_whose_threads_wait_is_told_and_ends(prints) -> None:
    lines = prints("""
        import os, threading, time, warnings
        import procession
        from procession.futures import ProcessPoolExecutor

        if __name__ == "__main__":
            warnings.simplefilter("ignore", DeprecationWarning)  # It has threads.
            gate = procession.Event()
            with ProcessPoolExecutor(1) as executor:
                futures = [executor.submit(gate.wait), executor.submit(len, "ab")]
                threads = [threading.Thread(target=f.result) for f in futures * 2]
                for thread in threads:
                    thread.start()
                while not futures[0].running():
                    time.sleep(0.01)
                if not (pid := os.fork()):
                    for future in futures:
                        try:
                            future.result(60)
                        except AssertionError as error:
                            print(future.done(), error, flush=True)
                    os._exit(0)
                os.waitpid(pid, 0)
                gate.set()
                print([future.result() for future in futures])
    """)
    refused = "the pool belongs to the process that made it, not to this forked copy"
    assert lines == [f"False {refused}"] * 2 + ["[True, 2]"]
