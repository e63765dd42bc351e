"""`concurrent.futures.ProcessPoolExecutor` on the native pool.

The class takes the same arguments as the standard library's and means the same by them;
where procession is installed, it is in that one's place. Its futures are those of
`concurrent.futures`, so that `wait`, `as_completed` and `asyncio` take them.

Beyond `concurrent.futures`: a worker that dies fails the one task that it ran, and is
replaced; `Future.cancel` may kill a task that runs; and the executor, or a view of it by
`with_options`, says how long a task may take and how often it is run again.

Size: an executor, its futures and its views are one noun, and name one another.
"""

from __future__ import annotations

import collections
import functools
import itertools
import logging
import operator
import os
import threading
import time
import weakref
from concurrent import futures as _base

from . import _errors, _procession, get_context, util
from ._attributes import overridable, public, public_names
from ._callbacks import Caller, callers
from ._checks import MOST_ITEMS, MOST_PROCESSES, MOST_TASKS, checked_whole
from ._chunks import collect, starmapstar
from ._outcome import pack_error
from ._terms import make_terms
from ._thread_lock import under_lock
from ._worker_life import LifeOptions
from ._workers import Bounds, Starter, checked_initargs, is_plain
from .context import BaseContext
from .pool import Pool, _end, _shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
    from concurrent.futures.process import BrokenProcessPool
    from typing import Any, Literal, ParamSpec, Self, TypeVar, overload

    from ._log_relay import LogRelay
    from ._pool_stats import PoolStats
    from ._progress import Progress
    from ._terms import OnError, Terms

    # The time limit of a task, its retries, its soft time limit, its priority.
    Options = tuple[float | None, int, float | None, int]
    P = ParamSpec("P")
    T = TypeVar("T")

    class WorkerDied(_errors.WorkerDied, BrokenProcessPool):
        """As it is made below."""


__all__ = [
    "BrokenProcessPool",
    "ExecutorView",
    "Future",
    "ProcessPoolExecutor",
    "WorkerDied",
]


class _Unchanged:
    """What a time limit of a view is that is not given: None lifts one that there is."""

    def __repr__(self) -> str:
        return "<unchanged>"


_UNCHANGED: Any = _Unchanged()

# The logger of `concurrent.futures`, which that module uses for the same messages.
_logger = logging.getLogger("concurrent.futures")


_WORKER_DIED = """\
A worker ended in a task; the executor goes on without it.

Example:
    >>> import os
    >>> from procession.futures import BrokenProcessPool, ProcessPoolExecutor
    >>> with ProcessPoolExecutor(1) as executor:
    ...     try:
    ...         executor.submit(os._exit, 9).result()
    ...     except BrokenProcessPool as error:
    ...         print(type(error).__name__, error.exitcode)
    ...     print(executor.submit(len, "next").result())
    WorkerDied 9
    4
"""


def __getattr__(name: str) -> Any:
    """Makes the errors when they are first asked for.

    The standard library's module that they come from imports its `multiprocessing`, which
    a program that has no errors need not have.
    """
    if name not in ("BrokenProcessPool", "WorkerDied"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from concurrent.futures.process import BrokenProcessPool

    members = {
        "__module__": __name__,
        "__doc__": _WORKER_DIED,
    }
    bases = (_errors.WorkerDied, BrokenProcessPool)
    # Another thread may be making the classes, too: only one of each is kept.
    globals().setdefault("BrokenProcessPool", BrokenProcessPool)
    globals().setdefault("WorkerDied", type("WorkerDied", bases, members))
    return globals()[name]


class _Cancelled(_base.CancelledError):
    """Tells a future that its task was cancelled, and not that a task has said so."""


def _error_of(loss: str, error: Any) -> BaseException:
    """Returns the error of a task that has no reply as `concurrent.futures` has it."""
    if loss == "cancelled":
        return _Cancelled()
    if loss == "died":
        died: BaseException = __getattr__("WorkerDied")(*error.args)
        return died
    broken: BaseException = __getattr__("BrokenProcessPool")(
        f"the executor's workers have ended, and this task was not done: {error}"
    )
    broken.__cause__ = error
    return broken


class Future(_procession.FutureState, _base.Future["T"]):
    """The result of `submit`, as in `concurrent.futures`.

    A future is running when a worker has begun with its task: before that it can be
    cancelled, though it is on its way to a worker.

    Example:
        >>> from procession.futures import ProcessPoolExecutor
        >>> with ProcessPoolExecutor(1) as executor:
        ...     future = executor.submit(divmod, 17, 5)
        ...     print(future.result(timeout=30), future.exception())
        (3, 2) None
        >>> future.done(), future.running()
        (True, False)

    In a task of asyncio or trio it can be awaited, without a thread that waits. If that task is
    cancelled, so is the call, and killed if it runs; `asyncio.wrap_future` leaves a call alone
    that runs.

    Example:
        >>> import asyncio
        >>> from procession.futures import ProcessPoolExecutor
        >>> async def main():
        ...     with ProcessPoolExecutor(1) as executor:
        ...         return await executor.submit(pow, 2, 10)
        >>> asyncio.run(main())
        1024
    """

    __dir__ = public_names

    # The base has all attributes, of which that of `concurrent.futures` would make the costly
    # ones.
    __init__ = object.__init__

    _is_cancelling = False
    _hands_over = False

    def cancel(self, kill: bool = False) -> bool:
        """Cancels the task if it has not begun.

        Args:
            kill: Whether a task that runs is killed, with its worker. The other tasks do
                not notice.

        Returns:
            Whether it is cancelled: a task that has begun is not, unless it is killed,
            and one that is done never is.

        Example:
            >>> import time
            >>> from procession.futures import ProcessPoolExecutor
            >>> with ProcessPoolExecutor(1) as executor:
            ...     endless = executor.submit(time.sleep, 3600)
            ...     print(endless.cancel(kill=True), endless.cancelled())
            True True
        """
        call = self._call
        if call is None or self.done():
            return super().cancel()
        # The thread that cancels a future calls its callbacks.
        self._is_cancelling = True
        try:
            if call.cancel(kill):
                # The worker that is killed may take a moment to end.
                self._become_cancelled()
        finally:
            self._is_cancelling = False
        return self.cancelled()

    def __await__(self) -> Generator[Any, None, T]:
        """Waits in asyncio, uvloop or trio; returns or raises what `result` does."""
        from ._awaiting import outcome_of_future  # Not at the top: few have a loop.

        return outcome_of_future(self)

    def running(self) -> bool:
        """Returns whether a worker has begun with the task, and not ended it."""
        call = self._call
        return call is not None and self._is_open() and call.running()

    def done(self) -> bool:
        """Returns whether it has a value or an error, or was cancelled."""
        return not self._is_open()

    def result(self, timeout: float | None = None) -> T:
        """Waits for the task, and returns its value or raises its error.

        Args:
            timeout: For how many seconds; by default for ever.

        Raises:
            TimeoutError: The time is over.
            CancelledError: The task was cancelled.
            WorkerDied: The worker died while it ran the task.
            Exception: What the task raised, with the worker's traceback as its cause.
        """
        left = self._wait(timeout)
        # Most futures have no lock, which the base class would make.
        return self._result if self._has_value() else super().result(left)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Waits for the task, and returns its error or None.

        Args:
            timeout: For how many seconds; by default for ever.

        Raises:
            TimeoutError: The time is over.
            CancelledError: The task was cancelled.
        """
        return super().exception(self._wait(timeout))

    def _wait(self, timeout: float | None) -> float | None:
        """Runs the pool until the result is there; returns the seconds that are left."""
        call = self._call
        if call is None:
            return timeout
        if timeout is None:
            call.wait()
            return None
        end = time.monotonic() + timeout
        call.wait(timeout)
        return max(end - time.monotonic(), 0)

    def _settle(self, success: bool, outcome: Any, waits: bool) -> None:
        """Takes what came of the task; a second time, after an interrupt, it may go on.

        Args:
            success: Whether the task has a value.
            outcome: The value, or the error.
            waits: Whether this thread waits for a result. It may hold a lock that the
                callbacks want, so that they are called in another.
        """
        self._hands_over = waits and not self._is_cancelling and not _exiting
        if self._hands_over and self._done_callbacks:
            self._caller.add(functools.partial(self._take, success, outcome, False))
        else:
            self._take(success, outcome, self._hands_over)

    def _take(self, success: bool, outcome: Any, hands_over: bool) -> None:
        self._hands_over = hands_over
        try:
            if not self._is_open():
                # Those that an interrupt has kept from being called.
                self._invoke_callbacks()
            elif success:
                self.set_result(outcome)
            elif type(outcome) is _Cancelled:
                self._become_cancelled()
            else:
                self.set_exception(outcome)
        except _base.InvalidStateError:
            pass  # It was cancelled meanwhile.
        self._drop_call()

    def _invoke_callbacks(self) -> None:
        """Calls the callbacks, each once, or has them called; when done there are no more.

        The base class calls this, too.
        """
        if self._hands_over and self._done_callbacks:
            # They were added a moment ago.
            self._caller.add(self._call_back)
        else:
            self._call_back()

    def _call_back(self) -> None:
        while True:
            try:
                callback = self._done_callbacks.pop(0)
            except IndexError:
                return
            try:
                callback(self)
            except Exception:
                _logger.exception("exception calling callback for %r", self)

    def _become_cancelled(self) -> None:
        # At once, and from any state: nobody else is to say that the task has begun.
        if under_lock(self._condition, self._note_cancelled):
            self._invoke_callbacks()

    def _note_cancelled(self) -> bool:
        """Becomes cancelled, unless it is done; returns whether it did."""
        if self.done():
            return False
        self._state = "CANCELLED_AND_NOTIFIED"
        for waiter in self._waiters:
            waiter.add_cancelled(self)
        self._condition.notify_all()
        return True

    def __repr__(self) -> str:
        if self.running():
            return f"<{type(self).__name__} at {id(self):#x} state=running>"
        return super().__repr__()


class _Workers:
    """The workers of an executor. Results keep them, though nobody has the executor."""

    def __init__(
        self,
        context: BaseContext,
        most: int,
        max_tasks: int | None,
        setup: tuple[Callable[..., object] | None, Iterable[Any]],
        bounds: Bounds,
        life: LifeOptions,
        log_relay: bool,
        by_name_only: bool,
    ) -> None:
        self.pid = os.getpid()
        self.processes: list[Any] = []
        self.caller = Caller()
        self._relay: LogRelay | None = None
        if context._pool_engine is not None:
            self.engine: Any = context._pool_engine(
                most,
                setup,
                max_tasks,
                bounds,
                life,
                _error_of,
                by_name_only=by_name_only,
            )
        else:
            if log_relay:
                from ._log_relay import LogRelay

                self._relay = LogRelay()
            self.engine = self._of_processes(
                context, most, max_tasks, setup, bounds, life, by_name_only
            )
        self._terminate = util.Finalize(
            self, _end, (self.engine, self._relay), exitpriority=15
        )
        try:
            self.engine.start()
        except BaseException:
            self.terminate()
            raise
        _alive.add(self)

    def _of_processes(
        self,
        context: BaseContext,
        most: int,
        max_tasks: int | None,
        setup: tuple[Callable[..., object] | None, Iterable[Any]],
        bounds: Bounds,
        life: LifeOptions,
        by_name_only: bool,
    ) -> _procession.Pool:
        """Returns what runs the tasks in processes of this machine."""
        start = Starter(
            context,
            Pool.Process,
            self.processes,
            setup,
            bounds,
            for_executor=True,
            log_relay=None if self._relay is None else self._relay.for_children(),
            by_name_only=by_name_only,
        )
        # A fork copies locks that other threads hold: so all workers are forked at the
        # beginning.
        size = most if context.get_start_method() == "fork" else 1
        return _procession.Pool(
            start,
            size,
            max_tasks,
            _error_of,
            most,
            by_name_only=by_name_only,
            idle_timeout=life.idle_timeout,
            setup_limit=life.setup_limit,
        )

    def close(self) -> None:
        """Takes no more tasks; the workers end when they have done what they have."""
        self.engine.close()

    def terminate(self) -> None:
        """Ends the workers, busy or not."""
        self.engine.terminate()
        self._terminate()

    def join(self) -> None:
        """Waits until the workers have ended, and callbacks were called.

        In a forked copy there are none.
        """
        if self.pid != os.getpid():
            return
        self.engine.join()
        for process in list(self.processes):
            process.join()
        if self._relay is not None:
            self._relay.stop()
        self.caller.flush()


_alive: weakref.WeakSet[_Workers] = weakref.WeakSet()
_exiting = False


def _end_all() -> None:
    """Has each executor do what it has to do, and end, before the interpreter does."""
    global _exiting
    _exiting = True
    for workers in list(_alive):
        workers.close()
    for workers in list(_alive):
        workers.join()
    # Those of executors that nobody has any more, too.
    for caller in list(callers):
        if caller.pid == os.getpid():
            caller.flush()


# Before the threads of the program are joined, which may wait for a result: as in the
# standard library.
threading._register_atexit(_end_all)  # type: ignore[attr-defined]


class _Submits(_base.Executor):
    """What an executor and its views have in common: how tasks are submitted."""

    _options: Options
    _terms: Terms | None

    def _owner(self) -> ProcessPoolExecutor:
        """Returns the executor that has the workers."""
        raise NotImplementedError

    def submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Has a function called in a worker; returns the future of the result.

        Raises:
            BrokenProcessPool: The workers cannot be set up, or die again and again.
            RuntimeError: The executor was shut down, or the interpreter ends.
        """
        return self._owner()._submit(self._terms, fn, args, kwargs)

    if TYPE_CHECKING:

        @overload
        def map(
            self,
            fn: Callable[..., T],
            *iterables: Iterable[Any],
            timeout: float | None = None,
            chunksize: int = 1,
            buffersize: int | None = None,
            on_error: Literal["stop", "continue"] = "stop",
            progress: bool | Mapping[str, Any] = False,
        ) -> Iterator[T]: ...

        @overload
        def map(
            self,
            fn: Callable[..., T],
            *iterables: Iterable[Any],
            timeout: float | None = None,
            chunksize: int = 1,
            buffersize: int | None = None,
            on_error: Literal["collect"],
            progress: bool | Mapping[str, Any] = False,
        ) -> Iterator[T | BaseException]: ...

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        on_error: OnError = "stop",
        progress: bool | Mapping[str, Any] = False,
    ) -> Iterator[Any]:
        """Calls a function with an item of each iterable; yields the results in order.

        Args:
            fn: The function.
            iterables: They are read at once, unless there is a `buffersize`.
            timeout: The seconds, from now on, within which all results are to be there.
            chunksize: How many calls make one task.
            buffersize: How many tasks there may be whose results were not yet yielded.
            on_error: With "stop" the first error that it raises ends it, and cancels what
                has not begun, as in the standard library. With "continue" it raises each
                error in its place, and goes on behind it. With "collect" it raises none
                of them: each stands among the results, in the place of its input; that of
                a task that is lost, by the death of its worker say, in the places of all
                its calls.
            progress: Whether a bar of `tqdm` shows how many calls are done and how many
                have failed, or options for it, as in the maps of `procession.Pool`. With
                a `buffersize` it goes on as results are yielded.

        Raises:
            ImportError: There is to be a bar, and `tqdm` is not installed.
            TimeoutError: The time is over; raised where a result is asked for.
            ValueError: `chunksize`, `buffersize` or `on_error` is none that there is.
            BrokenProcessPool: As in `submit`.
            RuntimeError: As in `submit`.

        Example:
            >>> from procession.futures import ProcessPoolExecutor
            >>> with ProcessPoolExecutor(2) as executor:
            ...     print(list(executor.map(max, [1, 9], [5, 5], chunksize=2)))
            ...     print(list(executor.map(int, ["7", "?"], on_error="collect")))
            [5, 9]
            [7, ValueError("invalid literal for int() with base 10: '?'")]
        """
        options = timeout, chunksize, buffersize, on_error
        # A subclass that overrides `submit` changes `map` with it.
        by_submit = type(self).submit is not _Submits.submit
        return self._owner()._map(
            self._terms, fn, iterables, options, progress, by_submit
        )

    def with_options(
        self,
        *,
        timeout: float | None = _UNCHANGED,
        retries: int | None = None,
        soft_timeout: float | None = _UNCHANGED,
        priority: int | None = None,
    ) -> ExecutorView:
        """Returns a view of the executor, which submits to the same workers.

        Args:
            timeout: The seconds that each task of it may take, or None for any number; by
                default as in this executor or view, as with all that follow.
            retries: How often a task of it is run again when its worker has died.
            soft_timeout: The seconds after which a task of it gets a `SoftTimeout`, or None
                for never.
            priority: Its tasks begin before those with a lower one.

        Example:
            >>> import procession
            >>> import time
            >>> from procession.futures import ProcessPoolExecutor
            >>> with ProcessPoolExecutor(1) as executor:
            ...     impatient = executor.with_options(timeout=0.1)
            ...     error = impatient.submit(time.sleep, 60).exception()
            ...     print(type(error) is procession.TaskTimeout)
            True
        """
        mine = self._options
        options: Options = (
            mine[0] if timeout is _UNCHANGED else timeout,
            mine[1] if retries is None else retries,
            mine[2] if soft_timeout is _UNCHANGED else soft_timeout,
            mine[3] if priority is None else priority,
        )
        return ExecutorView(self._owner(), options)


class ProcessPoolExecutor(_Submits):
    """Worker processes that call functions, as in `concurrent.futures`.

    Args:
        max_workers: How many workers there may be; by default one for each usable CPU.
            Under fork all are started with the first task, otherwise one when there is a
            task and no worker idle.
        mp_context: The context that the workers are started with.
        initializer: What each worker calls before its first task. If it fails, the
            executor is broken: each future has a `BrokenProcessPool`.
        initargs: The arguments of the initializer.
        max_tasks_per_child: After how many tasks a worker is replaced; by default never.
            As in the standard library it goes with spawn, which then is the default, and
            forkserver.
        timeout: The seconds that a task may take once it runs. One that takes longer is
            killed with its worker and fails with `procession.TaskTimeout`; nothing else is
            lost. In a `map` it is the time of each chunk.
        retries: How often a task is run again when its worker has died in it.
        soft_timeout: The seconds after which a task gets a `procession.SoftTimeout`, which it
            may handle.
        priority: Tasks with a higher one begin before those with a lower one.
        memory_limit: How much private memory a worker may have, in bytes or as text such
            as "2GB" (powers of 1000) or "2GiB" (of 1024). A task that needs more fails with
            `procession.MemoryLimitExceeded`.
        max_memory_per_worker: A worker that has more than this in RAM when its task is done
            is replaced; given as `memory_limit` is.
        affinity: The CPUs that the workers run on, or a function of the worker's index.
        env: What the workers have in their environment besides, or a function of the
            worker's index.
        worker_state: What each worker calls once to make an object that its tasks share.
        worker_exit: What each worker calls when it ends by itself.
        idle_timeout: After how many seconds without a task a worker ends.
        initializer_timeout: The seconds within which a worker has to be set up; else the
            executor is broken.
        threads_per_worker: How many threads BLAS, OpenMP and the like may have in a worker.
        log_relay: Whether the handlers of this process handle the records that the workers
            log; all have been handled when `shutdown` has waited for the workers.
        pickler: "plain" has nothing cross by value, "auto" what other processes cannot import.

    What follows `max_tasks_per_child` is not in the standard library; `procession.Pool`
    tells more of it. `timeout`, `retries`, `soft_timeout` and `priority` are for all
    tasks, those of a call are given by `with_options`.

    A worker that dies fails the task that it ran, with `WorkerDied`, which is a
    `BrokenProcessPool`, too. It is replaced, and the other tasks do not notice.

    Example:
        >>> from concurrent.futures import as_completed
        >>> from procession.futures import ProcessPoolExecutor
        >>> with ProcessPoolExecutor(max_workers=2) as executor:
        ...     futures = [executor.submit(pow, 2, n) for n in (3, 10)]
        ...     print(sorted(future.result() for future in as_completed(futures)))
        [8, 1024]
    """

    __dir__ = public_names

    _workers: _Workers | None = None
    _shutdown_thread = False

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: BaseContext | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        *,
        max_tasks_per_child: int | None = None,
        timeout: float | None = None,
        retries: int = 0,
        soft_timeout: float | None = None,
        priority: int = 0,
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
        if max_workers is not None:
            max_workers = checked_whole("max_workers", max_workers, MOST_PROCESSES)
            if max_workers <= 0:
                raise ValueError("max_workers must be greater than 0")
        if mp_context is None:
            mp_context = get_context("spawn" if max_tasks_per_child else None)
        elif not isinstance(mp_context, BaseContext):
            raise TypeError(
                f"mp_context must be a context of procession, not {mp_context!r}: "
                "procession.get_context() returns one"
            )
        self._mp_context: BaseContext = mp_context
        if max_workers is None and mp_context._pool_engine is not None:
            max_workers = mp_context.cpu_count()
        self._max_workers: int = max_workers or _procession.usable_cpus()
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._setup = initializer, checked_initargs(initargs)
        if max_tasks_per_child is not None:
            _check_max_tasks(max_tasks_per_child, mp_context)
        self._max_tasks_per_child = max_tasks_per_child
        self._life = LifeOptions(
            mp_context,
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
        if log_relay and mp_context._pool_engine is not None:
            raise ValueError("an executor whose workers are elsewhere has no log_relay")
        self._log_relay = log_relay
        self._by_name_only = is_plain(pickler)
        self._options = timeout, retries, soft_timeout, priority
        self._terms = make_terms(*self._options)
        self._shutdown_lock = threading.Lock()

    def __del__(self) -> None:
        # The tasks that were submitted are done nevertheless.
        if self._workers is not None:
            self._workers.close()

    def _owner(self) -> ProcessPoolExecutor:
        return self

    def stats(self) -> PoolStats:
        """Returns what the executor's workers have done, as `procession.Pool.stats`.

        Raises:
            RuntimeError: It was shut down.

        Example:
            >>> from procession.futures import ProcessPoolExecutor
            >>> with ProcessPoolExecutor(2) as executor:
            ...     print(executor.submit(len, "three").result())
            ...     print(executor.stats().functions["builtins.len"].calls)
            5
            1
        """
        from ._pool_stats import stats_of  # Not at the top: it is seldom needed.

        return stats_of(self._running().engine.stats())

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Takes no more tasks; the workers end when they have done what they have.

        Args:
            wait: Whether to wait for that.
            cancel_futures: Whether tasks that have not begun are cancelled.

        Example:
            >>> from procession.futures import ProcessPoolExecutor
            >>> executor = ProcessPoolExecutor(1)
            >>> future = executor.submit(sum, [1, 2, 3])
            >>> executor.shutdown()  # Waits for what was submitted.
            >>> future.done(), future.result()
            (True, 6)
        """
        workers = under_lock(self._shutdown_lock, self._refuse)
        if workers is None or workers.pid != os.getpid():
            return
        if cancel_futures:
            workers.engine.cancel()
        workers.close()
        if wait:
            workers.join()

    @overridable
    def worker_state(self) -> Any:
        """What stands for the state of a worker, as in `procession.Pool`.

        Raises:
            ValueError: The executor was made without a `worker_state`.

        Example:
            >>> from procession.futures import ProcessPoolExecutor
            >>> with ProcessPoolExecutor(1, worker_state=list) as executor:
            ...     state = executor.worker_state
            ...     executor.submit(list.append, state, "a").result()
            ...     print(executor.submit(len, state).result())
            1
        """
        if self._life.state is None:
            raise ValueError(
                "the executor has no worker_state: give it one when you make it"
            )
        return self._life.state

    def exit_results(self) -> list[Any]:
        """Returns what `worker_exit` has returned in the workers that have ended.

        All of it is there when `shutdown` has waited for them.

        Raises:
            ValueError: The executor was made without a `worker_exit`.

        Example:
            >>> from procession.futures import ProcessPoolExecutor
            >>> with ProcessPoolExecutor(1, worker_exit=lambda: "done") as executor:
            ...     print(executor.submit(abs, -1).result())
            1
            >>> executor.exit_results()
            ['done']
        """
        if self._life.exit_results is None:
            raise ValueError(
                "the executor has no worker_exit: give it one when you make it"
            )
        return self._life.exit_results.so_far()

    def terminate_workers(self) -> None:
        """Shuts the executor down, and ends its workers with SIGTERM.

        Tasks that have not begun are cancelled; those that run fail with a
        `BrokenProcessPool`. A worker that is still there after a fifth of a second is
        killed.

        Example:
            >>> import time
            >>> from procession.futures import BrokenProcessPool, ProcessPoolExecutor
            >>> executor = ProcessPoolExecutor(1)
            >>> running = executor.submit(time.sleep, 60)
            >>> while not running.running():
            ...     time.sleep(0.01)
            >>> executor.terminate_workers()
            >>> isinstance(running.exception(), BrokenProcessPool)
            True
        """
        self._end_workers("terminate")

    def kill_workers(self) -> None:
        """Shuts the executor down, and kills its workers.

        Tasks that have not begun are cancelled; those that run fail with a
        `BrokenProcessPool`.

        Example:
            >>> import time
            >>> from procession.futures import ProcessPoolExecutor
            >>> executor = ProcessPoolExecutor(1)
            >>> running, waiting = (executor.submit(time.sleep, 60) for _ in range(2))
            >>> executor.kill_workers()
            >>> waiting.cancelled()
            True
        """
        self._end_workers("kill")

    def _end_workers(self, operation: str) -> None:
        self.shutdown(wait=False, cancel_futures=True)
        workers = self._workers
        if workers is None or workers.pid != os.getpid():
            return
        for process in list(workers.processes):
            if process.is_alive():
                getattr(process, operation)()
        workers.terminate()

    def _submit(
        self, terms: Terms | None, fn: Callable[..., T], args: Any, kwargs: Any
    ) -> Future[T]:
        workers = self._workers
        if workers is None or self._shutdown_thread or _exiting:
            workers = self._running()
        future: Future[T] = Future(workers.caller)
        try:
            call = workers.engine.submit(workers, future, fn, args, kwargs, terms)
        except OSError:
            # It may have ended meanwhile: then that is what there is to tell.
            self._running()
            raise
        future._adopt(call)
        return future

    def _map(
        self,
        terms: Terms | None,
        fn: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        options: tuple[float | None, int, int | None, OnError],
        progress: bool | Mapping[str, Any],
        by_submit: bool,
    ) -> Iterator[Any]:
        timeout, chunksize, buffersize, on_error = options
        chunksize = checked_whole("chunksize", chunksize, MOST_ITEMS)
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        # The pool goes on in any case: where it is to stop, what has not begun is cancelled
        # when nobody wants it any more.
        timing = (None, 0, None, 0) if terms is None else terms[:4]
        pool_terms = make_terms(*timing, "continue" if on_error == "stop" else on_error)
        end = None if timeout is None else time.monotonic() + timeout
        if buffersize is not None:
            if not isinstance(buffersize, int):
                raise TypeError("buffersize must be an integer or None")
            if buffersize < 1:
                raise ValueError("buffersize must be None or > 0")
        if by_submit or buffersize is not None:
            bar = None
            if progress is not False:
                bar = _shown(progress, _as_many(iterables), 1)
            calls = zip(*iterables)
            submitted = _Submitted(
                self, terms, fn, calls, chunksize, buffersize, on_error, by_submit
            )
            if on_error == "continue":
                return _GoingOn(lambda: submitted.results(end, bar), submitted.close)
            return submitted.results(end, bar)
        star = len(iterables) != 1
        items: Any = zip(*iterables) if star else iterables[0]
        if type(items) is not range:
            items = list(items)
        workers = self._running()
        call = workers, fn, items, chunksize, True, pool_terms, star, True
        if progress is False:
            results, _ = workers.engine.imap(*call)
        else:
            bar = _shown(progress, items, chunksize)
            try:
                results, _ = workers.engine.imap(*call, progress=bar)
            except BaseException:
                bar.ended()
                raise
        workers.engine.grow(-(-len(items) // chunksize))
        if on_error == "continue":
            more = functools.partial(_results, results, chunksize > 1, end, True)
            return _GoingOn(more, results.close)
        return _results(results, chunksize > 1, end)

    def _running(self) -> _Workers:
        """Returns the workers, which take tasks; starts them if there are none."""
        if self._shutdown_thread:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if _exiting:
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")
        workers = self._workers
        if workers is None:
            return under_lock(self._shutdown_lock, self._start)
        broken = workers.engine.broken()
        if broken is not None:
            error: BaseException = __getattr__("BrokenProcessPool")(
                f"the executor takes no more tasks: {broken}"
            )
            raise error
        return workers

    def _refuse(self) -> _Workers | None:
        """Takes no more tasks; returns the workers, if there were any tasks."""
        self._shutdown_thread = True
        return self._workers

    def _start(self) -> _Workers:
        """Returns the workers; the first task starts them."""
        if self._shutdown_thread:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if self._workers is None:
            self._workers = _Workers(
                self._mp_context,
                self._max_workers,
                self._max_tasks_per_child,
                self._setup,
                self._bounds,
                self._life,
                self._log_relay,
                self._by_name_only,
            )
        return self._workers

    # Programs look into these of the standard library's, to find or to end the workers.

    @property
    def _processes(self) -> dict[int, Any]:
        processes = [] if self._workers is None else list(self._workers.processes)
        return {each.pid: each for each in processes if each.is_alive()}

    @property
    def _broken(self) -> str | bool:
        return self._workers is not None and (self._workers.engine.broken() or False)


class ExecutorView(_Submits):
    """An executor with other options for its tasks, made by `with_options`.

    It has no workers of its own: to shut it down is to shut the executor down.

    Example:
        >>> from procession.futures import ProcessPoolExecutor
        >>> with ProcessPoolExecutor(1) as executor:
        ...     careful = executor.with_options(retries=2)
        ...     quick = careful.with_options(timeout=60)  # Retries twice, too.
        ...     print(careful.submit(ord, "a").result(), list(quick.map(chr, [98])))
        97 ['b']
        >>> quick.shutdown()  # That of the executor, which is over already.
    """

    __dir__ = public_names

    def __init__(self, executor: ProcessPoolExecutor, options: Options) -> None:
        self._executor = executor
        self._options = options
        self._terms = make_terms(*options)

    def _owner(self) -> ProcessPoolExecutor:
        return self._executor

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Shuts the executor down."""
        self._executor.shutdown(wait, cancel_futures=cancel_futures)


def _check_max_tasks(max_tasks: object, context: BaseContext) -> None:
    if not isinstance(max_tasks, int):
        raise TypeError("max_tasks_per_child must be an integer")
    if max_tasks <= 0:
        raise ValueError("max_tasks_per_child must be >= 1")
    checked_whole("max_tasks_per_child", max_tasks, MOST_TASKS)
    if context.get_start_method() == "fork":
        raise ValueError(
            "max_tasks_per_child is incompatible with the 'fork' multiprocessing start "
            "method; supply a different mp_context."
        )


def _results(
    results: _procession.IMapIterator[Any],
    is_chunked: bool,
    end: float | None,
    goes_on: bool = False,
) -> Iterator[Any]:
    """Yields the results of a map until its time is over; cancels what nobody wants.

    Args:
        results: The results of its tasks.
        is_chunked: Whether each of them is a list.
        end: When its time is over.
        goes_on: Whether others are wanted after an error.
    """
    try:
        while True:
            try:
                left = None if end is None else end - time.monotonic()
                batch = results.next(left) if is_chunked else [results.next(left)]
            except StopIteration:
                return
            except _Cancelled:
                # Who gets it from here may be a task, which must not say that of itself.
                raise _base.CancelledError from None
            except _errors.TimeoutError:
                if end is None or time.monotonic() < end:
                    raise  # It is the task's.
                raise TimeoutError from None
            batch.reverse()
            # Nothing that was yielded is kept.
            while batch:
                yield batch.pop()
    finally:
        if not goes_on:
            results.close()


class _GoingOn:
    """Yields results and goes on behind an error, where a generator has ended.

    Args:
        more: Returns what yields the results that are left, until the first error.
        close: Cancels what nobody wants any more.
    """

    def __init__(
        self, more: Callable[[], Iterator[Any]], close: Callable[[], object]
    ) -> None:
        self._more = more
        self._results = more()
        self.close = close

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._results)
        except StopIteration:
            raise
        except BaseException:
            self._results = self._more()
            raise

    def __del__(self) -> None:
        self.close()


class _Submitted:
    """The tasks of a map that are submitted one by one, as results are asked for or at once."""

    def __init__(
        self,
        executor: ProcessPoolExecutor,
        terms: Terms | None,
        fn: Callable[..., Any],
        calls: Iterator[tuple[Any, ...]],
        chunksize: int,
        buffersize: int | None,
        on_error: OnError,
        by_submit: bool,
    ) -> None:
        # It may end though somebody has the results.
        self._executor = weakref.ref(executor)
        self._terms = terms
        self._on_error = on_error
        self._by_submit = by_submit
        of_chunk = _collect_chunk if on_error == "collect" else _call_chunk
        self._call_chunk = functools.partial(of_chunk, fn)
        self._bar: Progress | None = None
        chunks = iter(lambda: tuple(itertools.islice(calls, chunksize)), ())
        self._chunks = chunks
        # Each with how many calls it has.
        self._futures = collections.deque(
            (self._submit(executor, chunk), len(chunk))
            for chunk in itertools.islice(chunks, buffersize)
        )

    def _submit(
        self, executor: ProcessPoolExecutor, chunk: tuple[Any, ...]
    ) -> _base.Future[list[Any]]:
        if self._by_submit:
            return executor.submit(self._call_chunk, chunk)
        return executor._submit(self._terms, self._call_chunk, (chunk,), {})

    def results(self, end: float | None, bar: Progress | None) -> Iterator[Any]:
        """Yields the results until the first error that is to be raised."""
        self._bar = bar
        try:
            while self._futures:
                executor = self._executor()
                chunk = None if executor is None else next(self._chunks, None)
                if executor is not None and chunk is not None:
                    self._futures.append((self._submit(executor, chunk), len(chunk)))
                executor = None
                left = None if end is None else end - time.monotonic()
                future, count = self._futures[0]
                failed = 0
                try:
                    results = future.result(left)
                except BaseException as error:
                    is_done = future.done()
                    if bar is not None and is_done:
                        bar.add(count, count)
                    if not is_done or not self._collects(error):
                        if is_done:
                            self._futures.popleft()
                        raise
                    results = [error] * count
                else:
                    if bar is not None:
                        if self._on_error == "collect":
                            failed = sum(
                                isinstance(each, BaseException) for each in results
                            )
                        bar.add(count, failed)
                del future
                self._futures.popleft()
                results.reverse()
                while results:
                    yield results.pop()
        finally:
            if self._on_error != "continue":
                self.close()

    def close(self) -> None:
        """Cancels what nobody wants any more."""
        for future, _ in self._futures:
            future.cancel()
        self._futures.clear()
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.ended()

    def _collects(self, error: BaseException) -> bool:
        """Returns whether an error stands among the results; not if it is the executor's."""
        if self._on_error != "collect" or isinstance(error, _base.CancelledError):
            return False
        is_broken = isinstance(error, __getattr__("BrokenProcessPool"))
        return not is_broken or isinstance(error, _errors.WorkerDied)


def _as_many(iterables: tuple[Iterable[Any], ...]) -> Iterable[Any]:
    """Returns as many inputs as calls can be made of iterables, as far as is known."""
    lengths = [operator.length_hint(each, -1) for each in iterables]
    return zip() if -1 in lengths else range(min(lengths, default=0))


def _call_chunk(fn: Callable[..., T], chunk: tuple[tuple[Any, ...], ...]) -> list[T]:
    return starmapstar((fn, chunk))


def _collect_chunk(
    fn: Callable[..., Any], chunk: tuple[tuple[Any, ...], ...]
) -> list[Any]:
    return collect(fn, chunk, True, lambda error, _: pack_error(error))


def __dir__() -> list[str]:
    return public(globals())
