"""Payloads: how long many bytes take through a pipe, to a worker, and back from one."""

import pickle
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from statistics import median
from time import perf_counter

import numpy
from machine import PAGE
from starts import all_of

# The first meet pages that are new, and sides that sleep.
WARM = 2

_kept: dict[int, numpy.ndarray] = {}


def through_pipe(context: BaseContext, size: int, times: int) -> float:
    """Returns the seconds from asking a child for so many bytes to having them."""
    here, there = context.Pipe()
    with all_of(context, [(_send, (there, size, times + WARM))]):
        found = []
        for _ in range(times + WARM):
            begin = perf_counter()
            here.send_bytes(b"please..")
            assert len(here.recv_bytes()) == size
            found.append(perf_counter() - begin)
        return median(found[WARM:])


def as_argument(context: BaseContext, size: int, times: int) -> float:
    """Returns the seconds of a call of a worker that looks at each page of so many bytes."""
    array = numpy.ones(size, numpy.uint8)
    with context.Pool(1) as pool:
        found = []
        for _ in range(times + WARM):
            begin = perf_counter()
            assert pool.apply(_look, (array,)) == -(-size // PAGE)
            found.append(perf_counter() - begin)
        return median(found[WARM:])


def as_result(context: BaseContext, size: int, times: int) -> float:
    """Returns the seconds of a call whose result is an array of so many bytes, and to look at each page."""
    with context.Pool(1) as pool:
        pool.apply(_make, (size,))
        found = []
        for _ in range(times + WARM):
            begin = perf_counter()
            assert _look(pool.apply(_give, (size,))) == -(-size // PAGE)
            found.append(perf_counter() - begin)
        return median(found[WARM:])


def both_ways(times: int) -> float:
    """Returns the seconds to pickle a small array, to unpickle it and to look at it."""
    array = numpy.ones(8, numpy.uint8)
    begin = perf_counter()
    for _ in range(times):
        assert _look(pickle.loads(pickle.dumps(array, protocol=5))) == 1
    return (perf_counter() - begin) / times


def _send(connection: "Connection[bytes, bytes]", size: int, times: int) -> None:
    message = bytes(size)
    for _ in range(times):
        connection.recv_bytes()
        connection.send_bytes(message)


def _look(array: numpy.ndarray) -> int:
    return int(array[::PAGE].sum(dtype=numpy.int64))


def _make(size: int) -> None:
    """Makes the array ahead of the measurement."""
    _kept[size] = numpy.ones(size, numpy.uint8)


def _give(size: int) -> numpy.ndarray:
    return _kept[size]
