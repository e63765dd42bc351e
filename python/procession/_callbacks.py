"""A thread that calls the callbacks of an executor's futures, while there are any."""

from __future__ import annotations

import functools
import logging
import os
import queue
import threading
import weakref

from ._thread_start import start_daemon

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Caller", "callers"]

# The logger of `concurrent.futures`, which that module uses for the same messages.
_logger = logging.getLogger("concurrent.futures")

# The callers that may still have something to call.
callers: weakref.WeakSet[Caller] = weakref.WeakSet()


class Caller:
    """Calls callbacks in a thread of its own, which ends after a while without any.

    There is no lock in it that a handler of a signal could leave locked by raising.
    """

    # Seconds that the thread waits for another callback.
    PATIENCE = 0.1

    def __init__(self) -> None:
        self._due: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._has_thread = False
        # The number of the thread, once it runs.
        self._ident: int | None = None
        self.pid = os.getpid()
        callers.add(self)

    def add(self, call: Callable[[], object]) -> None:
        """Has a callback called, perhaps twice if this method is interrupted."""
        self._due.put(call)
        if not self._has_thread:
            # Set before the thread is started: the thread may have ended when the start
            # returns.
            self._has_thread = True
            try:
                start_daemon(self._run, "procession-callbacks")
            except BaseException:
                self._has_thread = False
                raise

    def _run(self) -> None:
        self._ident = threading.get_ident()
        while True:
            try:
                call = self._due.get(timeout=self.PATIENCE)
            except queue.Empty:
                # From here on, `add` starts another thread.
                self._has_thread = False
                if self._due.empty():
                    return
                continue
            try:
                call()
            except BaseException:
                # The error is the callback's; the other callbacks must be called
                # nevertheless.
                _logger.exception("a callback ended its thread")
            del call

    def flush(self) -> None:
        """Waits until all that was added has been called, unless this is the thread that calls."""
        if not self._has_thread or self._ident == threading.get_ident():
            return
        called: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.add(functools.partial(called.put, None))
        called.get()
