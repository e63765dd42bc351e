"""Queues for subclasses of `Queue` or `SimpleQueue` that use the pipe themselves.

Some packages (loky is one) replace the thread with which `multiprocessing.Queue` writes
to its pipe, and how a queue is pickled. `queues` derives such a class from one of
these, which have that pipe, its locks and its buffer under the names that the class
knows. They send the bytes of CPython's connections over a pipe of the system, so that a
process outside the family, which such a package has started itself, can be at the other
end.
"""

from __future__ import annotations

import collections
import os
import threading
import time
import weakref
from collections.abc import Iterable
from typing import Any

from . import _descriptors, reduction, util
from ._thread_lock import under_lock
from .connection import Connection
from .queues import Empty, Full, Queue, SimpleQueue, _put_each, _sentinel
from .synchronize import SEM_VALUE_MAX

__all__ = ["PipeQueue", "SimplePipeQueue"]


def _pipe() -> tuple[Connection, Connection]:
    reader, writer = map(_descriptors.past_streams, os.pipe())
    return Connection(reader, writable=False), Connection(writer, readable=False)


# The state that is pickled, in the order of `multiprocessing`: subclasses take such a
# tuple apart, too.
_STATE = (
    "_ignore_epipe",
    "_maxsize",
    "_reader",
    "_writer",
    "_rlock",
    "_wlock",
    "_sem",
    "_opid",
)


class PipeQueue(Queue[Any], pipe=True):
    """A queue with a pipe, and a thread that feeds it."""

    # These hide what the base class has, so that an object can have its own.
    _reader: Any = None
    _writer: Any = None
    _closed: bool = False
    _maxsize: int = 0

    def __init__(self, maxsize: int = 0, *, ctx: Any) -> None:
        self._maxsize = maxsize if maxsize > 0 else SEM_VALUE_MAX
        self._reader, self._writer = _pipe()
        self._rlock, self._wlock = ctx.Lock(), ctx.Lock()
        self._sem = ctx.BoundedSemaphore(self._maxsize)
        self._opid = os.getpid()
        self._ignore_epipe = False
        self._reset()
        util.register_after_fork(self, PipeQueue._after_fork)

    def __getstate__(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in _STATE)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        for name, value in zip(_STATE, state, strict=True):
            setattr(self, name, value)
        self._reset()

    def _after_fork(self) -> None:
        self._reset(after_fork=True)

    def _reset(self, after_fork: bool = False) -> None:
        if after_fork:
            self._notempty._at_fork_reinit()
        else:
            self._notempty: Any = threading.Condition(threading.Lock())
        self._buffer: collections.deque[Any] = collections.deque()
        self._thread: threading.Thread | None = None
        self._jointhread: util.Finalize | None = None
        self._close: util.Finalize | None = None
        self._joincancelled = self._closed = False
        self._send_bytes = self._writer.send_bytes
        self._recv_bytes = self._reader.recv_bytes
        self._poll = self._reader.poll

    def put(self, obj: Any, block: bool = True, timeout: float | None = None) -> None:
        """Puts an item into the buffer, from which the thread feeds the pipe."""
        self._refuse_closed()
        if not self._sem.acquire(block, timeout):
            raise Full(
                f"{_state('full', block, timeout)}: {self._maxsize} items at most"
            )
        under_lock(self._notempty, self._add, obj)

    def _add(self, obj: Any) -> None:
        if self._thread is None:
            self._start_thread()
        self._buffer.append(obj)
        self._notempty.notify()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Waits for an item and returns it."""
        self._refuse_closed()
        end = None if timeout is None else time.monotonic() + timeout
        if not self._rlock.acquire(block, timeout):
            raise Empty(_state("being read by others", block, timeout))
        try:
            if not block and not self._poll():
                raise Empty(_state("empty", block, timeout))
            if block and end is not None and not self._poll(_until(end)):
                raise Empty(_state("empty", block, timeout))
            data = self._recv_bytes()
            self._sem.release()
        finally:
            self._rlock.release()
        return reduction.loads(data)

    def put_many(
        self, items: Iterable[Any], block: bool = True, timeout: float | None = None
    ) -> None:
        """Puts items, one by one."""
        _put_each(self.put, items, block, timeout)

    def get_many(
        self, max: int, block: bool = True, timeout: float | None = None
    ) -> list[Any]:
        """Waits for an item, and returns it with those that are there, up to `max`."""
        items = [self.get(block, timeout)] if max > 0 else []
        while len(items) < max:
            try:
                items.append(self.get(False))
            except Empty:
                break
        return items

    def shutdown(self, immediate: bool = False) -> None:
        """Refuses: a pipe cannot tell other processes that the queue was shut down.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(
            "a queue with a feeder of its own, which writes to a pipe, cannot be shut down: "
            "send a value that means the end, one for each reader"
        )

    def put_nowait(self, obj: Any) -> None:
        """Puts an item if there is room now."""
        self.put(obj, False)

    def get_nowait(self) -> Any:
        """Returns an item if there is one now."""
        return self.get(False)

    def _refuse_closed(self) -> None:
        if self._closed:
            raise ValueError(f"Queue {self!r} is closed")

    def qsize(self) -> int:
        """Returns how many items were put and not got."""
        size: int = self._maxsize - self._sem._semlock._get_value()
        return size

    def empty(self) -> bool:
        """Returns whether the pipe is empty."""
        return not self._poll()

    def full(self) -> bool:
        """Returns whether there is no room."""
        return bool(self._sem._semlock._is_zero())

    def close(self) -> None:
        """Ends the use of the queue by this process; the thread ends when it can."""
        self._closed = True
        close, self._close = self._close, None
        if close is not None:
            close()

    def join_thread(self) -> None:
        """Waits for the thread."""
        super().join_thread()
        if self._jointhread is not None:
            self._jointhread()

    def cancel_join_thread(self) -> None:
        """Lets the process end without waiting for the thread."""
        self._joincancelled = True
        if self._jointhread is not None:
            self._jointhread.cancel()

    def _start_thread(self) -> None:
        self._buffer.clear()
        self._thread = threading.Thread(
            target=self._feed,
            args=(
                self._buffer,
                self._notempty,
                self._send_bytes,
                self._wlock,
                self._reader.close,
                self._writer.close,
                self._ignore_epipe,
                self._on_queue_feeder_error,
                self._sem,
            ),
            name="QueueFeederThread",
            daemon=True,
        )
        self._thread.start()
        if not self._joincancelled:
            self._jointhread = util.Finalize(
                self._thread,
                self._finalize_join,
                [weakref.ref(self._thread)],
                exitpriority=-5,
            )
        self._close = util.Finalize(
            self, self._finalize_close, [self._buffer, self._notempty], exitpriority=10
        )

    @staticmethod
    def _finalize_join(twr: weakref.ref[threading.Thread]) -> None:
        thread = twr()
        if thread is not None:
            thread.join()

    @staticmethod
    def _finalize_close(buffer: Any, notempty: Any) -> None:
        with notempty:
            buffer.append(_sentinel)
            notempty.notify()

    @staticmethod
    def _feed(
        buffer: Any,
        notempty: Any,
        send_bytes: Any,
        writelock: Any,
        reader_close: Any,
        writer_close: Any,
        ignore_epipe: bool,
        onerror: Any,
        queue_sem: Any,
    ) -> None:
        while True:
            with notempty:
                while not buffer:
                    notempty.wait()
                obj = buffer.popleft()
            if obj is _sentinel:
                reader_close()
                writer_close()
                return
            try:
                data = reduction.dumps(obj)
                with writelock:
                    send_bytes(data)
            except Exception as error:
                if ignore_epipe and isinstance(error, BrokenPipeError):
                    return
                if util.is_exiting():
                    util.info("error in queue thread: %s", error)
                    return
                # The item that cannot be sent counts as taken out again.
                queue_sem.release()
                onerror(error, obj)

    @staticmethod
    def _on_queue_feeder_error(e: BaseException, obj: Any) -> None:
        import traceback

        traceback.print_exc()


def _until(end: float) -> float:
    return max(end - time.monotonic(), 0)


def _state(what: str, block: bool, timeout: float | None) -> str:
    """Returns how the queue was during a wait, for the text of errors."""
    if block and timeout is not None and timeout > 0:
        return f"the queue was {what} for {timeout} s"
    return f"the queue is {what}"


class SimplePipeQueue(SimpleQueue[Any], pipe=True):
    """A queue that is nothing but a pipe and its locks."""

    _reader: Any = None
    _writer: Any = None

    def __init__(self, *, ctx: Any) -> None:
        self._reader, self._writer = _pipe()
        self._rlock, self._wlock = ctx.Lock(), ctx.Lock()
        self._poll = self._reader.poll

    def __getstate__(self) -> tuple[Any, ...]:
        return self._reader, self._writer, self._rlock, self._wlock

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._reader, self._writer, self._rlock, self._wlock = state
        self._poll = self._reader.poll

    def get(self) -> Any:  # type: ignore[override]
        """Waits for an item and returns it."""
        return reduction.loads(under_lock(self._rlock, self._reader.recv_bytes))

    def put(self, obj: Any) -> None:  # type: ignore[override]
        """Puts an item; waits while the pipe is full."""
        data = reduction.dumps(obj)
        under_lock(self._wlock, self._writer.send_bytes, data)

    def empty(self) -> bool:
        """Returns whether the pipe is empty."""
        return not self._reader.poll()

    def close(self) -> None:
        """Closes the pipe."""
        self._reader.close()
        self._writer.close()
