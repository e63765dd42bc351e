"""What those who die in the tests of deaths do, and those who are left."""

import faulthandler
import importlib
import itertools
import os
import signal
import subprocess
from typing import NoReturn

from library import PATIENCE, multiprocessing

from targets import pool


def die(signum: int = signal.SIGKILL) -> NoReturn:
    faulthandler.disable()  # So that pytest's has no say in it.
    os.kill(os.getpid(), signum)
    signal.pause()


def make_half_a_pipe() -> NoReturn:
    """Dies between the making of a pipe and that of its two connections."""
    # It makes each connection by a call.
    importlib.import_module("procession._procession").pipe(lambda *_, **__: die(), True)
    raise AssertionError("no connection was made")


class DeadlyToUnpickle:
    """Kills whoever unpickles it."""

    def __reduce__(self):
        return die, ()


class FailsToUnpickle:
    """Raises in whoever unpickles it."""

    def __reduce__(self):
        return divmod, (1, 0)


class FailsToPass:
    """Becomes, in whoever unpickles it, what raises in the next who does."""

    def __reduce__(self):
        return FailsToUnpickle, ()


def get(queue) -> None:
    """Gets one item."""
    queue.get(timeout=PATIENCE)


def receive(connection) -> None:
    """Receives one message."""
    connection.recv()


def die_if(number: int, victim: int) -> int:
    """Dies for one number and returns the square of the others."""
    if number == victim:
        die()
    return number * number


def die_at_first(count: int) -> int:
    """Dies so many times, and then returns how often it was called; by the value that
    the initializer gave."""
    calls = pool.given_by_initializer[0]
    with calls.get_lock():
        calls.value += 1
        called = calls.value
    if called <= count:
        die()
    return called


def die_at_first_of(data: bytes, count: int) -> tuple[int, bytes]:
    """Does the same, and returns its first argument, too."""
    return die_at_first(count), data


def note_pid_and_die(signum: int) -> NoReturn:
    """Leaves its pid in the value that the initializer gave."""
    pool.given_by_initializer[0].value = os.getpid()
    die(signum)


def work_for_ever(_: object) -> NoReturn:
    """Tells that it runs, by the semaphore that the initializer gave, and never ends."""
    pool.given_by_initializer[0].release()
    while True:
        pass


def hold(lock, held) -> NoReturn:
    """Takes a lock, or a semaphore, and never gives it back."""
    lock.acquire()
    held.release()
    signal.pause()


def notify_and_hold(condition, held) -> NoReturn:
    """Has all who wait wake up, and keeps the lock that they want then."""
    condition.acquire()
    condition.notify_all()
    held.release()
    signal.pause()


def join(queue, about_to, joined) -> None:
    """Waits until all items of a queue are done."""
    about_to.release()
    queue.join()
    joined.release()


def do_for_ever(queue, sign) -> NoReturn:
    """Gets items, and says that they are done; signs after some."""
    for number in itertools.count():
        queue.get()
        queue.task_done()
        if number == 50:
            sign.release()


def acquire(lock, about_to, results) -> None:
    """Puts how it went to take a lock that has died with its owner."""
    about_to.release()
    try:
        lock.acquire(timeout=PATIENCE)
    except multiprocessing.OwnerDied:
        results.put("OwnerDied")
    else:
        lock.release()
        results.put("acquired")


def message(number: int, size: int) -> tuple[int, bytes]:
    """Makes an item that shows when any part of it is not its own."""
    return number, bytes([number % 251]) * size


def put_for_ever(queue, size: int) -> NoReturn:
    number = 0
    while True:
        queue.put(message(number, size))
        number += 1


def get_for_ever(queue, about_to) -> NoReturn:
    about_to.release()
    while True:
        queue.get()


def put_one(queue, item: object, about_to) -> None:
    about_to.release()
    queue.put(item)


def get_one(queue, about_to, results) -> None:
    about_to.release()
    results.put(queue.get(timeout=PATIENCE))


def get_many(queue, about_to, results) -> None:
    about_to.release()
    results.put(queue.get_many(10, timeout=PATIENCE))


def shut_down_and_die(queue) -> NoReturn:
    queue.shutdown()
    die()


def have_descendants(depth: int, pids) -> None:
    """Starts a line of children, the last of which runs a program, and waits."""
    pids.put(os.getpid())
    if depth:
        child = multiprocessing.Process(target=have_descendants, args=(depth - 1, pids))
        child.start()
        child.join()
    else:
        with subprocess.Popen(["sleep", "600"]) as program:
            pids.put(program.pid)
            program.wait()


def hold_connection(connection, held) -> NoReturn:
    """Has a connection, and never closes it."""
    held.release()
    connection.recv()
    signal.pause()
