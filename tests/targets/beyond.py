"""What the processes of test_beyond.py do."""

import os
import threading
import time
from typing import NoReturn

from library import PATIENCE, multiprocessing

from targets import process


def compute_for_ever(started) -> NoReturn:
    """Uses a processor until killed."""
    started.set()
    while True:
        pass


def work_until_asked(started) -> str:
    """Works until its stop flag is set, and returns its last words."""
    me = multiprocessing.current_process()
    before = me.stop_requested
    started.set()
    while not me.stop_requested:
        time.sleep(0.001)  # The work.
    return f"asked before the work {before}, after it {me.stop_requested}"


def wait_until_asked(started) -> tuple[bool, bool]:
    """Waits in vain for its stop flag, and then until it is set."""
    me = multiprocessing.current_process()
    in_vain = me.wait_for_stop(0.001)
    started.set()
    return in_vain, me.wait_for_stop(PATIENCE)


def hold(begun, go) -> int:
    """Keeps a worker until it may go on; returns its process id."""
    begun.release()
    assert go.wait(PATIENCE)
    return os.getpid()


def add(first: int, second: int) -> int:
    return first + second


def fail_below() -> NoReturn:
    raise LookupError("from below")


def fail() -> NoReturn:
    fail_below()


def return_lock() -> object:
    """Returns what cannot be pickled."""
    return threading.Lock()


def acquire_and_release_what_comes(queue) -> bool:
    """Uses a lock that came through a queue."""
    lock = queue.get()
    with lock:
        return lock.acquire(block=False)


def put_into_what_comes(queue) -> None:
    """Puts into a queue that came through a queue."""
    queue.get().put("through a queue that came through a queue")


def set_what_comes(connection) -> None:
    """Sets the event, and the value, that come through a pipe."""
    value = connection.recv()
    event = connection.recv()
    value.value += 1
    event.set()


def announce_when_let(gate, event) -> None:
    """Sets an event that nobody but this child refers to, when it may."""
    gate.wait()
    event.set()


if multiprocessing is not None:

    class Returning(multiprocessing.get_context("fork").Process):
        """A process by extension whose `run` returns a result."""

        def run(self) -> str:
            return f"returned by {process.name()}"
