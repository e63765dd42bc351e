"""Starts a thread at once, and does not wait until it runs.

`threading.Thread.start` does wait, in code of Python: where a handler of a signal raises
there, the thread can wait for ever for a lock that the starter did not give back. From
CPython 3.14 on that may be the lock that all threads take as they begin.
"""

from __future__ import annotations

import _thread
import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["start_daemon"]


def start_daemon(run: Callable[[], object], name: str) -> None:
    """Starts a thread that does not keep the program from ending."""
    once = _Once(run)
    try:
        if sys.version_info >= (3, 14):
            _thread.start_new_thread(_run_named, (once, name))
        else:
            thread = threading.Thread(target=once, name=name, daemon=True)
            thread._started = _Flag()  # type: ignore[attr-defined]
            thread.start()
    except BaseException:
        # The thread may not have started, and the list of threads that are about to start
        # may keep it for ever.
        once.run = None
        raise


def _run_named(run: Callable[[], object], name: str) -> None:
    """Calls a function in a thread that `threading` does not know yet."""
    # Handlers run in the main thread only, so nothing interrupts this.
    threading.current_thread().name = name
    run()


class _Once:
    """Calls a function, and keeps no reference to it."""

    def __init__(self, run: Callable[[], object]) -> None:
        self.run: Callable[[], object] | None = run

    def __call__(self) -> None:
        run, self.run = self.run, None
        if run is not None:
            run()


class _Flag:
    """The flag that a thread of `threading` sets when it runs; here no thread waits for it."""

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
