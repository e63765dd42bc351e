"""What the workers of test_worker_life.py, test_idle.py and test_get_pool.py do."""

import os
import sys
import threading
import time
from typing import NoReturn

import procession

from targets import pool as pool_targets


class Counter:
    """The state of a worker."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.calls = 0

    def count(self) -> int:
        self.calls += 1
        return self.calls


def count(state: Counter, item: object = None) -> tuple[int, int, int]:
    """Returns who made the state, who has it, and the number of the call."""
    return state.pid, os.getpid(), state.count()


def count_by_process(_: object = None) -> tuple[int, int, int]:
    return count(procession.current_process().worker_state)


def state_after_initializer() -> list:
    return [*pool_targets.given_by_initializer, "state"]


def own_state(_: object = None) -> object:
    return procession.current_process().worker_state


def fail_to_make() -> NoReturn:
    raise LookupError("no state can be made")


def exit_to_make() -> NoReturn:
    sys.exit("no state can be made")


def tell(state: Counter) -> tuple[int, int]:
    """Returns at the end of a worker who it was and how many calls it had."""
    return os.getpid(), state.calls


def pid_at_exit() -> int:
    return os.getpid()


def fail_at_exit() -> NoReturn:
    raise LookupError("at the end")


def lock_at_exit() -> object:
    """Returns what cannot be pickled."""
    return threading.Lock()


def wait_at_exit() -> str:
    """Tells that the worker ends, and waits."""
    return pool_targets.wait_for_given()


def hang(*_: object) -> None:
    """Tells that it is called, if the initializer was given what for, and never returns."""
    for semaphore in _:
        semaphore.release()
    threading.Event().wait()


def hang_second_time(calls, *_: object) -> None:
    """Returns in the first worker only."""
    with calls.get_lock():
        calls.value += 1
        number = calls.value
    if number > 1:
        hang()


def threads_variables(_: object = None) -> dict:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {name: os.environ.get(name) for name in names}


def blas_threads(_: object = None) -> set:
    """Returns how many threads the libraries of numpy have."""
    import numpy
    import threadpoolctl

    numpy.ones((2, 2)) @ numpy.ones((2, 2))
    return {each["num_threads"] for each in threadpoolctl.threadpool_info()}


def meet(barrier) -> int:
    """Returns the worker's pid once as many are here as the barrier waits for."""
    barrier.wait(60)
    return os.getpid()


def nap(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()
