"""What the workers of test_bounds.py do."""

import ctypes
import os

from library import multiprocessing

# Kept by who grows.
hoard: list = []

MEBIBYTE = 1 << 20


def use(mebibytes: int) -> int:
    """Has so much memory for a while."""
    return len(b"x" * (mebibytes * MEBIBYTE)) // MEBIBYTE


def use_bit_by_bit(mebibytes: int) -> int:
    """Has so much memory, in small pieces that its frame holds to the end."""
    pieces = [bytes(10_000) for _ in range(mebibytes * 100)]
    return len(pieces)


def use_and_return(mebibytes: int) -> bytes:
    return b"x" * (mebibytes * MEBIBYTE)


def die_for_want_of_memory(mebibytes: int) -> None:
    """Does what a C program does that does not look at what it got."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = [ctypes.c_size_t]
    libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    libc.memset(libc.malloc(mebibytes * MEBIBYTE), 1, mebibytes * MEBIBYTE)


def abort(_: object = None) -> None:
    os.abort()


def raise_memory_error() -> None:
    raise MemoryError("on purpose")


def grow(mebibytes: int) -> int:
    """Keeps so much more memory; returns the pid."""
    hoard.append(b"x" * (mebibytes * MEBIBYTE))
    return os.getpid()


def where(_: object = None) -> tuple[int | None, list[int]]:
    """Returns the place in the pool, and the processors."""
    me = multiprocessing.current_process()
    return me.worker_index, sorted(os.sched_getaffinity(0))


def meet(barrier_and_name: tuple) -> tuple[int | None, str | None]:
    """Returns the place in the pool and a variable, when all workers are here."""
    barrier, name = barrier_and_name
    barrier.wait(30)
    return multiprocessing.current_process().worker_index, os.environ.get(name)
