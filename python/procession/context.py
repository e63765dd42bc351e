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
from ._errors import (
    AuthenticationError,
    BufferTooShort,
    CancelledError,
    MemoryLimitExceeded,
    OwnerDied,
    ProcessError,
    RemoteError,
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
    from typing import Any, ClassVar, Literal, overload

    from ._shared_types import MakesArray, MakesRawArray, MakesRawValue, MakesValue
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
    """The functions of the package for one start method, as in `multiprocessing`."""

    ProcessError = ProcessError
    BufferTooShort = BufferTooShort
    TimeoutError = TimeoutError
    AuthenticationError = AuthenticationError
    OwnerDied = OwnerDied
    WorkerDied = WorkerDied
    RemoteError = RemoteError
    TaskTimeout = TaskTimeout
    CancelledError = CancelledError
    MemoryLimitExceeded = MemoryLimitExceeded

    _name: ClassVar[str]
    Process: ClassVar[type[process.BaseProcess]]

    current_process = staticmethod(process.current_process)
    parent_process = staticmethod(process.parent_process)
    active_children = staticmethod(process.active_children)

    def cpu_count(self) -> int:
        """Returns how many CPUs this process may use.

        `multiprocessing` returns how many the machine has; here the affinity mask and
        the quota of the control group, which containers set, count too.
        """
        return _procession.usable_cpus()

    def Manager(self) -> SyncManager:
        """Returns a manager with a running server, as in `multiprocessing`."""
        from .managers import SyncManager

        manager = SyncManager(ctx=self.get_context())
        manager.start()
        return manager

    def Pipe(self, duplex: bool = True) -> tuple[Connection, Connection]:
        """Returns the two ends of a pipe, as in `multiprocessing`."""
        from .connection import Pipe

        return Pipe(duplex)

    def Lock(self) -> Lock:
        """Returns a lock, as in `multiprocessing`."""
        from .synchronize import Lock

        return Lock(ctx=self.get_context())

    def RLock(self) -> RLock:
        """Returns a lock that its owner may take again, as in `multiprocessing`."""
        from .synchronize import RLock

        return RLock(ctx=self.get_context())

    def Condition(self, lock: Any = None) -> Condition:
        """Returns a condition variable, as in `multiprocessing`."""
        from .synchronize import Condition

        return Condition(lock, ctx=self.get_context())

    def Semaphore(self, value: int = 1) -> Semaphore:
        """Returns a semaphore, as in `multiprocessing`."""
        from .synchronize import Semaphore

        return Semaphore(value, ctx=self.get_context())

    def BoundedSemaphore(self, value: int = 1) -> BoundedSemaphore:
        """Returns a semaphore that cannot rise above its first value."""
        from .synchronize import BoundedSemaphore

        return BoundedSemaphore(value, ctx=self.get_context())

    def Event(self) -> Event:
        """Returns an event, as in `multiprocessing`."""
        from .synchronize import Event

        return Event(ctx=self.get_context())

    def Barrier(
        self,
        parties: int,
        action: Callable[[], object] | None = None,
        timeout: float | None = None,
    ) -> Barrier:
        """Returns a barrier, as in `multiprocessing`."""
        from .synchronize import Barrier

        return Barrier(parties, action, timeout, ctx=self.get_context())

    def Queue(self, maxsize: int = 0) -> Queue[Any]:
        """Returns a queue, as in `multiprocessing`."""
        from .queues import Queue

        return Queue(maxsize, ctx=self.get_context())

    def JoinableQueue(self, maxsize: int = 0) -> JoinableQueue[Any]:
        """Returns a queue that can be joined, as in `multiprocessing`."""
        from .queues import JoinableQueue

        return JoinableQueue(maxsize, ctx=self.get_context())

    def SimpleQueue(self) -> SimpleQueue[Any]:
        """Returns a queue without limits and timeouts, as in `multiprocessing`."""
        from .queues import SimpleQueue

        return SimpleQueue(ctx=self.get_context())

    def Pool(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        *,
        retries: int = 0,
        memory_limit: int | None = None,
        max_memory_per_worker: int | None = None,
        affinity: Iterable[int] | Callable[[int], Iterable[int]] | None = None,
        env: Mapping[str, str] | Callable[[int], Mapping[str, str]] | None = None,
        log_relay: bool = False,
        pickler: Literal["auto", "plain"] = "auto",
    ) -> Pool:
        """Returns a pool of worker processes, as in `multiprocessing`.

        What is to be given by name is told at the class `procession.pool.Pool`.
        """
        from .pool import Pool

        named: dict[str, Any] = {
            "retries": retries if retries != 0 else None,
            "memory_limit": memory_limit,
            "max_memory_per_worker": max_memory_per_worker,
            "affinity": affinity,
            "env": env,
            "log_relay": log_relay or None,
            "pickler": pickler if pickler != "auto" else None,
        }
        # A class that somebody has put in the place of ours may know none of these.
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
            """Returns a shared ctypes object without a lock, as in `multiprocessing`."""
            from .sharedctypes import RawValue

            return RawValue(typecode_or_type, *args)

        def RawArray(
            self,
            typecode_or_type: str | type[Any],
            size_or_initializer: int | Sequence[Any],
        ) -> ctypes.Array[Any]:
            """Returns a shared ctypes array without a lock, as in `multiprocessing`."""
            from .sharedctypes import RawArray

            return RawArray(typecode_or_type, size_or_initializer)

        def Value(
            self, typecode_or_type: str | type[Any], *args: Any, lock: Any = True
        ) -> Any:
            """Returns a shared ctypes object with a lock, as in `multiprocessing`."""
            from .sharedctypes import Value

            return Value(typecode_or_type, *args, lock=lock, ctx=self.get_context())

        def Array(
            self,
            typecode_or_type: str | type[Any],
            size_or_initializer: int | Sequence[Any],
            *,
            lock: Any = True,
        ) -> Any:
            """Returns a shared ctypes array with a lock, as in `multiprocessing`."""
            from .sharedctypes import Array

            return Array(
                typecode_or_type, size_or_initializer, lock=lock, ctx=self.get_context()
            )

    def freeze_support(self) -> None:
        """Runs a child of a frozen program, if this is one, as in `multiprocessing`."""
        if getattr(sys, "frozen", False):
            from .spawn import freeze_support

            freeze_support()

    def get_logger(self) -> Logger:
        """Returns the package's logger, as in `multiprocessing`."""
        return util.get_logger()

    def log_to_stderr(self, level: int | str | None = None) -> Logger:
        """Makes the package's logger print to stderr, as in `multiprocessing`."""
        return util.log_to_stderr(level)

    def allow_connection_pickling(self) -> None:
        """Makes connections picklable, as in `multiprocessing`; they always are."""
        from . import connection  # noqa: F401

    def set_executable(self, executable: str | bytes | os.PathLike[str]) -> None:
        """Sets the interpreter that starts spawned children, as in `multiprocessing`."""
        from .spawn import set_executable

        set_executable(executable)

    def set_forkserver_preload(
        self, module_names: Sequence[str], *, on_error: str = "ignore"
    ) -> None:
        """Sets what the fork server imports before it forks, as in `multiprocessing`."""
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
            method: "fork", "spawn" or "forkserver"; None for this context, and of the
                default context for the one that is set, which that sets.

        Raises:
            ValueError: There is no such start method.
        """
        if method is None:
            return self._own()
        try:
            context = _concrete_contexts[method]
        except KeyError:
            raise ValueError(f"cannot find context for {method!r}") from None
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
        """The module or object that pickles processes, as in `multiprocessing`."""
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
        pass  # Nothing was inherited.


class ForkServerProcess(process.BaseProcess):
    """A process that begins as a copy of a small server."""

    _start_method = "forkserver"

    @staticmethod
    def _Popen(process_obj: Any) -> Popen:
        from .popen_forkserver import Popen

        return Popen(process_obj)


class Process(process.BaseProcess):
    """A process that is started by the default start method, as in `multiprocessing`."""

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

    def _own(self) -> BaseContext:
        if self._actual_context is None:
            self._actual_context = self._default_context
        return self._actual_context

    def set_start_method(self, method: str | None, force: bool = False) -> None:
        """Sets the start method, as in `multiprocessing`.

        Raises:
            RuntimeError: It is set already, and `force` is false.
            ValueError: There is no such start method.
        """
        if self._actual_context is not None and not force:
            raise RuntimeError("context has already been set")
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

        With `allow_none` it may be None, as long as nobody has set or used it.
        """
        if self._actual_context is None and allow_none:
            return None
        return self.get_context()._name

    def get_all_start_methods(self) -> list[str]:
        """Returns the names of the start methods, the default one first."""
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
