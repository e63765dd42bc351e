"""What awaiting needs of an event loop: signals, and a watch on descriptors.

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
        """A signal that one task awaits, until it is set."""

        def set(self) -> None:
            """Lets the task go on; from the thread of the loop."""

        def fail(self, error: BaseException) -> None:
            """Has the task go on with an error; from the thread of the loop."""

        def set_from_anywhere(self) -> None:
            """As `set`, from any thread; the loop may have ended."""

        def __await__(self) -> Generator[Any, None, None]: ...


__all__ = ["EventLoop", "let_go", "running"]

# Seconds between two looks for processes that were killed before they told of a change.
_PERIOD = 1.0

# The descriptors that each loop watches; a loop that watches none has no entry.
_watched: dict[Hashable, _Watched] = {}


def running() -> EventLoop:
    """Returns the loop that runs the current task.

    Raises:
        RuntimeError: There is none.
    """
    # A program that runs trio has imported it, and no other program is to. A child that was
    # forked in a task of trio may run a loop of asyncio.
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
    """Ends the watch that the loop of this thread keeps on a descriptor, before it is closed.

    Returns:
        The signals of the tasks that wait for the descriptor, in any loop. They are to be set,
        from anywhere, once it is closed: the tasks look again then.
    """
    found: list[Signal] = []
    for watched in list(_watched.values()):
        found += watched.let_go(fd)
    return found


class EventLoop:
    """The loop that runs the current task."""

    # The exception that is raised in a task that is cancelled.
    cancelled: type[BaseException]

    def __init__(self, key: Hashable) -> None:
        self._key = key

    def signal(self) -> Signal:
        """Returns a new signal, that the current task can wait for."""
        raise NotImplementedError

    async def passed(self) -> None:
        """Lets other tasks run, and this one be cancelled, if the library's own calls do so."""
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

        Args:
            act: Does it; it may be called again, after it was cancelled in the middle.
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
        """Waits until one of the descriptors is ready to be read from, or written to.

        Args:
            fds: The descriptors; one that is to be written to is inverted (`~fd`).
            all_at_once: Whether all tasks that wait for a descriptor are told when it is
                ready; otherwise the first that came is told, and the next when that leaves.
            again: Whether this task was told before, and keeps its place at the head of the
                line.
            doubtful: Whether it may be that no process makes a descriptor ready any more; then
                the wait also ends after about a second.
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
        # The watches by descriptor; a descriptor that is watched for writing is
        # inverted.
        self._watches: dict[int, _Watch] = {}
        # Signals that are set every second, whatever the descriptors say.
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
        """Reclaims members of the family that were killed, which wakes those that wait for them.

        A process that makes a change tells the processes that wait for it. If it was killed
        in between, it has told none, and perhaps none has noticed its death.
        """
        _procession.reclaim_dead()
        for signal in list(self.doubtful):
            signal.set()


class _Watch:
    """A descriptor that a loop watches, and the tasks that wait for it."""

    def __init__(self, loop: EventLoop, key: int) -> None:
        self.key = key
        # The tasks in the order in which they came, and whether each is told together
        # with others.
        self.waiting: OrderedDict[Signal, bool] = OrderedDict()
        self.has_failed = False
        self._pid = os.getpid()
        write = key < 0
        fd = ~key if write else key
        self._end = loop.watch(fd, write, self._told, self._failed)

    def is_ours(self) -> bool:
        """Returns whether this process began the watch: a forked child has copies of others.

        The loops of both have one set of descriptors in the kernel, which is the parent's.
        """
        return os.getpid() == self._pid

    def end(self) -> None:
        """Has the loop watch the descriptor no more."""
        if self.is_ours():
            self._end()

    def _told(self) -> None:
        # The first task keeps its place until it has looked; no other task is told
        # before.
        for signal, all_at_once in list(self.waiting.items()):
            signal.set()
            if not all_at_once:
                break

    def _failed(self, error: BaseException) -> None:
        self.has_failed = True
        for signal in list(self.waiting):
            signal.fail(error)
