"""What the workers of test_soft_timeout.py do."""

import functools
import os
import select
import signal
import time

import procession

from targets import pool as pool_targets

AGES = 3600


def sleep(_: object = None) -> None:
    time.sleep(AGES)


def spin(_: object = None) -> None:
    while True:
        pass


def wait_for_event(_: object = None) -> str:
    return pool_targets.wait_for_given()


def wait_for_item(_: object = None) -> object:
    (queue,) = pool_targets.given_by_initializer
    return queue.get()


def wait_for_pool(_: object = None) -> object:
    """Waits for a pool of its own; the end of that is with this one's."""
    with procession.Pool(1) as pool:
        return pool.apply(sleep)


def read_pipe(_: object = None) -> bytes:
    reader, writer = os.pipe()
    try:
        return os.read(reader, 1)
    finally:
        os.close(reader)
        os.close(writer)


def handle(_: object = None) -> tuple:
    """Handles the exception, and returns what it says."""
    try:
        spin()
    except procession.SoftTimeout as error:
        return str(error), error.task, error.limit, error.pid, os.getpid()


def handle_and_go_on(_: object = None) -> None:
    """Does not end for the exception."""
    try:
        sleep()
    except procession.SoftTimeout:
        started, event = pool_targets.given_by_initializer
        started.release()
        event.wait()


def handle_then_sleep(seconds: float) -> str:
    """Is told once only."""
    try:
        sleep()
    except procession.SoftTimeout:
        time.sleep(seconds)
        return "told once"
    return "never told"


def sleep_for_odd(number: int) -> int:
    if number % 2:
        sleep()
    return number


def kill_for_odd_when_told(number: int) -> int:
    try:
        return sleep_for_odd(number)
    except procession.SoftTimeout:
        os.kill(os.getpid(), signal.SIGKILL)
        raise


def uninterrupted(seconds: float) -> bool:
    """Waits with a call that the exception would end; tells whether it took all that time."""
    before = time.monotonic()
    select.select([], [], [], seconds)
    return time.monotonic() - before >= seconds


class Callable:
    def __call__(self, _: object = None) -> None:
        sleep()


partial = functools.partial(sleep, 1)
