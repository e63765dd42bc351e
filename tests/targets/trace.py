"""What the family does that test_trace.py traces."""

import os
import signal
import sys

from library import PATIENCE


def double(number: int) -> int:
    return number * 2


def fail(_: int) -> None:
    raise ArithmeticError("on purpose")


def take(lock) -> None:
    with lock:
        pass


def take_after_telling(told, lock) -> None:
    told.set()
    with lock:
        pass


def leave_with(code: int) -> None:
    sys.exit(code)


def tell_and_hang(told) -> None:
    told.release()
    signal.pause()


def wait_on_each(event, condition, semaphore, barrier, queue) -> None:
    """Waits in vain for each of them, and is let through by the last."""
    assert not event.wait(0.01)
    with condition:
        assert not condition.wait(0.01)
    assert not semaphore.acquire(timeout=0.01)
    barrier.wait(PATIENCE)
    assert queue.get(timeout=PATIENCE) == "item"


def wait_often(semaphores, times: int, then_continue: int) -> None:
    """Sleeps often for a moment, then continues a process that was stopped."""
    for _ in range(times):
        for semaphore in semaphores:
            assert not semaphore.acquire(timeout=1e-6)
    os.kill(then_continue, signal.SIGCONT)
