"""The scenarios of pools on other machines: on an engine of this machine, and by the engine's own means.

The engine has two nodes with four slots each, and each function is one of this module, which the nodes can import.
`own` is what somebody would write who has only the engine: a task for each input.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, perf_counter
from typing import Any

NODES = 2
SLOTS = 4

# Calls of a function that does nothing.
TINY = 2_000

# Calls of one that takes ten milliseconds.
SHORT = 4_000

MEGABYTES_80 = 10_000_000

Run = Callable[[Callable[[Any], Any], list[Any], "int | None"], list[Any]]


def identity(value: Any) -> Any:
    """Does nothing."""
    return value


def ten_milliseconds(value: int) -> int:
    """Takes ten milliseconds of no processor."""
    time.sleep(0.01)
    return value


def read_pages(array: Any) -> float:
    """Reads a number of each page."""
    return float(array[::512].sum())


def die(path: str) -> None:
    """Notes when it kills its process."""
    Path(path).write_text(repr(monotonic()))
    os.kill(os.getpid(), signal.SIGKILL)


def map_tiny(engine: str, library: str) -> float:
    """Returns tasks per second, one input a task."""
    with CLUSTERS[engine](library) as (run, _):
        run(identity, list(range(TINY // 4)), 1)
        begin = perf_counter()
        results = run(identity, list(range(TINY)), 1)
        seconds = perf_counter() - begin
    assert results == list(range(TINY))
    return TINY / seconds


def map_10ms(engine: str, library: str, chunksize: int | None = 1) -> float:
    """Returns tasks per second, of which the slots can do 800."""
    with CLUSTERS[engine](library) as (run, _):
        run(ten_milliseconds, list(range(SHORT // 10)), chunksize)
        begin = perf_counter()
        results = run(ten_milliseconds, list(range(SHORT)), chunksize)
        seconds = perf_counter() - begin
    assert results == list(range(SHORT))
    return SHORT / seconds


def array_in(engine: str, library: str) -> float:
    """Returns the seconds of a call with an array of 80 MB, the best of three."""
    numpy = import_module("numpy")
    with CLUSTERS[engine](library) as (_, call):
        call(read_pages, numpy.ones(1_000))
        times = []
        for number in range(3):
            array = numpy.full(MEGABYTES_80, float(number))
            begin = perf_counter()
            assert call(read_pages, array) == float(array[::512].sum())
            times.append(perf_counter() - begin)
    return min(times)


def task_killed(engine: str, library: str) -> float:
    """Returns the seconds from the end of a task's process to the error that tells of it, the median of five."""
    procession = import_module(library)
    with CLUSTERS[engine](library) as (_, call), TemporaryDirectory() as folder:
        call(identity, 1)
        times = []
        for number in range(5):
            path = Path(folder, str(number))
            try:
                call(die, str(path))
            except procession.WorkerDied as error:
                times.append(monotonic() - float(path.read_text()))
                assert error.signal == "SIGKILL", error
                assert error.pid, error
    return sorted(times)[2]


map_10ms_chunks = partial(map_10ms, chunksize=None)


@contextmanager
def _pool(url: str) -> Iterator[tuple[Run, Callable[..., Any]]]:
    """Yields a map and a call of procession's pool on the engine."""
    context = import_module("procession").get_context(url)
    with context.Pool(NODES * SLOTS) as pool:
        yield (
            lambda function, inputs, chunksize: pool.map(function, inputs, chunksize),
            lambda function, argument: pool.apply(function, (argument,)),
        )
    context.close()


@contextmanager
def _dask(library: str) -> Iterator[tuple[Run, Callable[..., Any]]]:
    distributed = import_module("distributed")
    cluster = distributed.LocalCluster(
        n_workers=NODES, threads_per_worker=SLOTS, dashboard_address=None
    )
    with cluster, distributed.Client(cluster, set_as_default=False) as client:
        if library != "dask":
            with _pool(cluster.scheduler_address.replace("tcp", "dask")) as ways:
                yield ways
            return

        def run(function, inputs, _chunksize):
            return client.gather(client.map(function, inputs, pure=False))

        def call(function, argument):
            scattered = client.scatter(argument, direct=True, hash=False)
            return client.submit(function, scattered, pure=False).result()

        yield run, call


@contextmanager
def _ray(library: str) -> Iterator[tuple[Run, Callable[..., Any]]]:
    ray = import_module("ray")
    # One node, as this machine is one; it has the slots of both.
    ray.init(num_cpus=NODES * SLOTS, include_dashboard=False, log_to_driver=False)
    try:
        if library != "ray":
            with _pool("ray") as ways:
                yield ways
            return

        def run(function, inputs, _chunksize):
            remote = ray.remote(function)
            return ray.get([remote.remote(each) for each in inputs])

        def call(function, argument):
            return ray.get(ray.remote(function).remote(ray.put(argument)))

        yield run, call
    finally:
        ray.shutdown()


CLUSTERS = {"dask": _dask, "ray": _ray}
