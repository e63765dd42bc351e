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
import queue
import sys
import threading
import time
from collections import deque
from functools import cached_property
from queue import Empty, Full
from types import GenericAlias

from . import _procession, context, reduction
from ._attributes import public, public_names
from ._checks import checked_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator
    from typing import Any, Generic, TypeVar

    T = TypeVar("T")

    class _Native(_procession.Queue, Generic[T]):
        def put(
            self, obj: T, block: bool = True, timeout: float | None = None
        ) -> None: ...
        def get(self, block: bool = True, timeout: float | None = None) -> T: ...
        def put_nowait(self, obj: T) -> None: ...
        def get_nowait(self) -> T: ...
        def put_many(
            self, items: Iterable[T], block: bool = True, timeout: float | None = None
        ) -> None: ...
        def get_many(
            self, max: int, block: bool = True, timeout: float | None = None
        ) -> list[T]: ...

else:
    T = object

    class _Native(_procession.Queue):
        # Not `Generic`: `typing` takes longer to import than all of this package.
        __class_getitem__ = classmethod(GenericAlias)


__all__ = ["Empty", "Full", "JoinableQueue", "Queue", "ShutDown", "SimpleQueue"]

if TYPE_CHECKING or not hasattr(queue, "ShutDown"):

    class ShutDown(Exception):
        """Raised by a queue that was shut down; from Python 3.13 on it is that of `queue`.

        Example:
            >>> from procession import Queue
            >>> from procession.queues import ShutDown
            >>> queue = Queue()
            >>> queue.shutdown()
            >>> try:
            ...     queue.put(1)
            ... except ShutDown:
            ...     print("no more")
            no more
        """

else:
    ShutDown = queue.ShutDown

# Ends a feeder thread; programs with a feeder of their own import it.
_sentinel = object()


def _put_each(
    put: Callable[[Any, bool, float | None], None],
    items: Iterable[Any],
    block: bool,
    timeout: float | None,
) -> None:
    """Puts items one by one, within one time for all of them, as `put_many` does.

    Raises:
        Full: The time was over; `items_put` says how many were put.
        ShutDown: The queue was shut down; as above.
    """
    end = None if timeout is None else time.monotonic() + timeout
    count = 0
    try:
        for item in items:
            put(item, block, None if end is None else max(end - time.monotonic(), 0.0))
            count += 1
    except (Full, ShutDown) as error:
        error.items_put = count  # type: ignore[union-attr]
        raise


class _PipeEnd:
    """Looks like one end of the pipe that a queue of `multiprocessing` has."""

    def __init__(self, queue: _procession.Queue) -> None:
        self._queue = queue

    # Two ends of one queue are equal, as a client looks for its own among those that
    # are ready.

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

    @property
    def _waited_queue(self) -> _procession.Queue:
        """What `connection.wait` waits for in the place of this end."""
        return self._queue

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


class _Part:
    """Part of a queue, made when it is first read; an object may have its own instead."""

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

    Example:
        >>> import procession
        >>> queue = procession.Queue(maxsize=2)
        >>> queue.put("first")
        >>> queue.put_nowait("second")
        >>> queue.qsize(), queue.full()
        (2, True)
        >>> queue.get(), queue.get_nowait()
        ('first', 'second')
        >>> queue.empty()
        True
        >>> queue.close()
    """

    __dir__ = public_names

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
        self._create(max(checked_whole("maxsize", maxsize), 0))
        self._opid = os.getpid()

    def close(self) -> None:
        """Ends the use of the queue by this process, as in `multiprocessing`.

        Afterwards `put` and `get` raise ValueError here; other processes go on.
        """
        self._closed = True

    def shutdown(self, immediate: bool = False) -> None:
        """Ends the queue for all processes, as `queue.Queue` does from Python 3.13 on.

        From then on `put` raises ShutDown in every process, and `get` does so once the
        queue is empty.

        Args:
            immediate: Whether what is in the queue is thrown away.

        Example:
            >>> import procession
            >>> queue = procession.Queue()
            >>> queue.put_many("abc")
            >>> queue.shutdown()
            >>> list(queue)  # Yields what is left, and ends.
            ['a', 'b', 'c']
        """
        self._shut_down(immediate)

    async def put_async(self, obj: T) -> None:
        """Waits, in a task of asyncio or trio, for room and puts an item.

        No thread waits: the loop is told when there is room. A task that is cancelled has
        put nothing; the item is in once this returns.

        Raises:
            ValueError: This process has closed the queue.
            ShutDown: The queue was shut down.
            RuntimeError: No event loop runs.

        Example:
            >>> import asyncio
            >>> import procession
            >>> async def main():
            ...     queue = procession.Queue(maxsize=1)
            ...     await queue.put_async("the only one")
            ...     return await queue.get_async()
            >>> asyncio.run(main())
            'the only one'
        """
        await _put(self, obj)

    async def get_async(self) -> T:
        """Waits, in a task of asyncio or trio, for an item and returns it.

        No thread waits: the loop is told when there is an item. If the task is cancelled,
        no item is lost. Deadlines are those of the loop, such as `asyncio.timeout`.

        Raises:
            ValueError: This process has closed the queue.
            ShutDown: The queue is empty, and was shut down.
            RuntimeError: No event loop runs.

        Example:
            >>> import asyncio
            >>> import procession
            >>> async def main():
            ...     queue = procession.Queue()
            ...     process = procession.Process(target=queue.put, args=("item",))
            ...     process.start()
            ...     async with asyncio.timeout(10):
            ...         item = await queue.get_async()
            ...     await process.join_async()
            ...     return item
            >>> asyncio.run(main())
            'item'
        """
        from ._awaiting import NOT_YET, try_until

        def attempt() -> T:
            try:
                return self.get(False)
            except Empty:
                return NOT_YET  # type: ignore[no-any-return]

        return await try_until(attempt, self._arm_for_items)

    def __iter__(self) -> Iterator[T]:
        """Yields items until the queue is shut down and empty."""
        while True:
            try:
                yield self.get()
            except ShutDown:
                return

    async def __aiter__(self) -> AsyncIterator[T]:
        """Yields items, as `get_async` does, until the queue is shut down and empty."""
        while True:
            try:
                item = await self.get_async()
            except ShutDown:
                return
            yield item

    def join_thread(self) -> None:
        """Does nothing: what was put is in the queue already.

        Raises:
            AssertionError: The queue is not closed.
        """
        assert self._closed, f"Queue {self!r} not closed"

    def cancel_join_thread(self) -> None:
        """Does nothing: there is no thread, and nothing that could be lost."""

    _reader = _Part(_Reader)
    _writer = _Part(_Writer)

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


async def _put(queue: _procession.Queue, obj: object) -> None:
    from ._awaiting import NOT_YET, try_until

    # Pickled once, here, where an error reaches the caller.
    item = queue._prepare(obj)
    if item is None:
        # The item could not be pickled, and a subclass has dealt with the error.
        return

    def attempt() -> object:
        return None if queue._put_now(item) else NOT_YET

    await try_until(attempt, queue._arm_for_room)


class _Unfinished:
    """Looks like the semaphore that `multiprocessing` counts unfinished tasks with."""

    def __init__(self, queue: _procession.Queue) -> None:
        self._queue = queue

    def get_value(self) -> int:
        """Returns how many tasks are unfinished."""
        return self._queue._unfinished()

    _get_value = get_value

    def _is_zero(self) -> bool:
        return self.get_value() == 0

    @property
    def _semlock(self) -> _Unfinished:
        return self


class _AllDone:
    """Looks like the condition on which `multiprocessing` joins a queue."""

    def __init__(self, queue: _procession.Queue) -> None:
        self._queue = queue

    def __enter__(self) -> bool:
        return True

    def __exit__(self, *_: object) -> None:
        """Does nothing: there is no lock that others would wait for."""

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until all tasks are done; tells whether they were in time."""
        return self._queue._join(timeout)


class JoinableQueue(Queue[T]):
    """A queue that counts the items which are not done yet, as in `multiprocessing`.

    An item is counted in the step that puts it: an item that was not put does not
    count, even if the process that was putting it was killed.

    Example:
        >>> import procession
        >>> def work(jobs):
        ...     for job in iter(jobs.get, None):
        ...         jobs.task_done()
        >>> jobs = procession.JoinableQueue()
        >>> worker = procession.Process(target=work, args=(jobs,))
        >>> worker.start()
        >>> for job in range(10):
        ...     jobs.put(job)
        >>> jobs.join(timeout=30)  # All ten are done.
        >>> jobs.put(None)
        >>> worker.join()
    """

    # What clients of `multiprocessing` read, or wait for with a timeout.
    _unfinished_tasks = _Part(_Unfinished)
    _cond = _Part(_AllDone)

    def task_done(self) -> None:
        """Says that an item which was got is done.

        Raises:
            ValueError: It was called more often than items were put.
        """
        self._task_done()

    def join(self, timeout: float | None = None) -> None:
        """Waits until all items are done.

        Args:
            timeout: Seconds to wait at most; `multiprocessing` knows none.

        Raises:
            TimeoutError: They were not done before the time was over.
        """
        if not self._join(timeout):
            raise context.TimeoutError(
                f"the queue still had {self._unfinished()} unfinished tasks after {timeout} s"
            )

    async def join_async(self) -> None:
        """Waits, in a task of asyncio or trio, until all items are done.

        Raises:
            RuntimeError: No event loop runs.

        Example:
            >>> import asyncio
            >>> import procession
            >>> tasks = procession.JoinableQueue()
            >>> tasks.put("task")
            >>> process = procession.Process(target=tasks.task_done)
            >>> process.start()
            >>> asyncio.run(tasks.join_async())
            >>> process.join()
        """
        from ._awaiting import NOT_YET, try_until

        def attempt() -> object:
            return None if self._join(0) else NOT_YET

        await try_until(attempt, self._arm_for_tasks, all_at_once=True)


class SimpleQueue(_Native[T]):
    """A queue with nothing but `put`, `get`, `empty` and `close`.

    As in `multiprocessing`, except that `put` never waits for room.

    Example:
        >>> import procession
        >>> queue = procession.SimpleQueue()
        >>> queue.put({"a": 1})
        >>> queue.get()
        {'a': 1}
        >>> queue.empty()
        True
        >>> queue.close()
    """

    __dir__ = public_names

    _on_queue_feeder_error = staticmethod(Queue._on_queue_feeder_error)

    def __init_subclass__(cls, pipe: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not pipe and "__getstate__" in vars(cls):
            from ._pipe_queue import SimplePipeQueue

            _derive(cls, SimpleQueue, SimplePipeQueue)

    def __init__(self, *, ctx: context.BaseContext | None) -> None:
        # An executor waits for its reader in a thread, where an error would be lost.
        _procession.bells_must_be_allowed()
        self._create(0)

    def get(self) -> T:  # type: ignore[override]
        """Waits for an item and returns it."""
        item: T = super().get()
        return item

    async def put_async(self, obj: T) -> None:
        """Puts an item, which never waits; as `Queue.put_async`.

        Example:
            >>> import asyncio
            >>> import procession
            >>> async def main():
            ...     queue = procession.SimpleQueue()
            ...     await queue.put_async("item")
            ...     return await queue.get_async()
            >>> asyncio.run(main())
            'item'
        """
        await _put(self, obj)

    async def get_async(self) -> T:
        """Waits, in a task of asyncio or trio, for an item; as `Queue.get_async`."""
        from ._awaiting import NOT_YET, try_until

        get = super().get

        def attempt() -> T:
            try:
                return get(False)
            except Empty:
                return NOT_YET  # type: ignore[no-any-return]

        return await try_until(attempt, self._arm_for_items)

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

    _reader = _Part(_Reader)
    _writer = _Part(_Writer)

    def __getstate__(self) -> tuple[Any, ...]:
        return (self._lend(),)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._attach(state[0])


def __dir__() -> list[str]:
    return public(globals())


# A module whose class notices when programs replace `_ForkingPickler`.
_ForkingPickler = reduction.ForkingPickler
sys.modules[__name__].__class__ = reduction.ModuleWithPickler
