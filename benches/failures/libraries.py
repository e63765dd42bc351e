"""The libraries, each behind the same few functions: open a pool, submit, collect, close.

A pool has two workers that are started as fresh interpreters, unless the library knows another
start method only. A result that does not come in time raises `Pending`, whatever the library says.
"""

from __future__ import annotations

import concurrent.futures
import importlib
import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

WORKERS = 2


class Pending(Exception):
    """The result is not there yet, and nobody says that it will not come."""


class Pool(Protocol):
    """What a trial needs of a pool."""

    def submit(self, function: Callable[..., Any], argument: Any) -> Any: ...
    def result(self, handle: Any, timeout: float) -> Any: ...
    def terminate(self) -> bool: ...


class AsyncPool:
    """A pool with `apply_async`, as `multiprocessing` has it."""

    def __init__(self, pool: Any, timed_out: type[BaseException]) -> None:
        self.pool = pool
        self.timed_out = timed_out

    def submit(self, function: Callable[..., Any], argument: Any) -> Any:
        return self.pool.apply_async(function, (argument,))

    def result(self, handle: Any, timeout: float) -> Any:
        try:
            return handle.get(timeout)
        except self.timed_out:
            raise Pending from None

    def terminate(self) -> bool:
        """Ends the workers, busy or not; tells whether there is a way to."""
        self.pool.terminate()
        if hasattr(self.pool, "join"):
            self.pool.join()
        return True


class Executor:
    """A pool whose `submit` returns a future."""

    def __init__(self, pool: Any, method: str = "submit") -> None:
        self.pool = pool
        self.method = method

    def submit(self, function: Callable[..., Any], argument: Any) -> Any:
        if self.method == "schedule":
            return self.pool.schedule(function, args=(argument,))
        return self.pool.submit(function, argument)

    def result(self, handle: Any, timeout: float) -> Any:
        if concurrent.futures.wait([handle], timeout).not_done:
            raise Pending
        return handle.result()

    def terminate(self) -> bool:
        """Ends the workers, busy or not; tells whether there is a way to."""
        if self.method == "schedule":
            self.pool.stop()
            self.pool.join()
        elif hasattr(self.pool, "terminate_workers"):
            self.pool.terminate_workers()
        elif type(self.pool).__module__.startswith("loky"):
            self.pool.shutdown(wait=True, kill_workers=True)
        else:
            return False
        return True


@dataclass(frozen=True)
class Library:
    """One column of the table."""

    name: str
    # The package, and the distribution where that has another name.
    package: str
    start_method: str | None = "spawn"
    distribution: str | None = None

    def version(self) -> str | None:
        """Returns the version, or None where it is not installed."""
        if self.distribution is None:
            return ""
        try:
            return importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            return None

    def open(self, initializer: Callable[[], object] | None) -> Pool:
        """Opens a pool of two workers."""
        package: Any = importlib.import_module(self.package)
        match self.name:
            case "ProcessPoolExecutor":
                context = importlib.import_module("multiprocessing").get_context(
                    "spawn"
                )
                make = concurrent.futures.ProcessPoolExecutor
                return Executor(
                    make(WORKERS, mp_context=context, initializer=initializer)
                )
            case "loky":
                make = package.get_reusable_executor
                return Executor(make(max_workers=WORKERS, initializer=initializer))
            case "pebble":
                context = importlib.import_module("multiprocessing").get_context(
                    "spawn"
                )
                pool = package.ProcessPool(
                    WORKERS, context=context, initializer=initializer
                )
                return Executor(pool, "schedule")
            case "mpire":
                pool = package.WorkerPool(WORKERS, start_method="spawn")
                if initializer is not None:
                    return Mpire(pool, initializer)
                return AsyncPool(pool, TimeoutError)
            case _:
                context = package.get_context(self.start_method)
                timed_out = getattr(package, "TimeoutError", TimeoutError)
                return AsyncPool(context.Pool(WORKERS, initializer), timed_out)

    def context(self) -> Any:
        """Returns what has locks and processes, or None where the library has neither."""
        if self.name in ("ProcessPoolExecutor", "loky", "pebble", "mpire"):
            return None
        package: Any = importlib.import_module(self.package)
        return package.get_context(self.start_method)


class Mpire(AsyncPool):
    """A pool of mpire with an initializer, which its `apply_async` is given each time."""

    def __init__(self, pool: Any, initializer: Callable[[], object]) -> None:
        super().__init__(pool, TimeoutError)
        self.initializer = initializer

    def submit(self, function: Callable[..., Any], argument: Any) -> Any:
        return self.pool.apply_async(
            function, (argument,), worker_init=self.initializer
        )


LIBRARIES = [
    Library("procession spawn", "procession", "spawn", "procession"),
    Library("procession fork", "procession", "fork", "procession"),
    Library("procession forkserver", "procession", "forkserver", "procession"),
    Library("multiprocessing", "multiprocessing"),
    Library("ProcessPoolExecutor", "concurrent.futures", "spawn"),
    Library("loky", "loky", None, "loky"),
    Library("billiard", "billiard", "spawn", "billiard"),
    Library("mpire", "mpire", "spawn", "mpire"),
    Library("pebble", "pebble", "spawn", "pebble"),
    Library("multiprocess", "multiprocess", "spawn", "multiprocess"),
]
