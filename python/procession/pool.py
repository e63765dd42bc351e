"""The class `Pool`: worker processes that call functions, and `ThreadPool`.

Tasks and results travel in shared memory, and the thread that waits for a result drives
the pool; all of that is native. This module has the classes of `multiprocessing.pool`,
which users subclass; `_workers` starts a worker and words its errors, and `_chunks`
makes tasks of several inputs each.

Beyond `multiprocessing`: a task whose worker dies fails with `WorkerDied`, an
initializer that fails is the error of every task, and the tasks of a pool that was
terminated fail instead of waiting for ever. A call may be given a `timeout` and a
number of `retries`, and be cancelled.

Size: each map is a method here, as subclasses override them, and has two types.
"""

from __future__ import annotations

import warnings
from collections import namedtuple

from . import _procession, get_context, util
from ._attributes import overridable, public, public_names
from ._checks import (
    MOST_ITEMS,
    MOST_PROCESSES,
    MOST_TASKS,
    checked_callback,
    checked_whole,
)
from ._chunks import Items, mapstar, starmapstar  # noqa: F401
from ._errors import RemoteTraceback, TimeoutError  # noqa: F401
from ._outcome import rebuild_exc  # noqa: F401
from ._procession import ApplyResult as ApplyResult  # noqa: PLC0414
from ._procession import IMapIterator as IMapIterator  # noqa: PLC0414
from ._procession import IMapUnorderedIterator as IMapUnorderedIterator  # noqa: PLC0414
from ._procession import MapResult as MapResult  # noqa: PLC0414
from ._terms import make_terms
from ._thread_start import start_daemon
from ._worker_life import LifeOptions
from ._workers import (  # noqa: F401
    Bounds,
    ExceptionWithTraceback,
    MaybeEncodingError,
    Starter,
    checked_initargs,
    is_plain,
    worker,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType
    from typing import Any, Literal, NoReturn, Self, TypeVar, Unpack, overload

    from ._log_relay import LogRelay
    from ._pool_stats import PoolStats
    from ._progress import Progress
    from ._terms import CollectOptions, MapOptions, OnError, Terms
    from ._threads import Threads
    from .context import BaseContext

    S = TypeVar("S")
    T = TypeVar("T")

__all__ = ["Pool", "ThreadPool", "WorkerInfo"]

INIT = "INIT"
RUN = "RUN"
CLOSE = "CLOSE"
TERMINATE = "TERMINATE"

AsyncResult = ApplyResult

if TYPE_CHECKING:
    from typing import NamedTuple

    class WorkerInfo(NamedTuple):
        """One worker of a pool: its number from 0, its process id, the tasks it has done."""

        number: int
        pid: int
        tasks_done: int

else:
    # `typing` takes longer to import than all of this package.
    WorkerInfo = namedtuple("WorkerInfo", "number pid tasks_done", module=__name__)
    WorkerInfo.__doc__ = (
        "One worker of a pool: its number from 0, its pid, the tasks it has done.\n\n"
        "Example:\n"
        "    >>> import procession\n"
        "    >>> with procession.Pool(2) as pool:\n"
        "    ...     first, second = pool.workers()\n"
        "    >>> first.number, second.number, first.tasks_done, first.pid == second.pid\n"
        "    (0, 1, 0, False)\n"
    )


class Pool:
    """Worker processes that call functions, as in `multiprocessing`.

    Args:
        processes: How many workers; by default one for each usable CPU.
        initializer: A function that each worker calls before its first task.
        initargs: The arguments of the initializer.
        maxtasksperchild: After how many tasks a worker is replaced; by default never.
        context: The context that the workers are started with.
        retries: How often a task is run again when its worker has died in it; a call
            may ask for another number.
        memory_limit: How much private memory a worker may have, as a number of bytes or as
            text: "2GB" is 2 * 1000**3 bytes, "2GiB" is 2 * 1024**3. A task that
            needs more fails with `MemoryLimitExceeded`, also if its worker dies of it.
            Shared memory, in which arguments and results travel, is not counted.
        max_memory_per_worker: A worker that has more than this in RAM when its task is
            done is replaced; memory that it shares is not counted. It is given as
            `memory_limit` is.
        affinity: The CPUs that the workers run on, by number, or a function that returns
            those of the worker with a certain `worker_index`.
        env: Variables that are added to the workers' environment, which otherwise is
            that of this process, or a function that returns those of the worker with a
            certain `worker_index`. Under spawn the interpreter is started with them;
            under fork and forkserver modules that have been imported already may not
            look at them again.
        worker_state: A function that each worker calls once, after the initializer, to
            make an object that its tasks share: a connection, a model, a cache. A task
            finds its worker's object in `current_process().worker_state`, or gets it in
            the place of `pool.worker_state` among its arguments: as `f(state, item)` in
            `pool.map(functools.partial(f, pool.worker_state), items)`.
        worker_exit: A function that each worker calls when it ends by itself: at the
            end of the pool, when it is replaced, when it is idle. The function is given
            the state, if there is a `worker_state`, and `exit_results` returns its
            results.
        idle_timeout: After how many seconds without a task a worker ends; by default never.
            Others are started when there are tasks.
        initializer_timeout: The seconds within which the initializer and `worker_state` of a
            worker have to be done. If they are not, the pool ends, and each of its
            tasks fails with a `TimeoutError` that names both the function and the
            worker.
        threads_per_worker: How many threads BLAS, OpenMP and the like may have in a
            worker: their variables, such as OMP_NUM_THREADS, are set in its
            environment, unless `env` sets them. Libraries that are loaded before a
            worker is forked do not look at the variables any more; `threadpoolctl`
            limits those, if it is installed.
        log_relay: Whether the handlers of this process handle the records that the
            workers log, as `procession.relay_logs` has it for all children; all records
            have been handled when `join` or `terminate` has returned.
        pickler: "auto" sends functions and classes, in tasks and results, by value if
            other processes cannot import them and `cloudpickle` is installed; "plain"
            refuses them, as pickle does.

    A worker that dies is replaced. If a hundred workers die in ten seconds without
    having been given a task, or a few in a row before they have set themselves up, the
    pool ends, and each of its tasks fails with an error.

    Every call takes these options by name; `multiprocessing` has none of them:

    - `timeout`: the seconds that a task may take once it runs. One that takes longer is
      killed with its worker and fails with `TaskTimeout`; nothing else is lost. In a
      map the limit is for each task, which is one input unless a `chunksize` is given.
    - `soft_timeout`: the seconds after which `SoftTimeout` is raised in the function of
      a task, which can catch it to clean up, or to return the results that it has so
      far. The exception comes in the worker's main thread between two instructions of
      Python, and ends a wait of the operating system, such as a `sleep`; it does not
      come in the middle of C code that runs on. A longer `timeout` still kills the task
      when it is over.
    - `retries`: as above. If a worker dies in the last try of a task, too, the task
      fails with `WorkerDied`, which tells how often it was tried. A task is not run
      again after an exception or a timeout.
    - `priority`: a whole number, 0 by default. A task begins before all tasks of lower
      priority that have not begun, whichever call came first. Tasks that run go on.
    - `on_error`, of maps: what becomes of the map when a call fails or its worker dies.
      With "continue", the default, the map goes on as in `multiprocessing`: the other
      tasks are run, and then the error that came first is raised. (The iterator of an
      `imap` raises each error in its place, and goes on.) With "stop" the first error
      ends the map at once: tasks that have not begun never will, and those that run go
      on, but their results are dropped. (An `imap` ends with the first error that it
      raises.) With "collect" none of these errors is raised: each stands among the
      results, in the place of its input. If a task is lost, by the death of its worker,
      by its timeout or for lack of memory, its error stands in the place of each of its
      inputs; a task has several inputs if a `chunksize` is given, or neither that nor a
      timeout. The end of the pool, or of the map by `cancel`, is raised in any case.
    - `order_tasks`, of maps: True deals the tasks to the workers in a fixed order. The task
      number `i`, which is one input or as many as `chunksize` says, goes to the worker whose
      `worker_index` is `i` modulo the number of workers; each map begins with the first
      worker. A worker that replaces another has its index, and its tasks. A
      worker that is busy, or is being replaced, holds up its own tasks alone. When the pool
      is resized, tasks that no worker has are dealt by the new number; if it shrinks while
      its first workers are idle and others are not, the latter are what is left, and have
      the tasks of the indices that are missing. Tasks of a higher `priority` still go
      first, a `timeout` and `retries` hold for each task, and `cancel` is as without.
    - `progress`, in maps: True shows how many inputs are done, how long the others may take
      and how many have no result, in a bar of `tqdm`, which draws it in a notebook, too. A
      mapping has options for `tqdm`, such as `{"desc": "pages"}`. The bar goes on as
      results arrive, whichever thread waits for them. Needs `tqdm`:
      `pip install 'procession[progress]'`.

    A result can be awaited in asyncio, uvloop and trio, and the iterator of an `imap` can be
    used in an `async for`. If the awaiting task is cancelled, so is the work of the
    pool, and tasks that run are killed.

    A result has `cancel`, and so has the iterator of an `imap`: tasks that have not
    begun never will, and tasks that run are killed with `cancel(kill=True)`.

    A pool whose subclass has queues of its own refuses all of these options.

    Example:
        >>> import procession
        >>> with procession.Pool(2) as pool:
        ...     print(pool.map(len, ["one", "three", ""]))
        ...     print(pool.apply(round, (2.567,), {"ndigits": 1}))
        [3, 5, 0]
        2.6
    """

    __dir__ = public_names

    _wrap_exception = True
    # `__del__` reads it, even if `__init__` has failed early.
    _state = INIT
    _engine: _procession.Pool | Threads
    _relay: LogRelay | None = None
    _inqueue: Any
    _outqueue: Any
    _quick_put: Any
    _quick_get: Any

    @staticmethod
    def Process(ctx: Any, *args: Any, **kwds: Any) -> Any:
        """Returns a new worker process, which is not started.

        Example:
            >>> import procession
            >>> procession.pool.Pool.Process(procession.get_context("fork"))
            <ForkProcess name='ForkProcess-...' parent=... initial>
        """
        return ctx.Process(*args, **kwds)

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: BaseContext | None = None,
        *,
        retries: int = 0,
        memory_limit: int | str | None = None,
        max_memory_per_worker: int | str | None = None,
        affinity: Iterable[int] | Callable[[int], Iterable[int]] | None = None,
        env: Mapping[str, str] | Callable[[int], Mapping[str, str]] | None = None,
        worker_state: Callable[[], Any] | None = None,
        worker_exit: Callable[..., Any] | None = None,
        idle_timeout: float | None = None,
        initializer_timeout: float | None = None,
        threads_per_worker: int | None = None,
        log_relay: bool = False,
        pickler: Literal["auto", "plain"] = "auto",
    ) -> None:
        self._pool: list[Any] = []
        self._ctx: Any = context or get_context()
        engine_of = getattr(self._ctx, "_pool_engine", None)
        if processes is None and engine_of is not None:
            processes = self._ctx.cpu_count()
        elif processes is None:
            processes = _procession.usable_cpus()
        processes = _checked_size(processes)
        if maxtasksperchild is not None and (
            not isinstance(maxtasksperchild, int) or maxtasksperchild <= 0
        ):
            raise ValueError("maxtasksperchild must be a positive int or None")
        if maxtasksperchild is not None:
            checked_whole("maxtasksperchild", maxtasksperchild, MOST_TASKS)
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._life = LifeOptions(
            self._ctx,
            initializer,
            worker_state,
            worker_exit,
            idle_timeout,
            initializer_timeout,
            threads_per_worker,
        )
        self._bounds = Bounds(
            memory_limit, max_memory_per_worker, affinity, env, self._life
        )
        self._by_name_only = is_plain(pickler)
        self._terms = make_terms(retries=retries)
        self._processes = processes
        self._maxtasksperchild = maxtasksperchild
        self._initializer = initializer
        self._initargs = checked_initargs(initargs)
        if log_relay:
            from ._log_relay import LogRelay

            self._relay = LogRelay()
        try:
            self._engine = self._make_engine()
        except BaseException:
            self._stop_relay()
            raise
        try:
            self._cache: dict[int, Any] = self._engine.cache
            self._terminate = util.Finalize(
                self, _end, (self._engine, self._relay), exitpriority=15
            )
            self._engine.start()
            self._state = RUN
        except BaseException:
            # A handler of a signal may have raised when workers were running.
            self._engine.terminate()
            self._join_workers()
            self._stop_relay()
            # The error refers to this frame, which would keep the engine alive.
            for name in ("_engine", "_terminate"):
                vars(self).pop(name, None)
            raise

    def _make_engine(self) -> Any:
        if type(self)._setup_queues is not Pool._setup_queues:
            from ._queued import Queued

            if self._bounds.names:
                raise ValueError(
                    f"a pool with queues of its own has no {self._bounds.names[0]}"
                )
            if self._terms is not None:
                raise ValueError("a pool with queues of its own has no retries")
            if self._relay is not None:
                raise ValueError("a pool with queues of its own has no log_relay")
            if self._by_name_only:
                raise ValueError("a pool with queues of its own has no pickler")
            self._setup_queues()
            return Queued(self)
        engine_of = getattr(self._ctx, "_pool_engine", None)
        if engine_of is not None:
            if self._relay is not None:
                raise ValueError("a pool whose workers are elsewhere has no log_relay")
            return engine_of(
                self._processes,
                (self._initializer, self._initargs),
                self._maxtasksperchild,
                self._bounds,
                self._life,
                by_name_only=self._by_name_only,
            )
        start = Starter(
            self._ctx,
            self.Process,
            self._pool,
            (self._initializer, self._initargs),
            self._bounds,
            log_relay=None if self._relay is None else self._relay.for_children(),
            by_name_only=self._by_name_only,
        )
        return _procession.Pool(
            start,
            self._processes,
            self._maxtasksperchild,
            by_name_only=self._by_name_only,
            idle_timeout=self._life.idle_timeout,
            setup_limit=self._life.setup_limit,
        )

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
            raise ValueError(
                "Pool not running: it was closed or terminated, and takes no more tasks"
            )

    def _setup_queues(self) -> None:
        """Makes the queues for tasks and results, if a subclass wants to have some.

        If a subclass overrides this, in order to pickle its own way, its tasks and
        results go through the queues that it makes: `_inqueue` and `_outqueue`, with
        `_quick_put` and `_quick_get`. All other pools have no queues.
        """
        self._inqueue = self._ctx.SimpleQueue()
        self._outqueue = self._ctx.SimpleQueue()
        self._quick_put = self._inqueue._writer.send
        self._quick_get = self._outqueue._reader.recv

    def _repopulate_pool(self) -> None:
        """Replaces the workers that have ended; this happens by itself, too.

        Clients resize a pool of `multiprocessing` by it: they set `_processes` first.
        """
        self._engine.populate(self)

    def apply(
        self,
        func: Callable[..., T],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},
        *,
        timeout: float | None = None,
        retries: int | None = None,
        soft_timeout: float | None = None,
        priority: int = 0,
    ) -> T:
        """Calls a function in a worker and returns the result.

        Example:
            >>> import procession
            >>> with procession.Pool(1) as pool:
            ...     print(pool.apply(sorted, ([3, 1, 2],), {"reverse": True}))
            ...     print(pool.apply(hex, (255,), timeout=60, retries=1))
            [3, 2, 1]
            0xff
        """
        terms = self._terms_of(timeout, retries, soft_timeout, priority)
        if type(self).apply_async is not Pool.apply_async:
            # A subclass that overrides `apply_async` changes `apply` with it.
            named = {
                "timeout": timeout,
                "retries": retries,
                "soft_timeout": soft_timeout,
                "priority": priority or None,
            }
            given: Any = {
                name: value for name, value in named.items() if value is not None
            }
            later: ApplyResult[T] = self.apply_async(func, args, kwds, **given)
            return later.get()
        self._check_running()
        value: T = self._engine.apply(self, func, args, kwds, terms)
        return value

    def apply_async(
        self,
        func: Callable[..., T],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},
        callback: Callable[[T], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        *,
        timeout: float | None = None,
        retries: int | None = None,
        soft_timeout: float | None = None,
        priority: int = 0,
    ) -> ApplyResult[T]:
        """Has a function called in a worker; returns the result to come.

        Example:
            >>> import procession
            >>> heard = []
            >>> with procession.Pool(2) as pool:
            ...     first = pool.apply_async(pow, (2, 10))
            ...     second = pool.apply_async(pow, (2, 11), callback=heard.append)
            ...     print(first.get(), second.get(timeout=30), heard)
            1024 2048 [2048]
        """
        terms = self._terms_of(timeout, retries, soft_timeout, priority)
        self._check_running()
        # Most calls have none.
        if callback is not None or error_callback is not None:
            checked_callback("callback", callback)
            checked_callback("error_callback", error_callback)
        return self._engine.apply_async(
            self, func, args, kwds, callback, error_callback, terms
        )

    # Each map lists its options again. With `**options` in their place, `help` would not
    # show them, unless `__signature__` were set; that takes `inspect`, whose import takes
    # longer than that of this package.

    if TYPE_CHECKING:

        @overload
        def map(
            self,
            func: Callable[[S], T],
            iterable: Iterable[S],
            chunksize: int | None = None,
            **options: Unpack[MapOptions],
        ) -> list[T]: ...

        @overload
        def map(
            self,
            func: Callable[[S], T],
            iterable: Iterable[S],
            chunksize: int | None = None,
            **options: Unpack[CollectOptions],
        ) -> list[T | BaseException]: ...

    def map(
        self,
        func: Callable[[S], T],
        iterable: Iterable[S],
        chunksize: int | None = None,
        *,
        timeout: float | None = None,
        retries: int | None = None,
        soft_timeout: float | None = None,
        priority: int = 0,
        on_error: OnError = "continue",
        order_tasks: bool = False,
        progress: bool | Mapping[str, Any] = False,
    ) -> Any:
        """Calls a function with each item, in the workers; returns the results.

        Example:
            >>> import procession
            >>> with procession.Pool(2) as pool:
            ...     print(pool.map(lambda x: x * x, range(5)))
            ...     print(pool.map(str.upper, ["a", "b"], chunksize=1, timeout=60))
            [0, 1, 4, 9, 16]
            ['A', 'B']
        """
        terms = self._terms_of(
            timeout, retries, soft_timeout, priority, on_error, order_tasks
        )
        return self._map(func, iterable, chunksize, False, terms, progress)

    if TYPE_CHECKING:

        @overload
        def starmap(
            self,
            func: Callable[..., T],
            iterable: Iterable[Iterable[Any]],
            chunksize: int | None = None,
            **options: Unpack[MapOptions],
        ) -> list[T]: ...

        @overload
        def starmap(
            self,
            func: Callable[..., T],
            iterable: Iterable[Iterable[Any]],
            chunksize: int | None = None,
            **options: Unpack[CollectOptions],
        ) -> list[T | BaseException]: ...

    def starmap(
        self,
        func: Callable[..., T],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        *,
        timeout: float | None = None,
        retries: int | None = None,
        soft_timeout: float | None = None,
        priority: int = 0,
        on_error: OnError = "continue",
        order_tasks: bool = False,
        progress: bool | Mapping[str, Any] = False,
    ) -> Any:
        """As `map`, with items that are the arguments of one call each.

        Example:
            >>> import procession
            >>> with procession.Pool(2) as pool:
            ...     print(pool.starmap(divmod, [(7, 2), (9, 4)]))
            [(3, 1), (2, 1)]
        """
        terms = self._terms_of(
            timeout, retries, soft_timeout, priority, on_error, order_tasks
        )
        return self._map(func, iterable, chunksize, True, terms, progress)

    if TYPE_CHECKING:

        @overload
        def map_async(
            self,
            func: Callable[[S], T],
            iterable: Iterable[S],
            chunksize: int | None = None,
            callback: Callable[[list[T]], object] | None = None,
            error_callback: Callable[[BaseException], object] | None = None,
            **options: Unpack[MapOptions],
        ) -> MapResult[T]: ...

        @overload
        def map_async(
            self,
            func: Callable[[S], T],
            iterable: Iterable[S],
            chunksize: int | None = None,
            callback: Callable[[list[T | BaseException]], object] | None = None,
            error_callback: Callable[[BaseException], object] | None = None,
            **options: Unpack[CollectOptions],
        ) -> MapResult[T | BaseException]: ...

    def map_async(
        self,
        func: Callable[[S], T],
        iterable: Iterable[S],
        chunksize: int | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        *,
        timeout: float | None = None,
        retries: int | None = None,
        soft_timeout: float | None = None,
        priority: int = 0,
        on_error: OnError = "continue",
        order_tasks: bool = False,
        progress: bool | Mapping[str, Any] = False,
    ) -> Any:
        """As `map`, but returns the result to come.

        Example:
            >>> import procession
            >>> with procession.Pool(2) as pool:
            ...     later = pool.map_async(abs, [-3, 2, -1])
            ...     print(later.get(timeout=30))
            [3, 2, 1]
        """
        terms = self._terms_of(
            timeout, retries, soft_timeout, priority, on_error, order_tasks
        )
        callbacks = callback, error_callback
        return self._map_async(
            func, iterable, chunksize, False, callbacks, terms, progress
        )

    if TYPE_CHECKING:

        @overload
        def starmap_async(
            self,
            func: Callable[..., T],
            iterable: Iterable[Iterable[Any]],
            chunksize: int | None = None,
            callback: Callable[[list[T]], object] | None = None,
            error_callback: Callable[[BaseException], object] | None = None,
            **options: Unpack[MapOptions],
        ) -> MapResult[T]: ...

        @overload
        def starmap_async(
            self,
            func: Callable[..., T],
            iterable: Iterable[Iterable[Any]],
            chunksize: int | None = None,
            callback: Callable[[list[T | BaseException]], object] | None = None,
            error_callback: Callable[[BaseException], object] | None = None,
            **options: Unpack[CollectOptions],
        ) -> MapResult[T | BaseException]: ...

    def starmap_async(
        self,
        func: Callable[..., T],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        *,
        timeout: float | None = None,
        retries: int | None = None,
        soft_timeout: float | None = None,
        priority: int = 0,
        on_error: OnError = "continue",
        order_tasks: bool = False,
        progress: bool | Mapping[str, Any] = False,
    ) -> Any:
        """As `starmap`, but returns the result to come.

        Example:
            >>> import procession
            >>> with procession.Pool(2) as pool:
            ...     later = pool.starmap_async(min, [(4, 2), (1, 8)])
            ...     later.wait()
            ...     print(later.ready(), later.get())
            True [2, 1]
        """
        terms = self._terms_of(
            timeout, retries, soft_timeout, priority, on_error, order_tasks
        )
        callbacks = callback, error_callback
        return self._map_async(
            func, iterable, chunksize, True, callbacks, terms, progress
        )

    if TYPE_CHECKING:

        @overload
        def imap(
            self,
            func: Callable[[S], T],
            iterable: Iterable[S],
            chunksize: int = 1,
            **options: Unpack[MapOptions],
        ) -> IMapIterator[T]: ...

        @overload
        def imap(
            self,
            func: Callable[[S], T],
            iterable: Iterable[S],
            chunksize: int = 1,
            **options: Unpack[CollectOptions],
        ) -> IMapIterator[T | BaseException]: ...

    def imap(
        self,
        func: Callable[[S], T],
        iterable: Iterable[S],
        chunksize: int = 1,
        *,
        timeout: float | None = None,
        retries: int | None = None,
        soft_timeout: float | None = None,
        priority: int = 0,
        on_error: OnError = "continue",
        order_tasks: bool = False,
        progress: bool | Mapping[str, Any] = False,
    ) -> Any:
        """As `map`, but yields the results one by one, as they come in their order.

        Example:
            >>> import itertools
            >>> import procession
            >>> with procession.Pool(2) as pool:
            ...     roots = pool.imap(lambda n: n**0.5, itertools.count())
            ...     print(list(itertools.islice(roots, 3)))
            ...     roots.close()  # The inputs would never end.
            [0.0, 1.0, 1.4142135623730951]
        """
        terms = self._terms_of(
            timeout, retries, soft_timeout, priority, on_error, order_tasks
        )
        return self._imap(func, iterable, chunksize, True, terms, progress)

    if TYPE_CHECKING:

        @overload
        def imap_unordered(
            self,
            func: Callable[[S], T],
            iterable: Iterable[S],
            chunksize: int = 1,
            **options: Unpack[MapOptions],
        ) -> IMapIterator[T]: ...

        @overload
        def imap_unordered(
            self,
            func: Callable[[S], T],
            iterable: Iterable[S],
            chunksize: int = 1,
            **options: Unpack[CollectOptions],
        ) -> IMapIterator[T | BaseException]: ...

    def imap_unordered(
        self,
        func: Callable[[S], T],
        iterable: Iterable[S],
        chunksize: int = 1,
        *,
        timeout: float | None = None,
        retries: int | None = None,
        soft_timeout: float | None = None,
        priority: int = 0,
        on_error: OnError = "continue",
        order_tasks: bool = False,
        progress: bool | Mapping[str, Any] = False,
    ) -> Any:
        """As `imap`, but yields the results as they come.

        Example:
            >>> import procession
            >>> with procession.Pool(2) as pool:
            ...     for number in sorted(pool.imap_unordered(int, ["10", "2"])):
            ...         print(number)
            2
            10
        """
        terms = self._terms_of(
            timeout, retries, soft_timeout, priority, on_error, order_tasks
        )
        return self._imap(func, iterable, chunksize, False, terms, progress)

    def _map(
        self,
        func: Any,
        iterable: Any,
        chunksize: int | None,
        star: bool,
        terms: Terms | None,
        progress: bool | Mapping[str, Any],
    ) -> list[Any]:
        self._check_running()
        items = _at_hand(iterable)
        chunksize = self._chunksize(len(items), chunksize, terms)
        call = self, func, items, chunksize, star
        if progress is False:
            return self._engine.map(*call, terms)
        with _shown(progress, items, chunksize, terms) as bar:
            return self._engine.map(*call, terms, progress=bar)

    def _map_async(
        self,
        func: Any,
        iterable: Any,
        chunksize: int | None,
        star: bool,
        callbacks: tuple[Any, Any],
        terms: Terms | None,
        progress: bool | Mapping[str, Any],
    ) -> MapResult[Any]:
        self._check_running()
        checked_callback("callback", callbacks[0])
        checked_callback("error_callback", callbacks[1])
        items = _at_hand(iterable)
        chunksize = self._chunksize(len(items), chunksize, terms)
        call = self, func, items, chunksize, star, *callbacks
        if progress is False:
            return self._engine.map_async(*call, terms)
        bar = _shown(progress, items, chunksize, terms)
        try:
            return self._engine.map_async(*call, terms, progress=bar)
        except BaseException:
            bar.ended()
            raise

    def _imap(
        self,
        func: Any,
        iterable: Any,
        chunksize: int,
        ordered: bool,
        terms: Terms | None,
        progress: bool | Mapping[str, Any],
    ) -> Any:
        self._check_running()
        chunksize = checked_whole("chunksize", chunksize, MOST_ITEMS)
        if chunksize < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunksize:n}")
        if progress is False:
            results, feeder = self._engine.imap(
                self, func, iterable, chunksize, ordered, terms
            )
        else:
            bar = _shown(progress, iterable, chunksize, terms)
            try:
                inputs = bar.counting(iterable)
                results, feeder = self._engine.imap(
                    self, func, inputs, chunksize, ordered, terms, progress=bar
                )
            except BaseException:
                bar.ended()
                raise
        if feeder is not None:
            try:
                start_daemon(feeder.run, "procession-feeder")
            except BaseException:
                # No caller has the results, and `join` would wait for more of them.
                results.close()
                raise
        if chunksize == 1:
            return results
        return Items.of(results)

    def _terms_of(
        self,
        timeout: float | None,
        retries: int | None,
        soft_timeout: float | None,
        priority: int,
        on_error: OnError = "continue",
        order_tasks: bool = False,
    ) -> Terms | None:
        """Returns the terms of a call, which are the pool's if the call has no options."""
        # Nothing is made for a call without options.
        if (
            timeout is retries is soft_timeout is None
            and priority == 0
            and on_error == "continue"
            and order_tasks is False
        ):
            return self._terms
        if retries is None:
            retries = 0 if self._terms is None else self._terms[1]
        return make_terms(
            timeout, retries, soft_timeout, priority, on_error, order_tasks
        )

    def _chunksize(
        self, length: int, chunksize: int | None, terms: Terms | None
    ) -> int:
        """Returns how many inputs make a task: by default a quarter of a worker's."""
        if chunksize is None and terms is not None:
            timeout, _, soft_timeout, *_ = terms
            # A time limit is for each input, so each gets a task of its own.
            if timeout is not None or soft_timeout is not None:
                return 1
        if chunksize is None:
            return -(-length // (self._processes * 4))
        chunksize = checked_whole("chunksize", chunksize, MOST_ITEMS)
        if chunksize < 1 and length:
            raise ValueError(f"Chunksize must be 1+, not {chunksize:n}")
        return max(chunksize, 1)

    def workers(self) -> list[WorkerInfo]:
        """Returns what each worker is, as of now.

        Raises:
            ValueError: It is a pool of threads.

        Example:
            >>> import procession
            >>> with procession.Pool(1) as pool:
            ...     pool.map(abs, range(4), chunksize=1)
            ...     [worker] = pool.workers()
            ...     print(worker.number, worker.tasks_done, worker.pid > 0)
            [0, 1, 2, 3]
            0 4 True
        """
        return [WorkerInfo(*worker) for worker in self._engine.worker_views()]

    @overridable
    def worker_state(self) -> Any:
        """A stand-in for the state of a worker: each task gets its worker's own instead.

        Raises:
            ValueError: The pool was made without a `worker_state`.

        Example:
            >>> import functools
            >>> import procession
            >>> def tokenize(cache, word):
            ...     return cache.setdefault(word, len(cache))
            >>> with procession.Pool(1, worker_state=dict) as pool:
            ...     work = functools.partial(tokenize, pool.worker_state)
            ...     print(pool.map(work, ["a", "b", "a"]))
            [0, 1, 0]
        """
        if self._life.state is None:
            raise ValueError(
                "the pool has no worker_state: give it one when you make it"
            )
        return self._life.state

    def exit_results(self) -> list[Any]:
        """Returns what `worker_exit` has returned in the workers that have ended.

        The results come in the order in which the workers ended; where the function
        raised an exception, that stands in the place of its result. All are there when
        `join` has returned after `close`. A worker that is killed has none, and
        `terminate` leaves a worker a fifth of a second, if it is idle, and none
        otherwise.

        Raises:
            ValueError: The pool was made without a `worker_exit`.

        Example:
            >>> import procession
            >>> pool = procession.Pool(2, worker_exit=lambda: "done")
            >>> pool.close()
            >>> pool.join()
            >>> pool.exit_results()
            ['done', 'done']
        """
        if self._life.exit_results is None:
            raise ValueError(
                "the pool has no worker_exit: give it one when you make it"
            )
        return self._life.exit_results.so_far()

    def stats(self) -> PoolStats:
        """Returns what the pool has done since it was made, and what it does.

        It tells of each worker and of each function how many calls there were, how long they
        took, how long the workers waited, and what has failed. Nothing is measured for it, so
        it costs nothing while nobody asks. It can be asked of a pool that has ended, too.

        Raises:
            ValueError: It is a pool of threads, or its tasks go through queues of its own.

        Example:
            >>> import procession
            >>> with procession.Pool(2) as pool:
            ...     lengths = pool.map(len, ["one", "three", "fifteen"])
            ...     stats = pool.stats()
            >>> stats.work.calls, stats.work.failed, list(stats.functions)
            (3, 0, ['builtins.len'])
            >>> sum(worker.work.total for worker in stats.workers) <= 2 * stats.age
            True
        """
        from ._pool_stats import stats_of  # Not at the top: it is seldom needed.

        engine = self._engine
        if not isinstance(engine, _procession.Pool):
            raise ValueError(  # noqa: TRY004 (it is the pool's kind, not an argument's)
                "this pool counts nothing: it has threads, or queues of its own"
            )
        return stats_of(engine.stats())

    def resize(self, processes: int) -> None:
        """Changes the number of workers; tasks go on.

        Missing workers are started. Of surplus workers, idle ones end first, and others
        when their running task is done.

        Args:
            processes: How many workers, at least 1.

        Raises:
            TypeError: `processes` is no whole number.
            ValueError: It is less than 1, or the pool takes no more tasks, is one of threads,
                or has queues of its own.
            OSError: A worker could not be started. The pool goes on with those that it has,
                and tries again while there is something to do.

        Example:
            >>> import procession
            >>> with procession.Pool(1) as pool:
            ...     pool.resize(3)
            ...     print(len(pool.workers()))
            3
        """
        self._check_running()
        processes = _checked_size(processes)
        resize = getattr(self._engine, "resize", None)
        if resize is None:
            raise ValueError(
                "a pool of threads, or with queues of its own, cannot be resized: make another"
            )
        # Set first: a worker that cannot be started now will be started later.
        self._processes = processes
        resize(processes)

    def close(self) -> None:
        """Takes no more tasks; the workers end when they have done what they have.

        Example:
            >>> import procession
            >>> pool = procession.Pool(2)
            >>> later = pool.map_async(ord, "procession")
            >>> pool.close()  # No more tasks, but all that were given are done.
            >>> pool.join()
            >>> max(later.get())
            115
        """
        util.debug("closing pool")
        if self._state == RUN:
            self._state = CLOSE
            self._engine.close()

    def terminate(self) -> None:
        """Ends the workers at once; what they have not done fails.

        Example:
            >>> import procession
            >>> import time
            >>> pool = procession.Pool(1)
            >>> endless = pool.apply_async(time.sleep, (3600,))
            >>> pool.terminate()
            >>> pool.join()
            >>> endless.successful()
            False
        """
        util.debug("terminating pool")
        self._state = TERMINATE
        # Called here, and not only by the finalizer, which runs only once even if it is
        # interrupted.
        self._engine.terminate()
        self._terminate()

    def join(self) -> None:
        """Waits until the workers have ended, after `close` or `terminate`.

        Raises:
            ValueError: The pool is still running.

        Example:
            >>> import procession
            >>> pool = procession.Pool(1)
            >>> try:
            ...     pool.join()
            ... except ValueError as error:
            ...     print(error)
            Pool is still running: close or terminate it before it is joined
            >>> pool.terminate()
            >>> pool.join()
        """
        util.debug("joining pool")
        if self._state == RUN:
            raise ValueError(
                "Pool is still running: close or terminate it before it is joined"
            )
        if self._state not in (CLOSE, TERMINATE):
            raise ValueError(f"In unknown state {self._state!r}")
        self._engine.join()
        self._join_workers()
        self._stop_relay()

    def _stop_relay(self) -> None:
        if self._relay is not None:
            self._relay.stop()

    def _join_workers(self) -> None:
        for process in self._pool:
            # A worker may not have started, if the pool's start was interrupted.
            if process.ident is not None:
                process.join()


def _checked_size(processes: Any) -> int:
    """Returns the number of workers, checked."""
    size = checked_whole("processes", processes, MOST_PROCESSES)
    if size < 1:
        raise ValueError(f"Number of processes must be at least 1, not {size}")
    return size


def _end(engine: _procession.Pool | Threads, relay: LogRelay | None) -> None:
    """Ends the workers of a pool, and then has handled what they have logged."""
    engine.terminate()
    if relay is not None:
        relay.stop()


def _shown(
    progress: bool | Mapping[str, Any],
    inputs: Iterable[Any],
    chunksize: int,
    terms: Terms | None = None,
) -> Progress:
    """Returns the bar of a map, drawn for the first time."""
    from ._progress import Progress

    # If so, there may be errors among the results of a task.
    collects = terms is not None and terms[4] == "collect" and chunksize > 1
    return Progress(progress, inputs, chunksize, collects)


def _at_hand(iterable: Iterable[Any]) -> Any:
    """Returns the items of an iterable as something that has a length."""
    if isinstance(iterable, list | tuple | range):
        return iterable
    return list(iterable)


class ThreadPool(Pool):
    """A pool of threads, as in `multiprocessing`.

    A thread cannot be killed, nor does it die alone. So a `timeout`, `soft_timeout`,
    `retries` and `cancel` are refused here, with a ValueError, and so are a `priority` and an
    `on_error` other than "continue".

    Example:
        >>> from procession.pool import ThreadPool
        >>> seen = []
        >>> with ThreadPool(2) as pool:
        ...     pool.map(seen.append, range(3))  # In this process.
        [None, None, None]
        >>> sorted(seen)
        [0, 1, 2]
    """

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
        if processes is None:
            # The workers are threads of this process.
            processes = _procession.usable_cpus()
        Pool.__init__(self, processes, initializer, initargs)

    def _make_engine(self) -> Threads:
        from ._threads import Threads

        # Threads that knew the pool would keep it from ending.
        process, ctx = self.Process, self._ctx
        setup = self._initializer, self._initargs
        threads = Threads()
        threads.workers = self._pool
        threads.missing = [
            process(ctx, target=worker, args=(threads.tasks, threads, *setup))
            for _ in range(self._processes)
        ]
        return threads


def __dir__() -> list[str]:
    return public(globals())
