"""The engine of a `Pool` whose subclass has made queues of its own.

joblib and torch override `Pool._setup_queues`, so that tasks and results are pickled
their way. Then tasks go through those queues: a thread feeds what is in line to the
first, another collects results from the second and looks after the workers. Only what
`multiprocessing` itself uses of the queues is used here: `get` and `put` in the workers,
`_quick_put` and `_quick_get` of the pool, and the `_reader` of the second.

Each worker notes in shared memory which task it runs, so that only that task fails if
the worker dies, as in other pools. In a subclass that also overrides
`_repopulate_pool`, workers make no notes: there all tasks fail if a worker dies.

The options that the native pool has beyond `multiprocessing` are refused, not ignored:
time limits, retries, cancelling, and bounds of the workers.
"""

from __future__ import annotations

import threading
import weakref

from . import _workers, util
from . import pool as pools
from ._errors import OwnerDied, WorkerDied, describe_exit
from ._thread_lock import under_lock
from ._threads import Threads, _Line
from .connection import Pipe, wait
from .sharedctypes import RawArray

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

__all__ = ["Queued", "work"]

# Workers that may end before their first task, one after the other.
_MOST_IN_VAIN = 20


class Queued(Threads):
    """A pool whose tasks and results go through queues.

    Args:
        pool: The pool, which has set up its queues and has no worker yet.
    """

    def __init__(self, pool: pools.Pool) -> None:
        super().__init__()
        # A weak reference, or the pool could never end.
        self._pool = weakref.ref(pool)
        self._ctx = pool._ctx
        self._workers = pool._pool
        self._inqueue, self._outqueue = pool._inqueue, pool._outqueue
        self._quick_put: Any = pool._quick_put
        self._quick_get: Any = pool._quick_get
        # The tasks that were fed and have not come back, as (job, index).
        self._out: set[tuple[int, int]] = set()
        self.tasks: Any = _QueuedLine(self.put)
        self._marks: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
        self._state = pools.RUN
        self._in_vain = 0
        self._news, self._bell = Pipe(duplex=False)
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Starts the workers and the threads."""
        self.replenish()
        for run in (self._feed, self._collect):
            thread = threading.Thread(target=run, name="procession-queued", daemon=True)
            self._threads.append(thread)
            thread.start()

    def populate(self, pool: pools.Pool) -> None:
        """Starts as many workers as are missing; `Pool._repopulate_pool` calls it."""
        for _ in range(pool._processes - len(self._workers)):
            mark = RawArray("q", 2)
            worker = pool.Process(
                pool._ctx,
                target=work,
                args=(
                    mark,
                    self._inqueue,
                    self._outqueue,
                    pool._initializer,
                    pool._initargs,
                    pool._maxtasksperchild,
                    pool._wrap_exception,
                ),
            )
            worker.name = worker.name.replace("Process", "PoolWorker")
            worker.daemon = True
            self._marks[worker] = mark
            # Listed before its start: if a handler interrupts the start, the workers on
            # the list are ended.
            self._workers.append(worker)
            try:
                worker.start()
            except BaseException:
                if worker._popen is None:
                    self._workers.remove(worker)
                raise

    def replenish(self) -> None:
        """Starts as many workers as are missing."""
        pool = self._pool()
        if pool is not None:
            pool._repopulate_pool()

    def close(self) -> None:
        """Has the workers end when they have done what is in line."""
        self._state = pools.CLOSE
        self._ring()

    def terminate(self) -> None:
        """Ends the workers; what they have not done fails."""
        error = WorkerDied("the pool was terminated")
        self._state = pools.TERMINATE
        self._ring()
        self.tasks.refuse(error)
        self._end_workers()
        # Not all of these have started if that was interrupted.
        feeder, collector, *_ = [*self._threads, None, None]
        if collector is not None and collector is not threading.current_thread():
            _join(collector)
        for worker in self._workers:
            _join(worker)
        # Nobody takes tasks out of the pipe any more, which may be full.
        while (
            feeder is not None
            and feeder.is_alive()
            and feeder is not threading.current_thread()
        ):
            if self._inqueue._reader.poll(0.01):
                self._inqueue._reader.recv_bytes()
        self._fail_all(error)
        self._let_go()

    def _end_workers(self) -> None:
        for worker in [*self._workers]:
            # A subclass that starts workers itself may have put one here that is not
            # started yet.
            if worker._popen is not None and worker.exitcode is None:
                worker.terminate()

    def join(self) -> None:
        """Waits until the threads and the workers have ended."""
        for thread in self._threads:
            thread.join()
        for worker in self._workers:
            worker.join()
        self._let_go()

    def _let_go(self) -> None:
        """Lets go of the pool, which these may be methods of."""
        self._quick_put = self._quick_get = None

    def _ring(self) -> None:
        try:
            self._bell.send_bytes(b"")
        except OSError:
            pass  # The collector has ended.

    # The thread that feeds.

    def _feed(self) -> None:
        for task in iter(self.tasks.get, None):
            job, index = task[:2]
            self._out.add((job, index))
            try:
                if self.tasks.error is not None:
                    raise self.tasks.error
                _again(self._quick_put, task)
            except Exception as error:
                self._bring((job, index, (False, error)))

    # The thread that collects.

    def _collect(self) -> None:
        reader = self._outqueue._reader
        try:
            while self._is_needed():
                workers = {each.sentinel: each for each in [*self._workers]}
                ready = wait([reader, self._news, *workers])
                if self._news in ready:
                    self._news.recv_bytes()
                if reader in ready and self._state != pools.TERMINATE:
                    self._bring(self._quick_get())
                    self._in_vain = 0
                for sentinel in ready:
                    if sentinel in workers:
                        self._bury(workers[sentinel])
        except Exception as error:
            # Where one result ends and the next begins is not known any more.
            util.info("the results of a pool cannot be read: %r", error)
            self._state = pools.TERMINATE
            self._fail_all(error)
        self._finish()

    def _is_needed(self) -> bool:
        return self._state == pools.RUN or (
            self._state == pools.CLOSE and bool(self.cache)
        )

    def _bring(self, item: tuple[int, int, tuple[bool, Any]]) -> None:
        """Hands the outcome of a task to its result, unless that was done before."""
        try:
            self._out.remove(item[:2])
        except KeyError:
            return
        self.put(item)

    def _bury(self, worker: Any) -> None:
        """Removes a worker that has ended, and starts another in its place."""
        # The results that it sent before its end come first.
        while self._outqueue._reader.poll() and self._state != pools.TERMINATE:
            self._bring(self._quick_get())
        worker.join()
        if worker in self._workers:
            self._workers.remove(worker)
        if self._state == pools.TERMINATE:
            return
        mark = self._marks.get(worker)
        if worker.exitcode != 0:
            self._blame(worker, mark)
        if self._is_needed():
            self.replenish()

    def _blame(self, worker: Any, mark: Any) -> None:
        error = WorkerDied(
            f"worker {worker.name} (pid {worker.pid}) {describe_exit(worker.exitcode)}",
            worker.pid,
            worker.exitcode,
        )
        if mark is None:
            self._fail_all(error)
            return
        index, job = mark
        if job and (job - 1, index) in self._out:
            self._bring((job - 1, index, (False, error)))
            return
        self._in_vain += 1
        if self._in_vain > _MOST_IN_VAIN:
            self._state = pools.TERMINATE
            self._fail_all(error)

    def _fail_all(self, error: Exception) -> None:
        """Fails all tasks, and all that will be submitted from now on."""
        self.tasks.refuse(error)
        for job, index in [*self._out]:
            self._bring((job, index, (False, error)))

    def _finish(self) -> None:
        """Ends the feeder and the workers, when there is nothing more to do."""
        self.tasks.end()
        if self._state == pools.TERMINATE:
            self._end_workers()
            return
        try:
            for _ in self._workers:
                _again(self._inqueue.put, None)
        except Exception as error:
            util.info("workers cannot be told to end: %r", error)


class _QueuedLine(_Line):
    """The tasks in line for the feeder, which may be refused.

    Args:
        put: A function that takes the outcome of a task that is refused.
    """

    def __init__(self, put: Callable[[Any], object]) -> None:
        super().__init__()
        self._put = put
        self.error: Exception | None = None

    def put_all(self, tasks: Iterator[Any]) -> bool:
        """Puts tasks in line, or fails them; returns whether they may be done."""
        if super().put_all(tasks):
            return True
        self._fail(tasks)
        return False

    def refuse(self, error: Exception) -> None:
        """Fails what is in line, and all that will be put."""
        for tasks in under_lock(self._changed, self._note_error, error):
            self._fail(tasks)

    def _note_error(self, error: Exception) -> list[Iterator[Any]]:
        """Forgets the tasks in line, and those to come; returns those in line."""
        self.error = self.error or error
        batches = [*self._batches]
        self._drop()
        return batches

    def _fail(self, tasks: Iterator[Any]) -> None:
        for job, index, *_ in tasks:
            self._put((job, index, (False, self.error)))


def work(
    mark: Any,
    inqueue: Any,
    outqueue: Any,
    initializer: Callable[..., object] | None,
    initargs: Any,
    maxtasks: int | None,
    wrap_exception: bool,
) -> None:
    """Runs the tasks of the queue, and notes which one it runs."""
    _workers.worker(
        _Marking(inqueue, mark),
        _Unmarking(outqueue, mark),
        initializer,
        initargs,
        maxtasks,
        wrap_exception,
    )


class _Marking:
    """Notes each task that is taken from a queue."""

    def __init__(self, queue: Any, mark: Any) -> None:
        self._queue, self._mark = queue, mark

    def get(self) -> Any:
        task = _again(self._queue.get)
        if task is not None:
            # The index is stored first: the note counts once its job is there.
            self._mark[0] = task[1]
            self._mark[1] = task[0] + 1
        return task


class _Unmarking:
    """Removes the note when the result was sent."""

    def __init__(self, queue: Any, mark: Any) -> None:
        self._queue, self._mark = queue, mark

    def put(self, item: Any) -> None:
        _again(self._queue.put, item)
        self._mark[1] = 0


def _join(activity: Any) -> None:
    """Waits for a thread or process, if it has started."""
    if activity.ident is not None:
        activity.join()


def _again(call: Callable[..., Any], *args: Any) -> Any:
    """Calls, and again if a lock of the queue had been held by a worker that died."""
    while True:
        try:
            return call(*args)
        except OwnerDied:
            pass
