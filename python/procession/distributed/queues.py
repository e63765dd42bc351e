"""The queues of a cluster's context: what was put is in the hub, and any process may get it.

The names are those of `procession.queues`. Items are pickled where they are put, for any
machine: what means something only on one is refused there.
"""

from __future__ import annotations

from queue import Empty, Full
from types import GenericAlias

from .._errors import TimeoutError
from ..queues import ShutDown, _put_each
from . import _pickling
from ._handle import Handle
from ._session import seconds_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from typing import Any, ClassVar

__all__ = ["JoinableQueue", "Queue", "SimpleQueue"]


class _Items(Handle):
    """What all queues have in common."""

    __class_getitem__: ClassVar[Any] = classmethod(GenericAlias)

    _maxsize: int

    def __init__(self, address: Any, maxsize: int = 0) -> None:
        if not isinstance(maxsize, int):
            raise TypeError(f"maxsize must be a number, not {type(maxsize).__name__}")
        self._maxsize = max(maxsize, 0)
        self._make(address, "queue", self._maxsize)

    def _put(self, obj: object, timeout: float | None) -> None:
        if not self._wait("put", _pickling.dumps(obj), timeout=timeout)[0]:
            most = f"{self._maxsize} item{'s' if self._maxsize > 1 else ''}"
            raise Full(
                f"queue #{self._number} of the hub is full: it holds at most {most}"
            )

    def _get(self, timeout: float | None) -> Any:
        is_there, item = self._wait("get", timeout=timeout)
        if not is_there:
            raise Empty(f"queue #{self._number} of the hub is empty")
        return _pickling.loads(item)

    async def put_async(self, obj: Any) -> None:
        """Puts an item, in a task of asyncio or trio, and waits for room.

        No thread waits, but that a connection to the hub may have to be made. A task that is
        cancelled in the instant in which there is room may have put its item.

        Raises:
            EngineUnavailable: The hub is gone.
            RuntimeError: No event loop runs.
            ShutDown: The queue was shut down.
            TypeError: The item is of this machine.
        """
        await self._call_async("put", _pickling.dumps(obj))

    async def get_async(self) -> Any:
        """Gets an item, in a task of asyncio or trio, and waits for one.

        If the task is cancelled, no item is lost. Deadlines are those of the loop, such as
        `asyncio.timeout`.

        Raises:
            EngineUnavailable: The hub is gone.
            RuntimeError: No event loop runs.
            ShutDown: The queue is empty, and was shut down.
        """
        return _pickling.loads(await self._call_async("get"))


class Queue(_Items):
    """A queue that any process of the cluster puts into and gets from.

    An item that was put is safe, whichever process dies. An item that is on its way to a
    process that dies before it has all of it is given to another.
    """

    # Whether this process has closed it.
    _closed = False

    def put(self, obj: Any, block: bool = True, timeout: float | None = None) -> None:
        """Puts an item, and waits for room.

        Raises:
            Full: There was no room before the time was over.
            ShutDown: The queue was shut down.
            TypeError: The item is of this machine.
            ValueError: This process has closed the queue.
        """
        self._require_open()
        self._put(obj, seconds_of(timeout) if block else 0.0)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Gets an item, and waits for one.

        Raises:
            Empty: There was none before the time was over.
            ShutDown: The queue is empty, and was shut down.
            ValueError: This process has closed the queue.
        """
        self._require_open()
        return self._get(seconds_of(timeout) if block else 0.0)

    async def put_async(self, obj: Any) -> None:
        """As that of `SimpleQueue`.

        Raises:
            ValueError: This process has closed the queue.
        """
        self._require_open()
        await super().put_async(obj)

    async def get_async(self) -> Any:
        """As that of `SimpleQueue`.

        Raises:
            ValueError: This process has closed the queue.
        """
        self._require_open()
        return await super().get_async()

    def put_nowait(self, obj: Any) -> None:
        """Puts an item if there is room."""
        self.put(obj, False)

    def get_nowait(self) -> Any:
        """Gets an item if there is one."""
        return self.get(False)

    def put_many(
        self, items: Iterable[Any], block: bool = True, timeout: float | None = None
    ) -> None:
        """Puts items, in one message where there is room for any number.

        Raises:
            Full: There was no room for all before the time was over; `items_put` of the
                error says how many were put.
        """
        self._require_open()
        if self._maxsize:
            _put_each(self.put, items, block, timeout)
        else:
            self._call("put_many", [_pickling.dumps(item) for item in items])

    def get_many(
        self, max: int, block: bool = True, timeout: float | None = None
    ) -> list[Any]:
        """Gets up to `max` items, and waits for one."""
        self._require_open()
        if max < 0:
            raise ValueError(f"max must be 0 or more, not {max}")
        if max == 0:
            return []
        wait = seconds_of(timeout) if block else 0.0
        is_there, items = self._wait("get_many", max, timeout=wait)
        if not is_there:
            raise Empty(f"queue #{self._number} of the hub is empty")
        return [_pickling.loads(item) for item in items]

    def qsize(self) -> int:
        """Returns how many items it has."""
        size: int = self._call("size")[0]
        return size

    def empty(self) -> bool:
        """Returns whether it has no item."""
        return not self.qsize()

    def full(self) -> bool:
        """Returns whether it has no room."""
        return 0 < self._maxsize <= self.qsize()

    def shutdown(self, immediate: bool = False) -> None:
        """Ends the queue for all processes; `put` raises ShutDown, and `get` when it is empty.

        Args:
            immediate: Whether what is in the queue is thrown away.
        """
        self._call("shutdown", bool(immediate))

    def __iter__(self) -> Iterator[Any]:
        """Yields items until the queue is shut down and empty."""
        while True:
            try:
                yield self.get()
            except ShutDown:
                return

    async def __aiter__(self) -> AsyncIterator[Any]:
        """Yields items, as `get_async` does, until the queue is shut down and empty."""
        while True:
            try:
                item = await self.get_async()
            except ShutDown:
                return
            yield item

    def close(self) -> None:
        """Ends the use of the queue by this process; other processes go on."""
        self._closed = True

    def join_thread(self) -> None:
        """Does nothing: what was put is in the queue already.

        Raises:
            AssertionError: The queue is not closed.
        """
        assert self._closed, f"Queue {self!r} not closed"

    def cancel_join_thread(self) -> None:
        """Does nothing: there is no thread, and nothing that could be lost."""

    def _require_open(self) -> None:
        if self._closed:
            raise ValueError(f"Queue {self!r} is closed")

    def __getstate__(self) -> dict[str, Any]:
        # Closed for one process only.
        return {**super().__getstate__(), "_closed": False}


class JoinableQueue(Queue):
    """A queue that counts the items which are not done yet."""

    def task_done(self) -> None:
        """Says that an item which was got is done.

        Raises:
            ValueError: It was called more often than items were put.
        """
        self._call("task_done")

    def join(self, timeout: float | None = None) -> None:
        """Waits until all items are done.

        Raises:
            TimeoutError: They were not done before the time was over.
        """
        if not self._wait("join", timeout=seconds_of(timeout))[0]:
            left = self._call("size")[1]
            raise TimeoutError(
                f"the queue still had {left} unfinished tasks after {timeout} s"
            )

    async def join_async(self) -> None:
        """Waits, in a task of asyncio or trio, until all items are done."""
        await self._call_async("join")


class SimpleQueue(_Items):
    """A queue without limits and timeouts."""

    def put(self, obj: Any) -> None:
        """Puts an item."""
        self._put(obj, None)

    def get(self) -> Any:
        """Waits for an item and returns it."""
        return self._get(None)

    def empty(self) -> bool:
        """Returns whether it has no item."""
        return not self._call("size")[0]

    def close(self) -> None:
        """Does nothing: a process has nothing open."""
