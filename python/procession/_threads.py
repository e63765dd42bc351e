"""The engine of a `ThreadPool`: a line of tasks, and threads.

Tasks are what they are in `multiprocessing`, tuples that `pool.worker` runs; a result
is handed its outcome by the thread that ran the task.
"""

from __future__ import annotations

import threading
from collections import deque

from ._chunks import cut, mapstar, starmapstar
from ._procession import ApplyResult, IMapIterator, IMapUnorderedIterator, MapResult
from ._thread_lock import under_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ._progress import Progress
    from ._terms import Terms
    from .pool import Pool

__all__ = ["Threads"]


class Threads:
    """The engine of a `ThreadPool`."""

    def __init__(self) -> None:
        self.cache: dict[int, Any] = {}
        self.tasks = _Line()
        self.workers: list[threading.Thread] = []
        # Threads that are yet to be started.
        self.missing: list[threading.Thread] = []

    def start(self) -> None:
        """Starts the threads."""
        while self.missing:
            thread = self.missing.pop()
            thread.daemon = True
            # Listed before its start: if a handler interrupts the start, the threads on
            # the list are ended.
            self.workers.append(thread)
            thread.start()

    def put(self, item: tuple[int, int, tuple[bool, Any]]) -> None:
        """Hands the outcome of a task to its result."""
        job, index, outcome = item
        result = self.cache.get(job)
        if result is not None:
            result._set(index, outcome)

    def apply(
        self, pool: Pool, func: Any, args: Any, kwds: Any, terms: Terms | None = None
    ) -> Any:
        """Calls a function in a thread and waits for what it returns."""
        return self.apply_async(pool, func, args, kwds, None, None, terms).get()

    def apply_async(
        self,
        pool: Pool,
        func: Any,
        args: Any,
        kwds: Any,
        callback: Any,
        error_callback: Any,
        terms: Terms | None = None,
    ) -> ApplyResult[Any]:
        """Has a function called in a thread; returns the result to come."""
        _refuse(terms)
        result = ApplyResult(pool, callback, error_callback)
        self.cache[result._job] = result
        self.tasks.put((result._job, 0, func, args, kwds))
        return result

    def map(
        self,
        pool: Pool,
        func: Any,
        items: Any,
        chunksize: int,
        star: bool,
        terms: Terms | None = None,
        progress: Progress | None = None,
    ) -> list[Any]:
        """Calls a function with each of the items and waits for the results."""
        values: list[Any] = self.map_async(
            pool, func, items, chunksize, star, None, None, terms, progress
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
        terms: Terms | None = None,
        progress: Progress | None = None,
    ) -> MapResult[Any]:
        """Has a function called with each of the items; returns the result to come."""
        _refuse(terms)
        result = MapResult(
            pool, chunksize, len(items), callback, error_callback, progress
        )
        if not result.ready():
            self.cache[result._job] = result
        # It is read while the caller goes on, so it must not change.
        job, items = result._job, tuple(items)
        tasks: Iterator[Any]
        if chunksize == 1:
            # The task's result is the call's result itself.
            tasks = (
                (job, index, func, item if star else (item,), {})
                for index, item in enumerate(items)
            )
        else:
            call = starmapstar if star else mapstar
            tasks = (
                (job, index, call, ((func, chunk),), {})
                for index, chunk in enumerate(cut(items, chunksize))
            )
        self.tasks.put_all(tasks)
        return result

    def imap(
        self,
        pool: Pool,
        func: Any,
        iterable: Any,
        chunksize: int,
        ordered: bool,
        terms: Terms | None = None,
        progress: Progress | None = None,
    ) -> tuple[IMapIterator[Any], _Feeder]:
        """Has a function called with what an iterable yields."""
        _refuse(terms)
        kind = IMapIterator if ordered else IMapUnorderedIterator
        results: IMapIterator[Any] = kind(pool, progress)
        self.cache[results._job] = results
        if chunksize == 1:
            calls: Any = ((func, (item,)) for item in iter(iterable))
        else:
            chunks = cut(iterable, chunksize)
            calls = ((mapstar, ((func, chunk),)) for chunk in chunks)
        return results, _Feeder(self.tasks, results, calls)

    def populate(self, pool: Any) -> None:
        """Does nothing: threads do not die."""

    def worker_views(self) -> list[tuple[int, int, int]]:
        """Refuses, because there are no worker processes."""
        raise ValueError(
            "a pool of threads has no worker processes: use Pool, or threading.enumerate()"
        )

    def close(self) -> None:
        """Lets the threads end when they have done all tasks in line."""
        self.tasks.end()

    def terminate(self) -> None:
        """Lets the threads end when they have done the tasks that they run."""
        self.tasks.drop()

    def join(self) -> None:
        """Waits until the threads have ended."""
        for thread in self.workers:
            if thread.ident is not None:
                thread.join()


class _Line:
    """The tasks of a pool of threads, in the order in which they were put.

    Those of a map are made one by one, when a thread has time for them: so a pool that
    is terminated right after has nothing to do but what its threads have begun.
    """

    def __init__(self) -> None:
        self._batches: deque[Iterator[Any]] = deque()
        self._changed = threading.Condition(threading.Lock())
        self._feeders = 0
        self._ended = False
        self._dropped = False

    def put(self, task: Any) -> bool:
        """Puts a task in line; returns whether it may still be done."""
        return self.put_all(iter((task,)))

    def put_all(self, tasks: Iterator[Any]) -> bool:
        """Puts tasks in line; returns whether they may still be done."""
        return under_lock(self._changed, self._put_all, tasks)

    def _put_all(self, tasks: Iterator[Any]) -> bool:
        if not self._dropped:
            self._batches.append(tasks)
            self._changed.notify_all()
        return not self._dropped

    def get(self) -> Any:
        """Waits for a task and returns it; None if there will be none."""
        # This runs in a thread of the pool, where no handler of a signal runs.
        with self._changed:
            while True:
                while self._batches:
                    for task in self._batches[0]:
                        return task
                    self._batches.popleft()
                if self._dropped or (self._ended and not self._feeders):
                    return None
                self._changed.wait()

    def feed(self) -> None:
        """Notes that a feeder goes on to put tasks, even after `end`."""
        under_lock(self._changed, self._count_feeders, 1)

    def fed(self) -> None:
        """Notes that a feeder has put its last task."""
        under_lock(self._changed, self._count_feeders, -1)

    def _count_feeders(self, more: int) -> None:
        self._feeders += more
        self._changed.notify_all()

    def end(self) -> None:
        """Notes that no tasks will be put but those of feeders."""
        under_lock(self._changed, self._end)

    def _end(self) -> None:
        self._ended = True
        self._changed.notify_all()

    def drop(self) -> None:
        """Forgets all tasks, and those to come."""
        under_lock(self._changed, self._drop)

    def _drop(self) -> None:
        self._dropped = True
        self._batches.clear()
        self._changed.notify_all()


class _Feeder:
    """Puts what an iterable yields in line for the threads of a pool."""

    def __init__(
        self,
        tasks: _Line,
        results: IMapIterator[Any],
        calls: Iterator[tuple[Any, Any]],
    ) -> None:
        tasks.feed()
        self._tasks = tasks
        self._results = results
        self._calls = calls

    def run(self) -> None:
        """Asks the iterable until its end."""
        job, index = self._results._job, -1
        try:
            for index, (func, args) in enumerate(self._calls):
                if not self._tasks.put((job, index, func, args, {})):
                    break
        except Exception as error:
            index += 1
            self._results._set(index, (False, error))
        finally:
            self._tasks.fed()
        self._results._set_length(index + 1)


def _refuse(terms: Terms | None) -> None:
    if terms is None:
        return
    timeout, retries, soft_timeout, priority, on_error, in_order = terms
    if timeout is not None:
        raise ValueError("a task of this pool cannot be killed, and has no timeout")
    if retries:
        raise ValueError("a task of this pool is not run again, and has no retries")
    if soft_timeout is not None:
        raise ValueError("a task of this pool has no soft_timeout")
    if priority:
        raise ValueError("a task of this pool waits for its turn, and has no priority")
    if on_error != "continue":
        raise ValueError("a map of this pool always goes on, and has no on_error")
    if in_order:
        raise ValueError(
            "a task of this pool goes to any thread: there is no order_tasks"
        )
