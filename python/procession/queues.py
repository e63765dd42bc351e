"""Queues between processes.

The classes are those of `multiprocessing.queues`; `put` and `get` are methods of the
native module, one call each. Differences: `put` pickles in the caller's thread and
raises what goes wrong there, there is no feeder thread to wait for, an item that was
put is safe even if its process is killed right after, and a queue may be pickled at
any time. A subclass that brings a feeder of its own gets the pipe that it is for
(`_pipe_queue`).
"""

from __future__ import annotations

import os
import threading
from collections import deque
from functools import cached_property
from queue import Empty, Full
from types import GenericAlias

from . import _procession, context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Generic, TypeVar

    T = TypeVar("T")

    class _Native(_procession.Queue, Generic[T]):
        pass

else:
    T = object

    class _Native(_procession.Queue):
        # Not `Generic`: `typing` takes longer to import than all of this package.
        __class_getitem__ = classmethod(GenericAlias)


__all__ = ["Empty", "Full", "JoinableQueue", "Queue", "SimpleQueue"]

# Ends a feeder thread; those who write one import it.
_sentinel = object()


class _PipeEnd:
    """Looks like one end of the pipe that a queue of `multiprocessing` has."""

    def __init__(self, queue: _procession.Queue) -> None:
        self._queue = queue

    # Two of a queue are the same: a client looks for one among those that are ready.

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._queue is self._queue

    def __hash__(self) -> int:
        return hash((type(self), id(self._queue)))

    def close(self) -> None:
        """Closes the queue for this process."""
        self._queue._closed = True

    @property
    def closed(self) -> bool:
        """Whether the queue is closed for this process."""
        return self._queue._closed


class _Reader(_PipeEnd):
    """The end that clients wait for, and that `concurrent.futures` receives from."""

    def fileno(self) -> int:
        """Returns a descriptor that is readable while the queue has items."""
        return self._queue.fileno()

    def poll(self, timeout: float | None = 0.0) -> bool:
        """Waits until the queue has an item or the time is over."""
        return bool(_procession.wait([self._queue], timeout))

    def recv(self) -> Any:
        """Waits for an item and returns it."""
        return self._queue.get()

    def recv_bytes(self) -> bytes:
        """Waits for an item and returns its pickle."""
        return self._queue.get_bytes()


class _Writer(_PipeEnd):
    """The end that items are put into."""

    def send(self, obj: Any) -> None:
        """Puts an item."""
        self._queue.put(obj)

    def send_bytes(self, data: bytes) -> None:
        """Puts an item that is pickled already."""
        self._queue.put_bytes(data)


class _End:
    """Makes one end of a queue when it is asked for; an object may have its own instead."""

    def __init__(self, kind: type[Any]) -> None:
        self._kind = kind

    def __get__(self, queue: _procession.Queue | None, owner: type[Any]) -> Any:
        return self if queue is None else self._kind(queue)


def _derive(cls: type[Any], old: type[Any], new: type[Any]) -> None:
    """Derives a class from another base than it was written with."""
    bases = [new if base is old else base for base in cls.__bases__]
    cls.__bases__ = tuple(bases)


class Queue(_Native[T]):
    """A queue that any number of processes put into and get from.

    As in `multiprocessing`; `put`, `get`, `put_nowait`, `get_nowait`, `qsize`, `empty`
    and `full` come from the native base, and the last three are exact.

    Args:
        maxsize: How many items it holds before `put` waits; 0 for any number.
        ctx: The context that makes it; it makes no difference here.
    """

    # What clients of `multiprocessing` read or set. There is no pipe that could break,
    # and nobody who would feed it from a buffer.
    _ignore_epipe = False
    _thread: Any = None

    @cached_property
    def _buffer(self) -> deque[Any]:
        """Returns what has not been fed to the pipe: nothing, ever."""
        return deque()

    @cached_property
    def _notempty(self) -> threading.Condition:
        """Returns what the feeder thread would wait for."""
        return threading.Condition()

    def __init_subclass__(cls, pipe: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not pipe and ("_feed" in vars(cls) or "_start_thread" in vars(cls)):
            from ._pipe_queue import PipeQueue

            _derive(cls, Queue, PipeQueue)

    def __init__(self, maxsize: int = 0, *, ctx: context.BaseContext | None) -> None:
        self._create(max(maxsize, 0))
        self._opid = os.getpid()

    def close(self) -> None:
        """Ends the use of the queue by this process, as in `multiprocessing`.

        Afterwards `put` and `get` raise ValueError here; other processes go on.
        """
        self._closed = True

    def join_thread(self) -> None:
        """Does nothing: what was put is in the queue already.

        Raises:
            AssertionError: The queue is not closed.
        """
        assert self._closed, f"Queue {self!r} not closed"

    def cancel_join_thread(self) -> None:
        """Does nothing: there is no thread, and nothing that could be lost."""

    _reader = _End(_Reader)
    _writer = _End(_Writer)

    @staticmethod
    def _on_queue_feeder_error(e: BaseException, obj: Any) -> None:
        """Raises what went wrong when an item was pickled.

        `multiprocessing` prints it in its feeder thread; a subclass, such as that of
        `concurrent.futures`, may do something else.
        """
        raise e

    def _terminate_broken(self) -> None:
        """Closes the queue on an error; `concurrent.futures` calls it."""
        self.close()

    def __getstate__(self) -> tuple[Any, ...]:
        return self._lend(), self._opid

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        handle, self._opid = state
        self._attach(handle)


class JoinableQueue(Queue[T]):
    """A queue that counts the items which are not done yet, as in `multiprocessing`."""

    def __init__(self, maxsize: int = 0, *, ctx: context.BaseContext) -> None:
        super().__init__(maxsize, ctx=ctx)
        self._unfinished_tasks = ctx.Semaphore(0)
        self._cond = ctx.Condition()

    def put(self, obj: T, block: bool = True, timeout: float | None = None) -> None:
        """Puts an item, which then has to be done."""
        # Counted first: whoever gets the item may be done before we return.
        self._unfinished_tasks.release()
        try:
            super().put(obj, block, timeout)
        except BaseException:
            self.task_done()
            raise

    def task_done(self) -> None:
        """Says that an item which was got is done.

        Raises:
            ValueError: It was called more often than items were put.
        """
        while True:
            try:
                return self._count_done()
            except context.OwnerDied:
                pass  # Killed anywhere in there, it left nothing half done.

    def _count_done(self) -> None:
        with self._cond:
            # First: who is killed in between leaves nobody waiting for a wake-up.
            if self._unfinished_tasks.get_value() == 1:
                self._cond.notify_all()
            if not self._unfinished_tasks.acquire(False):
                raise ValueError("task_done() called too many times")

    def join(self) -> None:
        """Waits until all items are done."""
        while True:
            try:
                with self._cond:
                    while not self._unfinished_tasks._semlock._is_zero():
                        self._cond.wait()
                return
            except context.OwnerDied:
                pass  # It may have been about to say that all are done.

    def __getstate__(self) -> tuple[Any, ...]:
        return *super().__getstate__(), self._cond, self._unfinished_tasks

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        *rest, self._cond, self._unfinished_tasks = state
        super().__setstate__(tuple(rest))


class SimpleQueue(_Native[T]):
    """A queue with nothing but `put`, `get`, `empty` and `close`.

    As in `multiprocessing`, except that `put` never waits for room.
    """

    _on_queue_feeder_error = staticmethod(Queue._on_queue_feeder_error)

    def __init_subclass__(cls, pipe: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not pipe and "__getstate__" in vars(cls):
            from ._pipe_queue import SimplePipeQueue

            _derive(cls, SimpleQueue, SimplePipeQueue)

    def __init__(self, *, ctx: context.BaseContext | None) -> None:
        self._create(0)

    def get(self) -> T:  # type: ignore[override]
        """Waits for an item and returns it."""
        item: T = super().get()
        return item

    def put(self, obj: T) -> None:  # type: ignore[override]
        """Puts an item."""
        super().put(obj)

    def empty(self) -> bool:
        """Returns whether there are no items.

        Raises:
            OSError: This process has closed the queue.
        """
        if self._closed:
            raise OSError("the queue is closed")
        return super().empty()

    def close(self) -> None:
        """Ends the use of the queue by this process, as in `multiprocessing`."""
        self._closed = True

    _reader = _End(_Reader)
    _writer = _End(_Writer)

    def __getstate__(self) -> tuple[Any, ...]:
        return (self._lend(),)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._attach(state[0])
