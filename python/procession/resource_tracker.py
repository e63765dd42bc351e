"""Tracks nothing: no resource of procession can be left behind.

`multiprocessing` runs a process that removes named semaphores and shared memory which
others forgot. Everything of ours lies in the family's memory file, which the kernel
frees with the last process that has it. The names stay for those who import them.
"""

from __future__ import annotations

import os

__all__ = ["ensure_running", "register", "unregister"]


class ResourceTracker:
    """A tracker without anything to track."""

    _fd: int | None = None
    _pid: int | None = None

    def getfd(self) -> int | None:
        """Returns a descriptor that takes what is written to it, and forgets it."""
        self.ensure_running()
        return self._fd

    def ensure_running(self) -> None:
        """Opens that descriptor, which some hand on to children that they start."""
        if self._fd is None:
            self._fd = os.open(os.devnull, os.O_WRONLY)

    def _check_alive(self) -> bool:
        """Returns True: there is nothing that would have to be started."""
        return True

    def register(self, name: str, rtype: str) -> None:
        """Does nothing."""

    def unregister(self, name: str, rtype: str) -> None:
        """Does nothing."""

    def _stop(self) -> None:
        """Does nothing."""


_resource_tracker = ResourceTracker()
ensure_running = _resource_tracker.ensure_running
register = _resource_tracker.register
unregister = _resource_tracker.unregister
getfd = _resource_tracker.getfd
