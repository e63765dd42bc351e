"""The class `Pool`: worker processes that call functions, and `ThreadPool`.

Tasks and results travel in shared memory, and whoever waits for a result drives the
pool; all of that is native. What is here is what `multiprocessing.pool` has and users
subclass, and how a worker is started and what it says of an error.

Beyond `multiprocessing`: a task whose worker dies fails with `WorkerDied`, an
initializer that fails is the error of every task, and the tasks of a pool that was
terminated fail instead of waiting for ever.
"""

from __future__ import annotations

import itertools
import threading
import warnings

from . import _outcome, _procession, get_context, util
from ._errors import RemoteTraceback, TimeoutError  # noqa: F401
from ._outcome import rebuild_exc
from ._procession import (  # noqa: F401
    ApplyResult,
    IMapIterator,
    IMapUnorderedIterator,
    MapResult,
)
from .reduction import ForkingPickler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType
    from typing import Any, NoReturn, Self

    from ._threads import Threads
    from .context import BaseContext

__all__ = ["Pool", "ThreadPool"]

INIT = "INIT"
RUN = "RUN"
CLOSE = "CLOSE"
TERMINATE = "TERMINATE"

AsyncResult = ApplyResult


class Pool:
    """Worker processes that call functions, as in `multiprocessing`.

    Args:
        processes: How many workers; by default one for each usable CPU.
        initializer: What each worker calls before its first task.
        initargs: The arguments of the initializer.
        maxtasksperchild: After how many tasks a worker is replaced; by default never.
        context: The context that the workers are started with.
    """

    _wrap_exception = True
    _engine: _procession.Pool | Threads
    _inqueue: Any
    _outqueue: Any
    _quick_put: Any
    _quick_get: Any

    @staticmethod
    def Process(ctx: Any, *args: Any, **kwds: Any) -> Any:
        """Returns a new worker process, which is not started."""
        return ctx.Process(*args, **kwds)

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: BaseContext | None = None,
    ) -> None:
        # First of all: `__del__` asks for it, however far this gets.
        self._state = INIT
        self._pool: list[Any] = []
        self._ctx: Any = context or get_context()
        if processes is None:
            processes = _procession.usable_cpus()
        if processes < 1:
            raise ValueError("Number of processes must be at least 1")
        if maxtasksperchild is not None and (
            not isinstance(maxtasksperchild, int) or maxtasksperchild <= 0
        ):
            raise ValueError("maxtasksperchild must be a positive int or None")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._processes = processes
        self._maxtasksperchild = maxtasksperchild
        self._initializer = initializer
        self._initargs = initargs
        self._engine = self._start()
        self._cache: dict[int, Any] = self._engine.cache
        self._terminate = util.Finalize(self, self._engine.terminate, exitpriority=15)
        self._state = RUN

    def _start(self) -> Any:
        if type(self)._setup_queues is not Pool._setup_queues:
            from ._queued import Queued

            self._setup_queues()
            self._engine = queued = Queued(self)
            queued.start()
            return queued
        start = _Starter(
            self._ctx, self.Process, self._pool, self._initializer, self._initargs
        )
        engine = _procession.Pool(start, self._processes, self._maxtasksperchild)
        if start.error is None:
            return engine
        engine.terminate()
        engine.join()
        self._join_workers()
        try:
            raise start.error
        finally:
            # The error knows this frame; it would keep alive what waits for workers.
            del engine, start

    def __del__(
        self, _warn: Callable[..., None] = warnings.warn, RUN: str = RUN
    ) -> None:
        if self._state == RUN:
            _warn(
                f"unclosed running multiprocessing pool {self!r}",
                ResourceWarning,
                source=self,
            )

    def __repr__(self) -> str:
        cls = type(self)
        return (
            f"<{cls.__module__}.{cls.__qualname__} "
            f"state={self._state} pool_size={len(self._pool)}>"
        )

    def __reduce__(self) -> NoReturn:
        raise NotImplementedError(
            "pool objects cannot be passed between processes or pickled"
        )

    def __enter__(self) -> Self:
        self._check_running()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self.terminate()

    def _check_running(self) -> None:
        if self._state != RUN:
            raise ValueError("Pool not running")

    def _setup_queues(self) -> None:
        """Makes the queues for tasks and results, if a subclass wants to have some.

        One that overrides this, in order to pickle its own way, has its tasks and
        results go through what it has made: `_inqueue` and `_outqueue`, `_quick_put`
        and `_quick_get`. All other pools have no queues.
        """
        self._inqueue = self._ctx.SimpleQueue()
        self._outqueue = self._ctx.SimpleQueue()
        self._quick_put = self._inqueue._writer.send
        self._quick_get = self._outqueue._reader.recv

    def _repopulate_pool(self) -> None:
        """Replaces the workers that have ended; this happens by itself, too."""
        populate = getattr(self._engine, "populate", None)
        if populate is not None:
            populate(self)
        else:
            self._engine.replenish()

    def apply(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},
    ) -> Any:
        """Calls a function in a worker and returns the result."""
        if type(self).apply_async is not Pool.apply_async:
            # A subclass that changes the one changes both.
            return self.apply_async(func, args, kwds).get()
        self._check_running()
        return self._engine.apply(self, func, args, kwds)

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> ApplyResult:
        """Has a function called in a worker; returns the result to come."""
        self._check_running()
        return self._engine.apply_async(
            self, func, args, kwds, callback, error_callback
        )

    def map(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
    ) -> list[Any]:
        """Calls a function with each item, in the workers; returns the results."""
        return self._map(func, iterable, chunksize, False)

    def starmap(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
    ) -> list[Any]:
        """As `map`, with items that are the arguments of one call each."""
        return self._map(func, iterable, chunksize, True)

    def map_async(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callable[[list[Any]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> MapResult:
        """As `map`, but returns the result to come."""
        return self._map_async(
            func, iterable, chunksize, False, callback, error_callback
        )

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[list[Any]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> MapResult:
        """As `starmap`, but returns the result to come."""
        return self._map_async(
            func, iterable, chunksize, True, callback, error_callback
        )

    def imap(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int = 1,
    ) -> Iterator[Any]:
        """As `map`, but yields the results one by one, as they come in their order."""
        return self._imap(func, iterable, chunksize, True)

    def imap_unordered(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int = 1,
    ) -> Iterator[Any]:
        """As `imap`, but yields the results as they come."""
        return self._imap(func, iterable, chunksize, False)

    def _map(
        self, func: Any, iterable: Any, chunksize: int | None, star: bool
    ) -> list[Any]:
        self._check_running()
        items = _at_hand(iterable)
        chunksize = self._chunksize(len(items), chunksize)
        return self._engine.map(self, func, items, chunksize, star)

    def _map_async(
        self,
        func: Any,
        iterable: Any,
        chunksize: int | None,
        star: bool,
        callback: Any,
        error_callback: Any,
    ) -> MapResult:
        self._check_running()
        items = _at_hand(iterable)
        chunksize = self._chunksize(len(items), chunksize)
        return self._engine.map_async(
            self, func, items, chunksize, star, callback, error_callback
        )

    def _imap(
        self, func: Any, iterable: Any, chunksize: int, ordered: bool
    ) -> Iterator[Any]:
        self._check_running()
        if chunksize < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunksize:n}")
        results, feeder = self._engine.imap(self, func, iterable, chunksize, ordered)
        if feeder is not None:
            threading.Thread(
                target=feeder.run, name="procession-feeder", daemon=True
            ).start()
        if chunksize == 1:
            return results
        return itertools.chain.from_iterable(results)

    def _chunksize(self, length: int, chunksize: int | None) -> int:
        """Returns how many inputs make a task: by default a quarter of a worker's."""
        if chunksize is None:
            return -(-length // (self._processes * 4))
        if chunksize < 1 and length:
            raise ValueError(f"Chunksize must be 1+, not {chunksize:n}")
        return max(chunksize, 1)

    def close(self) -> None:
        """Takes no more tasks; the workers end when they have done what they have."""
        util.debug("closing pool")
        if self._state == RUN:
            self._state = CLOSE
            self._engine.close()

    def terminate(self) -> None:
        """Ends the workers at once; what they have not done fails."""
        util.debug("terminating pool")
        self._state = TERMINATE
        self._terminate()

    def join(self) -> None:
        """Waits until the workers have ended, after `close` or `terminate`.

        Raises:
            ValueError: The pool is still running.
        """
        util.debug("joining pool")
        if self._state == RUN:
            raise ValueError("Pool is still running")
        if self._state not in (CLOSE, TERMINATE):
            raise ValueError("In unknown state")
        self._engine.join()
        self._join_workers()

    def _join_workers(self) -> None:
        for process in self._pool:
            process.join()


class _Starter:
    """Starts workers. It does not know the pool, which could not end otherwise."""

    def __init__(
        self,
        ctx: Any,
        process: Callable[..., Any],
        workers: list[Any],
        initializer: Callable[..., object] | None,
        initargs: Iterable[Any],
    ) -> None:
        self._ctx = ctx
        self._process = process
        self._workers = workers
        self._initializer = initializer
        self._initargs = initargs
        # Why the first one that failed did, for a pool that is being made.
        self.error: Exception | None = None

    def __call__(self, lane: tuple[int, int]) -> _procession.Child:
        """Starts a worker that finds its pool by a lane."""
        try:
            process = self._process(
                self._ctx,
                target=_work,
                args=(lane, self._initializer, self._initargs),
            )
            process.name = process.name.replace("Process", "PoolWorker")
            process.daemon = True
            process.start()
        except Exception as error:
            self.error = self.error or error
            raise
        for worker in [*self._workers]:
            if worker.exitcode is not None:
                util.debug("cleaning up worker %s", worker.name)
                worker.join()
                self._workers.remove(worker)
        self._workers.append(process)
        util.debug("added worker")
        child: _procession.Child = process._popen._child
        return child


def _work(
    lane: tuple[int, int],
    initializer: Callable[..., object] | None,
    initargs: Iterable[Any],
) -> None:
    """Works for a pool, in a worker process, until there is no more to do."""
    me = _procession.PoolWorker(lane)
    if initializer is not None:
        try:
            initializer(*initargs)
        except Exception as error:
            me.fail(_pack(error))
            raise
    me.run(_pack)
    util.debug("worker exiting")


def _pack(error: Exception, value: object = None) -> Any:
    """Returns an error as data that crosses; `value` is what it kept from crossing."""
    if value is not None:
        return _outcome.pack_error(MaybeEncodingError(error, value))
    packed = _outcome.pack_error(error)
    if packed[0] is not None:
        return packed
    try:
        ForkingPickler.dumps(error)
        reason = None
    except Exception as refusal:
        reason = refusal
    *rest, _ = _outcome.pack_error(MaybeEncodingError(reason, error))
    return (*rest, packed[3])


class MaybeEncodingError(Exception):
    """Says that a result or an error of a task could not be pickled."""

    def __init__(self, exc: object, value: object) -> None:
        self.exc = repr(exc)
        self.value = repr(value)
        super().__init__(self.exc, self.value)

    def __str__(self) -> str:
        return f"Error sending result: '{self.value}'. Reason: '{self.exc}'"

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"


class ExceptionWithTraceback:
    """Pickles an exception so that it has the text of its traceback as its cause."""

    def __init__(self, exc: BaseException, tb: TracebackType | None) -> None:
        # Not at the top: most workers never tell of an error.
        import traceback

        text = "".join(traceback.format_exception(type(exc), exc, tb))
        self.exc = exc
        self.tb = f'\n"""\n{text}"""'

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuild_exc, (self.exc, self.tb)


def mapstar(args: tuple[Any, ...]) -> list[Any]:
    """Returns the list of `map(*args)`."""
    return list(map(*args))


def starmapstar(args: tuple[Any, ...]) -> list[Any]:
    """Returns the list of `itertools.starmap(*args)`."""
    return list(itertools.starmap(args[0], args[1]))


def _at_hand(iterable: Iterable[Any]) -> Any:
    """Returns the items of an iterable as something that has a length."""
    if isinstance(iterable, list | tuple | range):
        return iterable
    return list(iterable)


class ThreadPool(Pool):
    """A pool of threads, as in `multiprocessing`."""

    _wrap_exception = False

    @staticmethod
    def Process(ctx: Any, *args: Any, **kwds: Any) -> Any:
        """Returns a new worker thread, which is not started."""
        from .dummy import Process

        return Process(*args, **kwds)

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
    ) -> None:
        Pool.__init__(self, processes, initializer, initargs)

    def _start(self) -> Threads:
        from ._threads import Threads

        threads = Threads()
        for _ in range(self._processes):
            thread = self.Process(
                self._ctx,
                target=worker,
                args=(threads.tasks, threads, self._initializer, self._initargs),
            )
            thread.daemon = True
            thread.start()
            self._pool.append(thread)
        threads.workers = self._pool
        return threads


def worker(
    inqueue: Any,
    outqueue: Any,
    initializer: Callable[..., object] | None = None,
    initargs: Iterable[Any] = (),
    maxtasks: int | None = None,
    wrap_exception: bool = False,
) -> None:
    """Runs the tasks of a queue, in a thread, as in `multiprocessing`.

    A worker process runs something else, which is native.
    """
    if maxtasks is not None and not (isinstance(maxtasks, int) and maxtasks >= 1):
        raise AssertionError(f"Maxtasks {maxtasks!r} is not valid")
    if initializer is not None:
        initializer(*initargs)
    completed = 0
    while maxtasks is None or completed < maxtasks:
        try:
            task = inqueue.get()
        except (EOFError, OSError):
            util.debug("worker got EOFError or OSError -- exiting")
            break
        if task is None:
            util.debug("worker got sentinel -- exiting")
            break
        job, index, func, args, kwds = task
        result: Any
        try:
            result = (True, func(*args, **kwds))
        except Exception as error:
            result = (False, error)
            if wrap_exception:
                traced = ExceptionWithTraceback(error, error.__traceback__)
                result = (False, traced)
        try:
            outqueue.put((job, index, result))
        except Exception as error:
            wrapped = MaybeEncodingError(error, result[1])
            util.debug("possible encoding error while sending result: %s", wrapped)
            outqueue.put((job, index, (False, wrapped)))
        task = job = result = func = args = kwds = None
        completed += 1
    util.debug("worker exiting after %d tasks", completed)
