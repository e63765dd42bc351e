"""Contexts: a start method, and everything that is made with it in mind.

As in `multiprocessing`, a context has the functions of the package as its methods, and
the package's own functions are those of the default context. The exceptions have their
home here too.

The methods import what they make when they first make it: a spawned child then pays
only for the nouns it uses, and those modules may use contexts in their turn.
"""

from __future__ import annotations

import sys

from . import _procession, _registry, process, reduction, util
from . import reduction as _reduction
from ._attributes import public_names
from ._errors import (
    AuthenticationError,
    BufferTooShort,
    CancelledError,
    MemoryLimitExceeded,
    OwnerDied,
    ProcessError,
    RemoteError,
    SoftTimeout,
    TaskTimeout,
    TimeoutError,
    WorkerDied,
)
from ._spawning import assert_spawning, get_spawning_popen, set_spawning_popen

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from logging import Logger
    from types import ModuleType
    from typing import Any, ClassVar, Literal, TypeVar, overload

    from ._shared_types import MakesArray, MakesRawArray, MakesRawValue, MakesValue
    from .actor import Actor
    from .connection import Connection
    from .managers import SyncManager
    from .pool import Pool
    from .popen_fork import Popen
    from .queues import JoinableQueue, Queue, SimpleQueue
    from .synchronize import (
        Barrier,
        BoundedSemaphore,
        Condition,
        Event,
        Lock,
        RLock,
        Semaphore,
    )

    T = TypeVar("T")

__all__ = [
    "AuthenticationError",
    "BaseContext",
    "BufferTooShort",
    "CancelledError",
    "DefaultContext",
    "ForkContext",
    "ForkProcess",
    "ForkServerContext",
    "ForkServerProcess",
    "MemoryLimitExceeded",
    "OwnerDied",
    "Process",
    "ProcessError",
    "RemoteError",
    "SoftTimeout",
    "SpawnContext",
    "SpawnProcess",
    "TaskTimeout",
    "TimeoutError",
    "WorkerDied",
    "assert_spawning",
    "get_spawning_popen",
    "set_spawning_popen",
]


class BaseContext:
    """The functions of the package for one start method, as in `multiprocessing`.

    Example:
        >>> import procession
        >>> context = procession.get_context("fork")
        >>> queue = context.Queue()
        >>> child = context.Process(target=queue.put, args=("by fork",))
        >>> child.start()
        >>> queue.get()
        'by fork'
        >>> child.join()
    """

    __dir__ = public_names

    # What a cluster's context refuses; None where all is made on this machine.
    _refused: frozenset[str] | None = None

    ProcessError = ProcessError
    BufferTooShort = BufferTooShort
    TimeoutError = TimeoutError
    AuthenticationError = AuthenticationError
    OwnerDied = OwnerDied
    WorkerDied = WorkerDied
    RemoteError = RemoteError
    TaskTimeout = TaskTimeout
    SoftTimeout = SoftTimeout
    CancelledError = CancelledError
    MemoryLimitExceeded = MemoryLimitExceeded

    _name: ClassVar[str]
    Process: ClassVar[type[process.BaseProcess]]

    # Makes the engine of a pool whose workers are not processes of this machine; None
    # here.
    _pool_engine: ClassVar[Any] = None

    current_process = staticmethod(process.current_process)
    parent_process = staticmethod(process.parent_process)
    active_children = staticmethod(process.active_children)

    def cpu_count(self) -> int:
        """Returns how many CPUs this process may use.

        `multiprocessing` returns how many the machine has; here the affinity mask and
        the quota of the control group, which containers set, count too.

        Example:
            >>> import procession
            >>> procession.cpu_count() >= 1
            True
        """
        return _procession.usable_cpus()

    def Manager(self) -> SyncManager:
        """Returns a manager with a running server, as in `multiprocessing`.

        Example:
            >>> import procession
            >>> with procession.Manager() as manager:
            ...     stock = manager.dict(apples=3)
            ...     child = procession.Process(target=stock.update, args=({"pears": 5},))
            ...     child.start()
            ...     child.join()
            ...     print(stock)
            {'apples': 3, 'pears': 5}
        """
        from .managers import SyncManager

        manager = SyncManager(ctx=self.get_context())
        manager.start()
        return manager

    def Pipe(self, duplex: bool = True) -> tuple[Connection, Connection]:
        """Returns the two ends of a pipe, as in `multiprocessing`.

        Example:
            >>> import procession
            >>> here, there = procession.Pipe()
            >>> child = procession.Process(target=there.send, args=("from the child",))
            >>> child.start()
            >>> here.recv()
            'from the child'
            >>> child.join()
        """
        from .connection import Pipe

        return Pipe(duplex)

    def Lock(self) -> Lock:
        """Returns a lock, as in `multiprocessing`.

        Example:
            >>> import procession
            >>> lock = procession.Lock()
            >>> with lock:
            ...     print("one process at a time", lock.acquire(block=False))
            one process at a time False
        """
        from .synchronize import Lock

        return Lock(ctx=self.get_context())

    def RLock(self) -> RLock:
        """Returns a lock that its owner may take again, as in `multiprocessing`.

        Example:
            >>> import procession
            >>> lock = procession.RLock()
            >>> with lock, lock:
            ...     print("taken twice by one process")
            taken twice by one process
        """
        from .synchronize import RLock

        return RLock(ctx=self.get_context())

    def Condition(self, lock: Any = None) -> Condition:
        """Returns a condition variable, as in `multiprocessing`.

        Example:
            >>> import procession
            >>> import threading
            >>> ready = procession.Condition()
            >>> def tell():
            ...     with ready:
            ...         ready.notify()
            >>> with ready:
            ...     threading.Thread(target=tell).start()
            ...     print(ready.wait(timeout=30))
            True
        """
        from .synchronize import Condition

        return Condition(lock, ctx=self.get_context())

    def Semaphore(self, value: int = 1) -> Semaphore:
        """Returns a semaphore, as in `multiprocessing`.

        Example:
            >>> import procession
            >>> places = procession.Semaphore(2)
            >>> [places.acquire(block=False) for _ in range(3)]
            [True, True, False]
        """
        from .synchronize import Semaphore

        return Semaphore(value, ctx=self.get_context())

    def BoundedSemaphore(self, value: int = 1) -> BoundedSemaphore:
        """Returns a semaphore that cannot rise above its first value.

        Example:
            >>> import procession
            >>> places = procession.BoundedSemaphore(1)
            >>> places.release()
            Traceback (most recent call last):
            ValueError: a semaphore was released more often than it was taken
        """
        from .synchronize import BoundedSemaphore

        return BoundedSemaphore(value, ctx=self.get_context())

    def Event(self) -> Event:
        """Returns an event, as in `multiprocessing`.

        Example:
            >>> import procession
            >>> done = procession.Event()
            >>> child = procession.Process(target=done.set)
            >>> child.start()
            >>> done.wait(timeout=30)
            True
            >>> child.join()
        """
        from .synchronize import Event

        return Event(ctx=self.get_context())

    def Barrier(
        self,
        parties: int,
        action: Callable[[], object] | None = None,
        timeout: float | None = None,
    ) -> Barrier:
        """Returns a barrier, as in `multiprocessing`.

        Example:
            >>> import procession
            >>> start_line = procession.Barrier(3)
            >>> runners = [procession.Process(target=start_line.wait) for _ in range(2)]
            >>> for runner in runners:
            ...     runner.start()
            >>> start_line.wait() in (0, 1, 2)
            True
            >>> for runner in runners:
            ...     runner.join()
        """
        from .synchronize import Barrier

        return Barrier(parties, action, timeout, ctx=self.get_context())

    def Queue(self, maxsize: int = 0) -> Queue[Any]:
        """Returns a queue, as in `multiprocessing`.

        Example:
            >>> import procession
            >>> queue = procession.Queue(maxsize=10)
            >>> child = procession.Process(target=queue.put, args=({"id": 7},))
            >>> child.start()
            >>> queue.get()
            {'id': 7}
            >>> child.join()
        """
        from .queues import Queue

        return Queue(maxsize, ctx=self.get_context())

    def JoinableQueue(self, maxsize: int = 0) -> JoinableQueue[Any]:
        """Returns a queue that can be joined, as in `multiprocessing`.

        Example:
            >>> import procession
            >>> jobs = procession.JoinableQueue()
            >>> jobs.put("wash up")
            >>> jobs.get()
            'wash up'
            >>> jobs.task_done()
            >>> jobs.join()
        """
        from .queues import JoinableQueue

        return JoinableQueue(maxsize, ctx=self.get_context())

    def SimpleQueue(self) -> SimpleQueue[Any]:
        """Returns a queue without limits and timeouts, as in `multiprocessing`.

        Example:
            >>> import procession
            >>> queue = procession.SimpleQueue()
            >>> queue.put(2.5)
            >>> queue.get(), queue.empty()
            (2.5, True)
        """
        from .queues import SimpleQueue

        return SimpleQueue(ctx=self.get_context())

    def Actor(
        self,
        cls: Callable[..., T],
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        timeout: float | None = None,
        restarts: int | None = 0,
        memory_limit: int | str | None = None,
        affinity: Iterable[int] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Actor[T]:
        """Makes an object in a process of its own; its methods are called from here.

        Args:
            cls: What makes the object, in its process: a class, mostly.
            args: The positional arguments for it.
            kwargs: The keyword arguments for it.
            name: The name of the process; by default that of the class.
            timeout: The seconds that a call may take once it runs.
            restarts: How often another process, with an object made anew, takes the place
                of one that has died; None for as often as it dies.
            memory_limit: How much private memory the process may have.
            affinity: The CPUs that it runs on.
            env: What is in its environment besides.

        The class `procession.actor.Actor` tells more. `multiprocessing` has nothing like it.

        Example:
            >>> import procession
            >>> with procession.Actor(list, ([3, 1, 2],)) as numbers:
            ...     numbers.sort()
            ...     later = numbers.index.call_async(3)
            ...     print(numbers.copy(), later.get())
            [1, 2, 3] 2
        """
        from .actor import Actor

        return Actor(
            cls,
            args,
            kwargs,
            context=self.get_context(),
            name=name,
            timeout=timeout,
            restarts=restarts,
            memory_limit=memory_limit,
            affinity=affinity,
            env=env,
        )

    def Pool(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
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
    ) -> Pool:
        """Returns a pool of worker processes, as in `multiprocessing`.

        Args:
            processes: How many workers; by default one for each usable CPU.
            initializer: A function that each worker calls before its first task.
            initargs: The arguments of the initializer.
            maxtasksperchild: After how many tasks a worker is replaced; by default never.
            retries: How often a task is run again when its worker has died in it.
            memory_limit: How much private memory a worker may have, in bytes or as text
                such as "2GB" (powers of 1000) or "2GiB" (of 1024); a task that needs more
                fails with `MemoryLimitExceeded`.
            max_memory_per_worker: How much a worker may have in RAM, in bytes or as text; one
                that has more when its task is done is replaced.
            affinity: The CPUs that the workers run on, or a function of the worker's index.
            env: Variables that are added to the workers' environment, or a function of
                the worker's index that returns them.
            worker_state: A function that each worker calls once to make an object for its
                tasks.
            worker_exit: A function that each worker calls when it ends; `exit_results` has
                the results.
            idle_timeout: After how many seconds without a task a worker ends; others are
                started when there are tasks.
            initializer_timeout: The seconds within which a worker has to be set up.
            threads_per_worker: How many threads BLAS, OpenMP and the like may have in a
                worker.
            log_relay: Whether this process handles what the workers log.
            pickler: "auto" to have lambdas and what else cannot be imported cross by value;
                "plain" to refuse them.

        The methods of a pool are `apply`, `map`, `starmap`, each also with `_async`, `imap`
        and `imap_unordered`, which all take a `timeout`, a `soft_timeout`, a number of
        `retries` and a `priority` for their tasks, and maps an `on_error`; `workers`,
        `worker_state`, `exit_results`, `resize`, `close`, `terminate` and `join`. The class
        `procession.pool.Pool` tells more of each.

        Example:
            >>> import procession
            >>> with procession.Pool(2) as pool:
            ...     print(pool.map(abs, [-2, 0, 2]))
            ...     later = pool.apply_async(pow, (2, 64))
            ...     print(later.get(timeout=30))
            [2, 0, 2]
            18446744073709551616
        """
        from .pool import Pool

        named: dict[str, Any] = {
            "retries": retries if retries != 0 else None,
            "memory_limit": memory_limit,
            "max_memory_per_worker": max_memory_per_worker,
            "affinity": affinity,
            "env": env,
            "worker_state": worker_state,
            "worker_exit": worker_exit,
            "idle_timeout": idle_timeout,
            "initializer_timeout": initializer_timeout,
            "threads_per_worker": threads_per_worker,
            "log_relay": log_relay or None,
            "pickler": pickler if pickler != "auto" else None,
        }
        # Only those that are given: a program's own class in the place of ours may know
        # none.
        given = {name: value for name, value in named.items() if value is not None}
        return Pool(
            processes,
            initializer,
            initargs,
            maxtasksperchild,
            context=self.get_context(),
            **given,
        )

    if TYPE_CHECKING:
        RawValue: MakesRawValue
        RawArray: MakesRawArray
        Value: MakesValue
        Array: MakesArray
    else:

        def RawValue(self, typecode_or_type: str | type[Any], *args: Any) -> Any:
            """Returns a shared ctypes object without a lock, as in `multiprocessing`.

            Example:
                >>> import procession
                >>> level = procession.RawValue("d", 0.5)
                >>> level.value *= 3
                >>> level.value
                1.5
            """
            from .sharedctypes import RawValue

            return RawValue(typecode_or_type, *args)

        def RawArray(
            self,
            typecode_or_type: str | type[Any],
            size_or_initializer: int | Sequence[Any],
        ) -> ctypes.Array[Any]:
            """Returns a shared ctypes array without a lock, as in `multiprocessing`.

            Example:
                >>> import procession
                >>> samples = procession.RawArray("h", 4)
                >>> samples[:2] = [7, 8]
                >>> list(samples)
                [7, 8, 0, 0]
            """
            from .sharedctypes import RawArray

            return RawArray(typecode_or_type, size_or_initializer)

        def Value(
            self, typecode_or_type: str | type[Any], *args: Any, lock: Any = True
        ) -> Any:
            """Returns a shared ctypes object with a lock, as in `multiprocessing`.

            Example:
                >>> import procession
                >>> def count(counter):
                ...     for _ in range(100):
                ...         with counter.get_lock():
                ...             counter.value += 1
                >>> counter = procession.Value("i", 0)
                >>> counters = [
                ...     procession.Process(target=count, args=(counter,)) for _ in range(2)
                ... ]
                >>> for child in counters:
                ...     child.start()
                >>> for child in counters:
                ...     child.join()
                >>> counter.value
                200
            """
            from .sharedctypes import Value

            return Value(typecode_or_type, *args, lock=lock, ctx=self.get_context())

        def Array(
            self,
            typecode_or_type: str | type[Any],
            size_or_initializer: int | Sequence[Any],
            *,
            lock: Any = True,
        ) -> Any:
            """Returns a shared ctypes array with a lock, as in `multiprocessing`.

            Example:
                >>> import procession
                >>> squares = procession.Array("i", [1, 4, 9])
                >>> squares[1] = 5
                >>> len(squares), squares[:]
                (3, [1, 5, 9])
            """
            from .sharedctypes import Array

            return Array(
                typecode_or_type, size_or_initializer, lock=lock, ctx=self.get_context()
            )

    def freeze_support(self) -> None:
        """Runs a child of a frozen program, if this is one, as in `multiprocessing`.

        Example:
            >>> import procession
            >>> procession.freeze_support()  # First in a program that is frozen.
        """
        if getattr(sys, "frozen", False):
            from .spawn import freeze_support

            freeze_support()

    def get_logger(self) -> Logger:
        """Returns the package's logger, as in `multiprocessing`.

        Example:
            >>> import procession
            >>> procession.get_logger().name
            'multiprocessing'
        """
        return util.get_logger()

    def log_to_stderr(self, level: int | str | None = None) -> Logger:
        """Makes the package's logger print to stderr, as in `multiprocessing`.

        Example:
            >>> import logging
            >>> import procession
            >>> logger = procession.log_to_stderr(logging.WARNING)
            >>> logger.isEnabledFor(logging.INFO), len(logger.handlers)
            (False, 1)
        """
        return util.log_to_stderr(level)

    def allow_connection_pickling(self) -> None:
        """Makes connections picklable, as in `multiprocessing`; they always are.

        Example:
            >>> import procession
            >>> procession.allow_connection_pickling()  # Nothing is left to do.
        """
        from . import connection  # noqa: F401

    def set_executable(self, executable: str | bytes | os.PathLike[str]) -> None:
        """Sets the interpreter that starts spawned children, as in `multiprocessing`.

        Example:
            >>> import procession
            >>> import sys
            >>> procession.set_executable(sys.executable)
        """
        from .spawn import set_executable

        set_executable(executable)

    def set_forkserver_preload(
        self, module_names: Sequence[str], *, on_error: str = "ignore"
    ) -> None:
        """Sets what the fork server imports before it forks, as in `multiprocessing`.

        Example:
            >>> import procession
            >>> procession.set_forkserver_preload(["json", "decimal"])
        """
        from .forkserver import set_forkserver_preload

        set_forkserver_preload(module_names, on_error=on_error)

    if TYPE_CHECKING:

        @overload
        def get_context(self, method: None = None) -> BaseContext: ...
        @overload
        def get_context(self, method: Literal["fork"]) -> ForkContext: ...
        @overload
        def get_context(self, method: Literal["spawn"]) -> SpawnContext: ...
        @overload
        def get_context(self, method: Literal["forkserver"]) -> ForkServerContext: ...
        @overload
        def get_context(self, method: str | None) -> BaseContext: ...

    def get_context(self, method: str | None = None) -> BaseContext:
        """Returns the context of a start method, as in `multiprocessing`.

        Args:
            method: "fork", "spawn" or "forkserver", or the URL of a cluster, such as
                "loopback://4", whose nodes run the tasks of pools; None for this context.
                The default context returns the context that is set, and cannot be set
                afterwards.

        Raises:
            ValueError: There is no such start method, or no such engine.
            EngineUnavailable: There is no such cluster.

        Example:
            >>> import procession
            >>> spawn = procession.get_context("spawn")
            >>> with spawn.Pool(1) as pool:
            ...     print(spawn.get_start_method(), pool.apply(divmod, (17, 5)))
            spawn (3, 2)
        """
        if method is None:
            return self._own()
        if not isinstance(method, str):
            raise ValueError(  # noqa: TRY004 -- as in `multiprocessing`
                f"cannot find context for {method!r}: a start method is meant by its name"
            )
        context = _concrete_contexts.get(method)
        if context is None:
            # Programs that stay on this machine never import it.
            from .distributed import context_of

            context = context_of(method)
        if context is None:
            raise ValueError(f"cannot find context for {method!r}")
        context._check_available()
        return context

    if TYPE_CHECKING:

        @overload
        def get_start_method(self, allow_none: Literal[False] = False) -> str: ...
        @overload
        def get_start_method(self, allow_none: bool) -> str | None: ...

    def get_start_method(self, allow_none: bool = False) -> str | None:
        """Returns the name of the start method, as in `multiprocessing`."""
        return self._name

    def set_start_method(self, method: str | None, force: bool = False) -> None:
        """Raises ValueError: only the default context can be set."""
        raise ValueError("cannot set start method of concrete context")

    @property
    def reducer(self) -> Any:
        """The module or object that pickles processes, as in `multiprocessing`.

        Example:
            >>> import procession
            >>> pickled = procession.reducer.ForkingPickler.dumps([1, 2])
            >>> procession.reducer.ForkingPickler.loads(pickled)
            [1, 2]
        """
        return globals().get("reduction")

    @reducer.setter
    def reducer(self, reduction: ModuleType | reduction.AbstractReducer) -> None:
        globals()["reduction"] = reduction
        _reduction.set_reducer(reduction)

    def _own(self) -> BaseContext:
        return self

    def _check_available(self) -> None:
        pass


class ForkProcess(process.BaseProcess):
    """A process that begins as a copy of its parent."""

    _start_method = "fork"

    @staticmethod
    def _Popen(process_obj: Any) -> Popen:
        global _popen_fork
        if _popen_fork is None:
            from . import popen_fork

            _popen_fork = popen_fork
        popen: Popen = _popen_fork.Popen(process_obj)
        return popen


# The module: to import it anew for each start has the parent copy twenty pages.
_popen_fork: Any = None


class SpawnProcess(process.BaseProcess):
    """A process that begins as a fresh interpreter."""

    _start_method = "spawn"

    @staticmethod
    def _Popen(process_obj: Any) -> Popen:
        from .popen_spawn_posix import Popen

        return Popen(process_obj)

    @staticmethod
    def _after_fork() -> None:
        pass  # A spawned child has inherited nothing.


class ForkServerProcess(process.BaseProcess):
    """A process that begins as a copy of a small server."""

    _start_method = "forkserver"

    @staticmethod
    def _Popen(process_obj: Any) -> Popen:
        from .popen_forkserver import Popen

        return Popen(process_obj)


class Process(process.BaseProcess):
    """A process that is started by the default start method, as in `multiprocessing`.

    Example:
        >>> import procession
        >>> child = procession.Process(target=pow, args=(2, 100), name="powerful")
        >>> child.start()
        >>> child.result()
        1267650600228229401496703205376
        >>> child.name, child.exitcode
        ('powerful', 0)
    """

    @staticmethod
    def _Popen(process_obj: Any) -> Popen:
        return _default_context.get_context().Process._Popen(process_obj)

    @staticmethod
    def _after_fork() -> None:
        _default_context.get_context().Process._after_fork()


class ForkContext(BaseContext):
    """The context of the start method "fork"."""

    _name = "fork"
    Process = ForkProcess


class SpawnContext(BaseContext):
    """The context of the start method "spawn"."""

    _name = "spawn"
    Process = SpawnProcess


class ForkServerContext(BaseContext):
    """The context of the start method "forkserver"."""

    _name = "forkserver"
    Process = ForkServerProcess


class DefaultContext(BaseContext):
    """The context whose start method can be set, once, as in `multiprocessing`."""

    Process = Process

    def __init__(self, context: BaseContext | None = None) -> None:
        self._default_context = context or _of_this_interpreter()
        self._actual_context: BaseContext | None = None
        self._is_settled = False

    def _settle(self, method: str) -> None:
        """Sets the context, whatever the program says of start methods."""
        actual = self._actual_context = self.get_context(method)
        self._is_settled = True
        package = sys.modules[__package__]
        # What a cluster makes in another way, the package's functions make so, too. They are
        # replaced, so that those of this machine need not look each time. What a cluster
        # refuses, a program may still use on this machine alone.
        kind = type(actual)
        if kind._refused is None:
            return
        for name in (vars(kind).keys() & {*package.__all__}) - kind._refused:
            made = getattr(actual, name)
            setattr(self, name, made)
            setattr(package, name, made)

    def _own(self) -> BaseContext:
        if self._actual_context is None:
            self._actual_context = self._default_context
        return self._actual_context

    def set_start_method(self, method: str | None, force: bool = False) -> None:
        """Sets the start method, as in `multiprocessing`.

        Raises:
            RuntimeError: It is set already, and `force` is false.
            ValueError: There is no such start method.

        Example:
            >>> import procession
            >>> procession.set_start_method("forkserver", force=True)
            >>> procession.get_start_method()
            'forkserver'
        """
        if self._is_settled:
            self.get_context(method)  # `get_context` refuses a name that is none.
            return
        if self._actual_context is not None and not force:
            message = "context has already been set"
            if getattr(process.current_process(), "_inheriting", False):
                message += (
                    ": this child runs the main module of its parent again, where the call"
                    " of set_start_method belongs behind `if __name__ == '__main__':`"
                )
            raise RuntimeError(message)
        if method is None and force:
            self._actual_context = None
        else:
            self._actual_context = self.get_context(method)

    if TYPE_CHECKING:

        @overload
        def get_start_method(self, allow_none: Literal[False] = False) -> str: ...
        @overload
        def get_start_method(self, allow_none: bool) -> str | None: ...

    def get_start_method(self, allow_none: bool = False) -> str | None:
        """Returns the name of the start method, as in `multiprocessing`.

        With `allow_none` it may be None, as long as the program has neither set nor used it.

        Example:
            >>> import procession
            >>> procession.get_start_method() in procession.get_all_start_methods()
            True
        """
        if self._actual_context is None and allow_none:
            return None
        return self.get_context()._name

    def get_all_start_methods(self) -> list[str]:
        """Returns the names of the start methods, the default one first.

        Example:
            >>> import procession
            >>> sorted(procession.get_all_start_methods())
            ['fork', 'forkserver', 'spawn']
        """
        names = list(_concrete_contexts)
        names.remove(self._default_context._name)
        return [self._default_context._name, *names]


_concrete_contexts: dict[str, BaseContext] = {
    "fork": ForkContext(),
    "spawn": SpawnContext(),
    "forkserver": ForkServerContext(),
}


def _of_this_interpreter() -> BaseContext:
    """Returns the context that is the default of the running interpreter."""
    return _concrete_contexts["fork" if sys.version_info < (3, 14) else "forkserver"]


_default_context = DefaultContext()


def _force_start_method(method: str) -> None:
    _default_context._actual_context = _concrete_contexts[method]


_registry.force_start_method = _force_start_method
