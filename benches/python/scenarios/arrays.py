"""Scenarios that send an array of 80 MB to a worker and back from one.

The receiver reads one number of each page: it must have the data, and the reading itself costs next to nothing.
"""

from multiprocessing.context import BaseContext
from time import perf_counter

import numpy

NUMBERS = 10_000_000
NUMBERS_PER_PAGE = 512
REPEATS = 3
EXPECTED = float(-(-NUMBERS // NUMBERS_PER_PAGE))

_kept: numpy.ndarray


def array_in(context: BaseContext) -> float:
    """Returns the seconds of an ``apply`` whose argument is the array."""
    array = numpy.ones(NUMBERS)
    with context.Pool(2) as pool:
        pool.apply(_read, (array,))
        begin = perf_counter()
        for _ in range(REPEATS):
            assert pool.apply(_read, (array,)) == EXPECTED
        return (perf_counter() - begin) / REPEATS


def array_out(context: BaseContext) -> float:
    """Returns the seconds of an ``apply`` whose result is the array."""
    with context.Pool(2, initializer=_make) as pool:
        _read(pool.apply(_give))
        begin = perf_counter()
        for _ in range(REPEATS):
            assert _read(pool.apply(_give)) == EXPECTED
        return (perf_counter() - begin) / REPEATS


def _make() -> None:
    """Makes the array ahead of the measurement, once in each worker."""
    global _kept
    _kept = numpy.ones(NUMBERS)


def _give() -> numpy.ndarray:
    return _kept


def _read(array: numpy.ndarray) -> float:
    return float(array[::NUMBERS_PER_PAGE].sum())
