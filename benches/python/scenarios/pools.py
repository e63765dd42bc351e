"""Scenarios that send small tasks through a warm pool of two."""

from multiprocessing.context import BaseContext
from time import perf_counter

TINY = 20_000
DEFAULT = 1_000_000
ROUND_TRIPS = 3_000


def identity(value: int) -> int:
    return value


def map_tiny(context: BaseContext) -> float:
    """Returns tasks per second of ``map`` with ``chunksize=1``."""
    with context.Pool(2) as pool:
        pool.map(identity, range(1_000), chunksize=1)
        begin = perf_counter()
        results = pool.map(identity, range(TINY), chunksize=1)
        seconds = perf_counter() - begin
    assert results == list(range(TINY))
    return TINY / seconds


def map_default(context: BaseContext) -> float:
    """Returns items per second of ``map`` with the chunks that it chooses itself."""
    with context.Pool(2) as pool:
        pool.map(identity, range(1_000))
        begin = perf_counter()
        results = pool.map(identity, range(DEFAULT))
        seconds = perf_counter() - begin
    assert results == list(range(DEFAULT))
    return DEFAULT / seconds


def imap_tiny(context: BaseContext) -> float:
    """Returns tasks per second of ``imap_unordered`` with ``chunksize=1``."""
    with context.Pool(2) as pool:
        sum(pool.imap_unordered(identity, range(1_000)))
        begin = perf_counter()
        total = sum(pool.imap_unordered(identity, range(TINY)))
        seconds = perf_counter() - begin
    assert total == sum(range(TINY))
    return TINY / seconds


def apply_roundtrip(context: BaseContext) -> float:
    """Returns the seconds of one ``apply``, called one after another."""
    with context.Pool(2) as pool:
        for value in range(100):
            pool.apply(identity, (value,))
        begin = perf_counter()
        for value in range(ROUND_TRIPS):
            assert pool.apply(identity, (value,)) == value
        return (perf_counter() - begin) / ROUND_TRIPS
