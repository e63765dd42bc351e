"""The package's functions for threads: the same program, without processes.

As in `multiprocessing.dummy`: a `Process` is a thread, locks and queues are those of
`threading` and `queue`, values are plain objects, and a manager is this module.
"""

from __future__ import annotations

import array
import builtins
import sys
import threading
import weakref
from queue import Queue
from threading import (
    Barrier,
    BoundedSemaphore,
    Condition,
    Event,
    Lock,
    RLock,
    Semaphore,
)

from .connection import Pipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import ModuleType
    from typing import Any

    from ..pool import ThreadPool

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "JoinableQueue",
    "Lock",
    "Manager",
    "Pipe",
    "Pool",
    "Process",
    "Queue",
    "RLock",
    "Semaphore",
    "active_children",
    "current_process",
    "freeze_support",
]

# `Manager()` returns this module, which therefore answers to the names of a manager.
dict = builtins.dict
list = builtins.list

JoinableQueue = Queue
current_process = threading.current_thread

_children: weakref.WeakKeyDictionary[threading.Thread, weakref.WeakSet[DummyProcess]]
_children = weakref.WeakKeyDictionary()


class DummyProcess(threading.Thread):
    """A thread that looks like a process.

    Args:
        group: Always None.
        target: The function that `run` calls.
        name: The name; by default one is made up.
        args: The arguments of the target.
        kwargs: Its keyword arguments.
    """

    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] | None = None,
        name: str | None = None,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(group, target, name, args, kwargs)
        self._pid = None
        self._start_called = False
        self._parent = current_process()

    def start(self) -> None:
        """Starts the thread.

        Raises:
            RuntimeError: Another thread has made the object, or it was started before.
        """
        if self._parent is not current_process():
            raise RuntimeError(
                f"Parent is {self._parent!r} but current_process is "
                f"{current_process()!r}"
            )
        self._start_called = True
        _children.setdefault(self._parent, weakref.WeakSet()).add(self)
        super().start()

    @property
    def exitcode(self) -> int | None:
        """0 when the thread has ended, None before."""
        return 0 if self._start_called and not self.is_alive() else None


Process = DummyProcess


def active_children() -> builtins.list[DummyProcess]:
    """Returns the threads that this one has started and that still run."""
    children = _children.get(current_process(), ())
    return [child for child in children if child.is_alive()]


def freeze_support() -> None:
    """Does nothing."""


class Namespace:
    """An object that may have any attributes.

    Example:
        >>> import procession
        >>> with procession.Manager() as manager:
        ...     settings = manager.Namespace(depth=2)
        ...     settings.depth += 1
        ...     print(settings.depth)
        3
    """

    def __init__(self, /, **kwds: Any) -> None:
        self.__dict__.update(kwds)

    def __repr__(self) -> str:
        shown = sorted(
            f"{name}={value!r}"
            for name, value in self.__dict__.items()
            if not name.startswith("_")
        )
        return f"{type(self).__name__}({', '.join(shown)})"


def Array(typecode: str, sequence: Any, lock: bool = True) -> array.array[Any]:
    """Returns an array; threads need no shared memory for it."""
    return array.array(typecode, sequence)


class Value:
    """An object with an attribute `value`.

    Args:
        typecode: The type that a shared value would have.
        value: The value.
        lock: Whether a shared value would have a lock.
    """

    def __init__(self, typecode: str, value: Any, lock: bool = True) -> None:
        self._typecode = typecode
        self._value = value

    @property
    def value(self) -> Any:
        """The value."""
        return self._value

    @value.setter
    def value(self, value: Any) -> None:
        self._value = value

    def __repr__(self) -> str:
        return f"<{type(self).__name__}({self._typecode!r}, {self.value!r})>"


def Manager() -> ModuleType:
    """Returns this module, which has the functions that a manager has."""
    return sys.modules[__name__]


def shutdown() -> None:
    """Does nothing: there is no server."""


def Pool(
    processes: int | None = None,
    initializer: Callable[..., object] | None = None,
    initargs: Iterable[Any] = (),
) -> ThreadPool:
    """Returns a pool of threads."""
    # Not at the top: the pool of processes comes with it.
    from ..pool import ThreadPool

    return ThreadPool(processes, initializer, initargs)
