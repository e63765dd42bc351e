"""What a `ThreadPool` has in place of the native pool: a line of tasks, and threads.

Tasks are what they are in `multiprocessing`, tuples that `pool.worker` runs; a result
is handed its outcome by the thread that ran the task.
"""

from __future__ import annotations

import itertools
import queue

from ._procession import ApplyResult, IMapIterator, IMapUnorderedIterator, MapResult
from .pool import mapstar, starmapstar

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator
    from typing import Any

    from .pool import Pool

__all__ = ["Threads"]


class Threads:
    """What a `ThreadPool` has in place of the native pool."""

    def __init__(self) -> None:
        self.cache: dict[int, Any] = {}
        self.tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.workers: list[threading.Thread] = []

    def put(self, item: tuple[int, int, tuple[bool, Any]]) -> None:
        """Hands what came of a task to its result."""
        job, index, outcome = item
        result = self.cache.get(job)
        if result is not None:
            result._set(index, outcome)

    def apply(self, pool: Pool, func: Any, args: Any, kwds: Any) -> Any:
        """Calls a function in a thread and waits for what it returns."""
        return self.apply_async(pool, func, args, kwds, None, None).get()

    def apply_async(
        self,
        pool: Pool,
        func: Any,
        args: Any,
        kwds: Any,
        callback: Any,
        error_callback: Any,
    ) -> ApplyResult:
        """Has a function called in a thread; returns the result to come."""
        result = ApplyResult(pool, callback, error_callback)
        self.cache[result._job] = result
        self.tasks.put((result._job, 0, func, args, kwds))
        return result

    def map(
        self, pool: Pool, func: Any, items: Any, chunksize: int, star: bool
    ) -> list[Any]:
        """Calls a function with each of the items and waits for the results."""
        values: list[Any] = self.map_async(
            pool, func, items, chunksize, star, None, None
        ).get()
        return values

    def map_async(
        self,
        pool: Pool,
        func: Any,
        items: Any,
        chunksize: int,
        star: bool,
        callback: Any,
        error_callback: Any,
    ) -> MapResult:
        """Has a function called with each of the items; returns the result to come."""
        result = MapResult(pool, chunksize, len(items), callback, error_callback)
        if not result.ready():
            self.cache[result._job] = result
        call = starmapstar if star else mapstar
        chunks = _chunks(items, chunksize)
        if chunksize == 1:
            # The result of such a task stands for itself.
            for index, item in enumerate(items):
                args = item if star else (item,)
                self.tasks.put((result._job, index, func, args, {}))
            return result
        for index, chunk in enumerate(chunks):
            self.tasks.put((result._job, index, call, ((func, chunk),), {}))
        return result

    def imap(
        self, pool: Pool, func: Any, iterable: Any, chunksize: int, ordered: bool
    ) -> tuple[IMapIterator, _Feeder]:
        """Has a function called with what an iterable yields."""
        kind = IMapIterator if ordered else IMapUnorderedIterator
        results = kind(pool)
        self.cache[results._job] = results
        if chunksize == 1:
            calls: Any = ((func, (item,)) for item in iter(iterable))
        else:
            chunks = _chunks(iterable, chunksize)
            calls = ((mapstar, ((func, chunk),)) for chunk in chunks)
        return results, _Feeder(self.tasks, results, calls)

    def replenish(self) -> None:
        """Does nothing: threads do not die."""

    def close(self) -> None:
        """Has the threads end when they have done what is in line."""
        for _ in self.workers:
            self.tasks.put(None)

    def terminate(self) -> None:
        """Has the threads end when they have done what they are at."""
        try:
            while True:
                self.tasks.get_nowait()
        except queue.Empty:
            pass
        self.close()

    def join(self) -> None:
        """Waits until the threads have ended."""
        for thread in self.workers:
            thread.join()


class _Feeder:
    """Puts what an iterable yields in line for the threads of a pool."""

    def __init__(
        self,
        tasks: queue.SimpleQueue[Any],
        results: IMapIterator,
        calls: Iterator[tuple[Any, Any]],
    ) -> None:
        self._tasks = tasks
        self._results = results
        self._calls = calls

    def run(self) -> None:
        """Asks the iterable until its end."""
        job, index = self._results._job, -1
        try:
            for index, (func, args) in enumerate(self._calls):
                self._tasks.put((job, index, func, args, {}))
        except Exception as error:
            index += 1
            self._results._set(index, (False, error))
        self._results._set_length(index + 1)


def _chunks(iterable: Iterable[Any], size: int) -> Iterator[tuple[Any, ...]]:
    iterator = iter(iterable)
    while size and (chunk := tuple(itertools.islice(iterator, size))):
        yield chunk
