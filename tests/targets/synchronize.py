"""What the processes of test_synchronize.py do."""

import os
import signal
import threading

from library import PATIENCE


def acquire_and_release(lock) -> bool:
    """Tells whether the lock could be had without waiting."""
    acquired = lock.acquire(block=False)
    if acquired:
        lock.release()
    return acquired


def acquire(lock) -> None:
    lock.acquire()


def release(lock) -> None:
    lock.release()


def release_of_stranger(lock) -> str:
    """Returns the name of the error that a release by a stranger gets."""
    try:
        lock.release()
    except Exception as error:
        return type(error).__name__
    return "no error"


def add_without_losing(lock, total, times: int) -> None:
    for _ in range(times):
        with lock:
            seen = total.value
            total.value = seen + 1


def hold(lock, held, enough) -> None:
    """Takes a lock and keeps it until told."""
    with lock:
        held.set()
        enough.wait()


def enter(semaphore, inside, peak, all_started) -> None:
    """Counts how many are inside together, and keeps the highest count."""
    all_started.wait(PATIENCE)
    for _ in range(20):
        with semaphore:
            with inside.get_lock():
                inside.value += 1
                peak.value = max(peak.value, inside.value)
            with inside.get_lock():
                inside.value -= 1


def wait_for_event(event, ready, result) -> None:
    ready.release()
    result.put(event.wait(PATIENCE))


def wait_on_condition(condition, sleeping, woken) -> None:
    """Sleeps on a condition until notified; whoever takes it next finds us asleep."""
    with condition:
        sleeping.release()
        condition.wait(PATIENCE)
    woken.release()


def take_turns(condition, turn, mine: int, rounds: int) -> None:
    """Adds one to `turn` whenever it is ours."""
    for _ in range(rounds):
        with condition:
            assert condition.wait_for(lambda: turn.value % 2 == mine, PATIENCE)
            turn.value += 1
            condition.notify()


def wait_at_barrier(barrier, results, rounds: int = 1) -> None:
    """Puts the place in the line for each round, or the name of the error."""
    for _ in range(rounds):
        try:
            results.put(barrier.wait(PATIENCE))
        except threading.BrokenBarrierError as error:
            results.put(type(error).__name__)


def tell_of_barrier(barrier, results) -> None:
    """Puts the text of the error that the wait ends with."""
    try:
        barrier.wait(PATIENCE)
    except threading.BrokenBarrierError as error:
        results.put(str(error))


class Dying:
    """An action for a barrier, which its process does not survive."""

    def __call__(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Counting:
    """An action for a barrier, which counts how often it ran."""

    def __init__(self, count) -> None:
        self.count = count

    def __call__(self) -> None:
        self.count.value += 1


class Failing:
    """An action for a barrier, which fails."""

    def __call__(self) -> None:
        raise ValueError("on purpose")


def semaphore_value(semaphore) -> int:
    return semaphore.get_value()
