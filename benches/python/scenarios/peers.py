"""The scenarios of small tasks on other libraries, each with two workers of its own kind.

What a library's ``map`` sends at once differs; each is told one input a task, as `pools` and `executors` do.
"""

import concurrent.futures
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from time import perf_counter

from scenarios.dicts import pickle_alone
from scenarios.executors import map_rate, roundtrip_time
from scenarios.pools import TINY, identity
from scenarios.queues import from_child

Map = Callable[[Iterable[int]], Iterable[int]]


def executor_map(peer: str) -> float:
    """Returns tasks per second of ``map`` with its ``chunksize`` of 1."""
    with _executor(peer) as executor:
        return map_rate(executor)


def executor_roundtrip(peer: str) -> float:
    """Returns the seconds of one ``submit`` and its ``result``, one after another."""
    with _executor(peer) as executor:
        return roundtrip_time(executor)


def map_tiny(peer: str) -> float:
    """Returns tasks per second of ``map``, on workers that have had some."""
    with POOLS[peer]() as mapped:
        assert sum(mapped(range(1_000))) == sum(range(1_000))
        begin = perf_counter()
        results = list(mapped(range(TINY)))
        seconds = perf_counter() - begin
    assert results == list(range(TINY))
    return TINY / seconds


def queue_1p1c(peer: str) -> float:
    """Returns items per second from a child of the standard library's to its parent, through that peer's queue."""
    queue = import_module(peer).Queue()
    return from_child(multiprocessing.get_context("forkserver"), queue)


def results_dicts(_peer: str) -> float:
    """Returns the seconds of pickle alone, which is the only peer."""
    return pickle_alone()


def _executor(peer: str) -> Executor:
    """Returns loky's executor, or one of the standard library's by its name."""
    if peer == "loky":
        executor: Executor = import_module("loky").ProcessPoolExecutor(2)
        return executor
    # Processes are started as ours are.
    options = (
        {"mp_context": multiprocessing.get_context("forkserver")}
        if peer == "ProcessPoolExecutor"
        else {}
    )
    executor = getattr(concurrent.futures, peer)(2, **options)
    return executor


@contextmanager
def _billiard() -> Iterator[Map]:
    with import_module("billiard").Pool(2) as pool:
        yield lambda inputs: pool.map(identity, inputs, chunksize=1)


@contextmanager
def _joblib() -> Iterator[Map]:
    joblib = import_module("joblib")
    call = joblib.delayed(identity)
    with joblib.Parallel(n_jobs=2, batch_size=1) as parallel:
        yield lambda inputs: parallel(call(value) for value in inputs)


@contextmanager
def _mpire() -> Iterator[Map]:
    with import_module("mpire").WorkerPool(n_jobs=2, keep_alive=True) as pool:
        yield lambda inputs: pool.map(identity, inputs, chunk_size=1)


@contextmanager
def _pebble() -> Iterator[Map]:
    with import_module("pebble").ProcessPool(max_workers=2) as pool:
        yield lambda inputs: pool.map(identity, inputs, chunksize=1).result()


POOLS: dict[str, Callable[[], AbstractContextManager[Map]]] = {
    "billiard": _billiard,
    "joblib": _joblib,
    "mpire": _mpire,
    "pebble": _pebble,
}
