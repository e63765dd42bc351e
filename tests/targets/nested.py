"""What the processes of test_nested.py do."""

import os
import threading
import time
from typing import NoReturn, Self

from library import PATIENCE, multiprocessing


def square(number: int) -> int:
    return number * number


def nothing() -> None:
    """Is all that a child does whose start is what matters."""


def squares_by_a_pool(numbers: list[int]) -> list[int]:
    """Has a pool of its own do what it is asked for."""
    with multiprocessing.get_context().Pool(2) as pool:
        return pool.map(square, numbers)


def pool_that_stays(pids) -> NoReturn:
    """Has a pool with busy workers, and waits to be ended."""
    pool = multiprocessing.get_context().Pool(2)
    pids.put(pool.apply(os.getpid))
    pool.apply(note_and_spin, (pids,))
    raise AssertionError


def note_and_spin(pids) -> NoReturn:
    pids.put(os.getpid())
    while True:
        pass


def start_another(function, *args) -> None:
    """Starts a child and waits for it; a daemon's is one, too."""
    child = multiprocessing.get_context().Process(target=function, args=args)
    child.start()
    assert child.daemon == multiprocessing.current_process().daemon
    child.join()
    assert child.exitcode == 0


def use_all(lock, queue, pool_of_parent) -> None:
    """Uses what its parent's threads are using, and what the parent had."""
    with lock:
        queue.put(os.getpid())
    # The copy of the parent's pool is nobody's; a pool of its own works.
    del pool_of_parent
    assert squares_by_a_pool([1, 2, 3]) == [1, 4, 9]


class Busy:
    """Threads that use a lock, a queue and a pool as often as they can."""

    def __init__(self, lock, queue, pool) -> None:
        self._end = threading.Event()
        works = [
            lambda: lock.acquire() and lock.release(),
            lambda: (queue.put(b"x" * 3000), queue.get(timeout=PATIENCE)),
            lambda: pool.apply(square, (3,)),
        ]
        self._threads = [
            threading.Thread(target=self._repeat, args=(work,)) for work in works
        ]
        self.failures: list[BaseException] = []

    def _repeat(self, work) -> None:
        try:
            while not self._end.is_set():
                work()
                time.sleep(0)
        except BaseException as error:
            self.failures.append(error)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(PATIENCE)
