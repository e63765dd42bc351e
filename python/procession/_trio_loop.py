"""The loop of trio that runs the current task.

This module is imported from a task of trio, so trio is there already; the package does
not depend on it.
"""

from __future__ import annotations

import sys

from ._event_loops import EventLoop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from typing import Any

__all__ = ["TrioLoop"]

# Not by an import: type checkers need no trio.
_trio: Any = sys.modules["trio"]


class TrioLoop(EventLoop):
    """The loop of trio that runs the current task."""

    cancelled = _trio.Cancelled

    def __init__(self) -> None:
        super().__init__(_trio.lowlevel.current_trio_token())

    def signal(self) -> _Signal:
        """Returns a new signal."""
        return _Signal()

    async def passed(self) -> None:
        """Lets other tasks run, and this one be cancelled."""
        await _trio.lowlevel.checkpoint()

    def watch(
        self,
        fd: int,
        write: bool,
        told: Callable[[], None],
        failed: Callable[[BaseException], None],
    ) -> Callable[[], None]:
        """Has a function called whenever a descriptor is ready; returns what ends that."""
        wait = _trio.lowlevel.wait_writable if write else _trio.lowlevel.wait_readable
        scope = _trio.CancelScope()

        async def watch() -> None:
            with scope:
                try:
                    while not scope.cancel_called:
                        await wait(fd)
                        told()
                # trio refuses a descriptor that another task waits for, say.
                except Exception as error:
                    failed(error)

        _trio.lowlevel.spawn_system_task(watch)
        end: Callable[[], None] = scope.cancel
        return end

    def repeat(self, call: Callable[[], None], period: float) -> Callable[[], None]:
        """Has a function called every so many seconds; returns what ends that."""
        scope = _trio.CancelScope()

        async def repeat() -> None:
            with scope:
                while True:
                    await _trio.sleep(period)
                    call()

        _trio.lowlevel.spawn_system_task(repeat)
        end: Callable[[], None] = scope.cancel
        return end

    def task(self) -> object:
        """Returns the current task."""
        task: object = _trio.lowlevel.current_task()
        return task

    async def uncancelled(self, act: Callable[[], Awaitable[None]]) -> None:
        """Does something to its end, though the task is cancelled meanwhile."""
        with _trio.CancelScope(shield=True):
            await act()


class _Signal:
    def __init__(self) -> None:
        self._token = _trio.lowlevel.current_trio_token()
        self._event = _trio.Event()
        self._error: BaseException | None = None

    def set(self) -> None:
        self._event.set()

    def fail(self, error: BaseException) -> None:
        self._error = error
        self._event.set()

    def set_from_anywhere(self) -> None:
        try:
            self._token.run_sync_soon(self._event.set)
        except _trio.RunFinishedError:
            pass  # No task awaits the signal any more.

    def __await__(self) -> Generator[Any, None, None]:
        yield from self._event.wait().__await__()
        if self._error is not None:
            raise self._error
