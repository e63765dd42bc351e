"""Scenarios whose results are many small objects: four lists of 20,000 dicts each."""

import pickle
from multiprocessing.context import BaseContext
from time import perf_counter
from typing import Any

RESULTS = 4
DICTS = 20_000

_kept: list[dict[str, Any]]


def results_dicts(context: BaseContext) -> float:
    """Returns the seconds of a ``map`` on two workers that returns lists which the workers have made before."""
    with context.Pool(2, initializer=_keep) as pool:
        _look_at(pool.map(_give, range(RESULTS), chunksize=1))
        begin = perf_counter()
        results = pool.map(_give, range(RESULTS), chunksize=1)
        seconds = perf_counter() - begin
    _look_at(results)
    return seconds


def pickle_alone() -> float:
    """Returns the seconds that pickle takes for the same: to write and to read it, in one process."""
    made = make()
    pickle.loads(pickle.dumps(made))
    begin = perf_counter()
    results = [pickle.loads(pickle.dumps(made)) for _ in range(RESULTS)]
    seconds = perf_counter() - begin
    _look_at(results)
    return seconds


def make() -> list[dict[str, Any]]:
    return [
        {"number": number, "name": f"row {number}", "share": number / DICTS}
        for number in range(DICTS)
    ]


def _keep() -> None:
    """Makes the list ahead of the measurement, once in each worker."""
    global _kept
    _kept = make()


def _give(_number: int) -> list[dict[str, Any]]:
    return _kept


def _look_at(results: list[list[dict[str, Any]]]) -> None:
    assert [len(result) for result in results] == [DICTS] * RESULTS
    assert all(result[-1]["number"] == DICTS - 1 for result in results)
