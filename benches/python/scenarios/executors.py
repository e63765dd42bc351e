"""Scenarios that send small tasks through a warm executor of two."""

from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing.context import BaseContext
from time import perf_counter

TINY = 20_000
ROUND_TRIPS = 3_000


def identity(value: int) -> int:
    return value


def executor_map(context: BaseContext) -> float:
    """Returns tasks per second of ``map`` with its ``chunksize`` of 1."""
    with ProcessPoolExecutor(2, context) as executor:
        return map_rate(executor)


def executor_roundtrip(context: BaseContext) -> float:
    """Returns the seconds of one ``submit`` and its ``result``, one after another."""
    with ProcessPoolExecutor(2, context) as executor:
        return roundtrip_time(executor)


def map_rate(executor: Executor) -> float:
    assert sum(executor.map(identity, range(1_000))) == sum(range(1_000))
    begin = perf_counter()
    results = list(executor.map(identity, range(TINY)))
    seconds = perf_counter() - begin
    assert results == list(range(TINY))
    return TINY / seconds


def roundtrip_time(executor: Executor) -> float:
    for value in range(100):
        executor.submit(identity, value).result()
    begin = perf_counter()
    for value in range(ROUND_TRIPS):
        assert executor.submit(identity, value).result() == value
    return (perf_counter() - begin) / ROUND_TRIPS
