"""The running loop of asyncio, or of what stands in for it, such as uvloop."""

from __future__ import annotations

import asyncio
from collections import deque
from weakref import WeakKeyDictionary, ref

from ._event_loops import EventLoop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from typing import Any

__all__ = ["AsyncioLoop"]


class AsyncioLoop(EventLoop):
    """The running loop of asyncio.

    Raises:
        RuntimeError: None runs.
    """

    cancelled = asyncio.CancelledError

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        super().__init__(self._loop)

    def signal(self) -> _Signal:
        """Returns a new signal for the current task to wait for."""
        return _Signal(self._loop)

    async def passed(self) -> None:
        """Does nothing: what can be done at once, asyncio does at once."""

    def watch(
        self,
        fd: int,
        write: bool,
        told: Callable[[], None],
        failed: Callable[[BaseException], None],
    ) -> Callable[[], None]:
        """Has a function called whenever a descriptor is ready; returns what ends that."""
        loop = self._loop
        add, remove = (
            (loop.add_writer, loop.remove_writer)
            if write
            else (loop.add_reader, loop.remove_reader)
        )
        add(fd, told)
        is_watched = True

        def end() -> None:
            nonlocal is_watched
            # Once: another descriptor, which the loop watches too, may have the number by now.
            if is_watched and not loop.is_closed():
                remove(fd)
            is_watched = False

        return end

    def repeat(self, call: Callable[[], None], period: float) -> Callable[[], None]:
        """Has a function called every so many seconds; returns what ends that."""
        loop = self._loop
        handle: asyncio.TimerHandle

        def again() -> None:
            nonlocal handle
            handle = loop.call_later(period, again)
            call()

        handle = loop.call_later(period, again)
        return lambda: handle.cancel()

    def task(self) -> object:
        """Returns the current task."""
        return asyncio.current_task()

    async def uncancelled(self, act: Callable[[], Awaitable[None]]) -> None:
        """Does something to its end, though the task is cancelled meanwhile."""
        cancelled = None
        while True:
            try:
                await act()
                break
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled


class _Inbox:
    """The signals that other threads have set and the loop has not seen yet.

    The loop is woken once for all signals that come meanwhile: a wake-up is a system call.
    """

    def __init__(self) -> None:
        # Weak: a signal knows its loop, and would keep it alive by the table below.
        self._signals: deque[ref[_Signal]] = deque()
        self._is_told = False

    def put(self, signal: _Signal, loop: asyncio.AbstractEventLoop) -> None:
        self._signals.append(ref(signal))
        # Looked at after that: a loop that is woken from here on finds the signal.
        if not self._is_told:
            self._is_told = True
            try:
                loop.call_soon_threadsafe(self._open)
            except RuntimeError:
                pass  # The loop is closed: no task awaits the signal any more.

    def _open(self) -> None:
        # Cleared before the signals are looked at: a thread that adds one later wakes
        # the loop again.
        self._is_told = False
        while self._signals:
            signal = self._signals.popleft()()
            if signal is not None:
                signal.set()


# The inbox of each loop.
_inboxes: WeakKeyDictionary[asyncio.AbstractEventLoop, _Inbox] = WeakKeyDictionary()


class _Signal:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._future: asyncio.Future[None] = loop.create_future()
        inbox = _inboxes.get(loop)
        if inbox is None:
            inbox = _inboxes.setdefault(loop, _Inbox())
        self._inbox = inbox

    def set(self) -> None:
        if not self._future.done():
            self._future.set_result(None)

    def fail(self, error: BaseException) -> None:
        if not self._future.done():
            self._future.set_exception(error)

    def set_from_anywhere(self) -> None:
        self._inbox.put(self, self._loop)

    def __await__(self) -> Generator[Any, None, None]:
        return self._future.__await__()
