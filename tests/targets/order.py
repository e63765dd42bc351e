"""What the workers of test_order_tasks.py do."""

import os
import signal

import procession

from targets import pool as pool_targets


def index(_: object = None) -> int | None:
    """Returns the index of the worker."""
    return procession.current_process().worker_index


def index_but_wait(number: int) -> int | None:
    """As `index`, after a wait for the event in the call with 0."""
    if number == 0:
        pool_targets.wait_for_given()
    return index()


def index_or_die(number: int) -> int | None:
    """As `index`, but dies in the call with 4."""
    if number == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return index()


def index_after_death(number: int, counter) -> int | None:
    """As `index`, but dies in the first call with 4."""
    with counter.get_lock():
        counter.value += number == 4
        is_first = counter.value == 1
    if number == 4 and is_first:
        os.kill(os.getpid(), signal.SIGKILL)
    return index()
