"""Starts a thread at once, and does not wait until it runs.

`threading.Thread.start` does wait, in code of Python: where a handler of a signal raises
there, the thread can wait for ever for a lock that the starter did not give back.
"""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["start_daemon"]


def start_daemon(run: Callable[[], object], name: str) -> threading.Thread:
    """Starts a thread that does not keep the program from ending; returns it."""
    once = _Once(run)
    thread = threading.Thread(target=once, name=name, daemon=True)
    thread._started = _Flag()  # type: ignore[attr-defined]
    try:
        thread.start()
    except BaseException:
        # It may not have come to the start, and the list of those that are about to may
        # keep it for ever.
        once.run = None
        raise
    return thread


class _Once:
    """Calls a function and lets go of it."""

    def __init__(self, run: Callable[[], object]) -> None:
        self.run: Callable[[], object] | None = run

    def __call__(self) -> None:
        run, self.run = self.run, None
        if run is not None:
            run()


class _Flag:
    """The flag by which a thread says that it runs; nobody waits for it."""

    def __init__(self) -> None:
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True

    def wait(self, timeout: float | None = None) -> bool:
        return True

    def _at_fork_reinit(self) -> None:
        pass
