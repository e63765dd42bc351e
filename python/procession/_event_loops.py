"""What awaiting needs of the loop that runs the current task, whosever loop it is.

`_asyncio_loop` has it for asyncio, whose loops uvloop's are as well, and `_trio_loop` for
trio; programs of anyio run in one of them. No thread waits and nothing is polled: the
loop itself watches descriptors, and other threads wake it by signals.
"""

from __future__ import annotations

import os
import sys
from _thread import get_ident
from collections import OrderedDict
from functools import cache

from . import _procession

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Hashable, Iterable
    from typing import Any, Protocol

    from ._asyncio_loop import AsyncioLoop
    from ._trio_loop import TrioLoop

    class Signal(Protocol):
        """Is awaited by one task, until it is set."""

        def set(self) -> None:
            """Lets the task go on; from the thread of the loop."""

        def fail(self, error: BaseException) -> None:
            """Has the task go on with an error; from the thread of the loop."""

        def set_from_anywhere(self) -> None:
            """As `set`, from any thread, and though the loop may have ended."""

        def __await__(self) -> Generator[Any, None, None]: ...


__all__ = ["EventLoop", "let_go", "running"]

# Seconds between two looks for relatives that were killed before they could tell.
_PERIOD = 1.0

# What is watched, by the loop that watches it; of a loop that watches nothing there is
# no entry.
_watched: dict[Hashable, _Watched] = {}


def running() -> EventLoop:
    """Returns the loop that runs the current task.

    Raises:
        RuntimeError: There is none.
    """
    # In a task of trio it is imported; nobody else is to import it. A child that was forked
    # from one may run a loop of asyncio.
    trio, asyncio = sys.modules.get("trio"), sys.modules.get("asyncio")
    is_asyncios = (
        asyncio is not None
        and asyncio._get_running_loop() is not None
        and asyncio.current_task() is not None
    )
    if trio is not None and not is_asyncios and trio.lowlevel.in_trio_task():
        return _trio_loop()()
    return _asyncio_loop()()


# Not at the top: each imports the loop's library, and takes what is defined here. Cached:
# an import statement takes longer than the rest of a wait.


@cache
def _asyncio_loop() -> type[AsyncioLoop]:
    from ._asyncio_loop import AsyncioLoop

    return AsyncioLoop


@cache
def _trio_loop() -> type[TrioLoop]:
    from ._trio_loop import TrioLoop

    return TrioLoop


def let_go(fd: int) -> list[Signal]:
    """Has the loop of this thread not watch a descriptor any more, as it will be closed.

    Returns:
        What to set, from anywhere, once it is closed: whoever waits for it in any loop
        looks again then.
    """
    found: list[Signal] = []
    for watched in list(_watched.values()):
        found += watched.let_go(fd)
    return found


class EventLoop:
    """The loop that runs the current task."""

    # What a task gets raised that is cancelled.
    cancelled: type[BaseException]

    def __init__(self, key: Hashable) -> None:
        self._key = key

    def signal(self) -> Signal:
        """Returns a new signal, that the current task can wait for."""
        raise NotImplementedError

    async def passed(self) -> None:
        """Lets others go on, and the task be cancelled, where a call always does so."""
        raise NotImplementedError

    def watch(
        self,
        fd: int,
        write: bool,
        told: Callable[[], None],
        failed: Callable[[BaseException], None],
    ) -> Callable[[], None]:
        """Has a function called whenever a descriptor is ready; returns what ends that."""
        raise NotImplementedError

    def repeat(self, call: Callable[[], None], period: float) -> Callable[[], None]:
        """Has a function called every so many seconds; returns what ends that."""
        raise NotImplementedError

    def task(self) -> object:
        """Returns the current task."""
        raise NotImplementedError

    async def uncancelled(self, act: Callable[[], Awaitable[None]]) -> None:
        """Does something to its end, though the task is cancelled meanwhile.

        What may be tried again, when it was cancelled.
        """
        raise NotImplementedError

    async def ready(
        self,
        fds: Iterable[int],
        *,
        all_at_once: bool = False,
        again: bool = False,
        doubtful: bool = False,
    ) -> None:
        """Waits until one of the descriptors may be read from, or written to.

        Args:
            fds: The descriptors; one that is to be written to is inverted (`~fd`).
            all_at_once: Whether what makes one ready is for all who wait for it;
                otherwise who came first is told first, and the next when it leaves.
            again: Whether the caller comes back to its place at the head of the line.
            doubtful: Whether it may be that nobody tells any more; then it is enough to
                have waited for about a second.
        """
        signal = self.signal()
        watched = _watched.get(self._key)
        if watched is None:
            watched = _watched[self._key] = _Watched(self)
        entered = []
        if doubtful:
            watched.doubtful.add(signal)
        try:
            for fd in fds:
                watch = watched.watch(fd)
                watch.waiting[signal] = all_at_once
                if again:
                    watch.waiting.move_to_end(signal, last=False)
                entered.append(watch)
            await signal
        finally:
            watched.doubtful.discard(signal)
            for watch in entered:
                del watch.waiting[signal]
                if not watch.waiting:
                    watched.forget(watch)
            if watched.is_empty() and _watched.get(self._key) is watched:
                watched.end()
                del _watched[self._key]


class _Watched:
    """The descriptors that a loop watches."""

    def __init__(self, loop: EventLoop) -> None:
        self._loop = loop
        # By the descriptor, inverted if it is watched for room.
        self._watches: dict[int, _Watch] = {}
        # Those who look for themselves now and then.
        self.doubtful: set[Signal] = set()
        self._thread = get_ident()
        self.end = loop.repeat(self._look_after_dead, _PERIOD)

    def watch(self, key: int) -> _Watch:
        """Returns the watch of a descriptor, which begins if there is none."""
        watch = self._watches.get(key)
        if watch is None or watch.has_failed:
            watch = self._watches[key] = _Watch(self._loop, key)
        return watch

    def is_empty(self) -> bool:
        """Returns whether nobody waits."""
        return not self._watches and not self.doubtful

    def forget(self, watch: _Watch) -> None:
        """Ends a watch for which nobody waits any more."""
        watch.end()
        if self._watches.get(watch.key) is watch:
            del self._watches[watch.key]

    def let_go(self, fd: int) -> list[Signal]:
        """Ends the watches of a descriptor, in their thread; returns who waits for it."""
        found: list[Signal] = []
        for key in fd, ~fd:
            watch = self._watches.get(key)
            if watch is None or not watch.is_ours():
                continue
            if get_ident() == self._thread:
                del self._watches[key]
                watch.end()
            found += list(watch.waiting)
        return found

    def _look_after_dead(self) -> None:
        """Has relatives that were killed be reclaimed, which tells who waits for them.

        Whoever ends a wait tells so. One that was killed in the middle did not, and
        nobody else may have noticed.
        """
        _procession.reclaim_dead()
        for signal in list(self.doubtful):
            signal.set()


class _Watch:
    """A descriptor that a loop watches, and who waits for it."""

    def __init__(self, loop: EventLoop, key: int) -> None:
        self.key = key
        # In the order in which they came; whether they are told together with others.
        self.waiting: OrderedDict[Signal, bool] = OrderedDict()
        self.has_failed = False
        self._pid = os.getpid()
        write = key < 0
        fd = ~key if write else key
        self._end = loop.watch(fd, write, self._told, self._failed)

    def is_ours(self) -> bool:
        """Returns whether it is this process's: a forked child has its parent's, too.

        The loops of both have one set of descriptors in the kernel, which is the parent's.
        """
        return os.getpid() == self._pid

    def end(self) -> None:
        """Has the loop watch the descriptor no more."""
        if self.is_ours():
            self._end()

    def _told(self) -> None:
        # The first keeps its place until it has looked: so long nobody else is told.
        for signal, all_at_once in list(self.waiting.items()):
            signal.set()
            if not all_at_once:
                break

    def _failed(self, error: BaseException) -> None:
        self.has_failed = True
        for signal in list(self.waiting):
            signal.fail(error)
