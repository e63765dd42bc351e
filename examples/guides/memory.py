"""Workers that may have only so much memory, and an input that is longer than memory."""

import itertools
import os

import procession


def allocate(megabytes: int) -> int:
    """Has that much memory for a moment."""
    return len(bytearray(megabytes << 20)) >> 20


def limit_workers() -> None:
    """Refuses memory to the task that asks for too much, and to nobody else."""
    with procession.Pool(1, memory_limit="2GiB") as pool:
        print("small:", pool.apply(allocate, (1,)), "MB")
        try:
            pool.apply(allocate, (8 << 10,))
        except procession.MemoryLimitExceeded as error:
            print("large: refused by the limit of", error.limit >> 30, "GiB")
        print("the pool goes on:", pool.apply(allocate, (2,)), "MB")


kept = []


def keep(megabytes: int) -> int:
    """Keeps that much memory, as a library with a leak would, and tells in which worker."""
    kept.append(bytearray(megabytes << 20))
    return os.getpid()


def replace_workers_that_grow() -> None:
    """Replaces a worker between two tasks, when nothing is lost."""
    with procession.Pool(1, max_memory_per_worker="100MB") as pool:
        pids = {pool.apply(keep, (megabytes,)) for megabytes in (120, 1, 1)}
        print("workers:", len(pids))


def square(number: int) -> int:
    return number * number


def map_an_endless_input() -> None:
    """Takes inputs, and keeps results that nobody has fetched, a bounded number ahead."""
    with procession.Pool(2) as pool:
        squares = pool.imap(square, itertools.count(1))
        print("first beyond a million:", next(s for s in squares if s > 1_000_000))
        squares.cancel()


if __name__ == "__main__":
    limit_workers()
    replace_workers_that_grow()
    map_an_endless_input()
