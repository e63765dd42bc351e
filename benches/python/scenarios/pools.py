"""Scenarios that send small tasks through a warm pool, of two where no number is named."""

import os
from functools import partial
from multiprocessing.context import BaseContext
from time import perf_counter

TINY = 20_000
DEFAULT = 1_000_000
ROUND_TRIPS = 3_000
MANY_WORKERS = 32
BOUND = 8_000_000
BOUND_INPUTS = 32
BOUND_TIMES = 3
RENEWED = 1_000
TASKS_OF_A_LIFE = 10


def identity(value: int) -> int:
    return value


def map_tiny(context: BaseContext) -> float:
    """Returns tasks per second of ``map`` with ``chunksize=1``."""
    return _map_tiny(context, 2)


def map_tiny_32(context: BaseContext) -> float:
    """Returns the same on 32 workers."""
    return _map_tiny(context, MANY_WORKERS)


def map_bound(context: BaseContext) -> float:
    """Returns the seconds of a ``map`` of 32 inputs of a function to which 8 MB are bound."""
    functions = [partial(_with_bound, os.urandom(BOUND)) for _ in range(BOUND_TIMES)]
    with context.Pool(2) as pool:
        pool.map(partial(_with_bound, b"warm"), range(BOUND_INPUTS))
        begin = perf_counter()
        for function in functions:
            results = pool.map(function, range(BOUND_INPUTS))
            assert results == [BOUND + value for value in range(BOUND_INPUTS)]
        return (perf_counter() - begin) / BOUND_TIMES


def map_renewed(context: BaseContext) -> float:
    """Returns tasks per second of ``map`` where another worker comes after every ten tasks of one."""
    with context.Pool(2, maxtasksperchild=TASKS_OF_A_LIFE) as pool:
        pool.map(identity, range(2 * TASKS_OF_A_LIFE), chunksize=1)
        begin = perf_counter()
        results = pool.map(identity, range(RENEWED), chunksize=1)
        seconds = perf_counter() - begin
    assert results == list(range(RENEWED))
    return RENEWED / seconds


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


def _with_bound(data: bytes, value: int) -> int:
    return len(data) + value


def _map_tiny(context: BaseContext, workers: int) -> float:
    with context.Pool(workers) as pool:
        pool.map(identity, range(1_000), chunksize=1)
        begin = perf_counter()
        results = pool.map(identity, range(TINY), chunksize=1)
        seconds = perf_counter() - begin
    assert results == list(range(TINY))
    return TINY / seconds
