"""Starts a process with a fresh interpreter.

What the child needs is pickled into a block of the arena; the engine then starts an
interpreter, or takes one that it has booted ahead, and gives it the block.
"""

from __future__ import annotations

import atexit
import os

from . import _procession, popen_fork, spawn
from ._spawning import set_spawning_popen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Popen"]

# They end with this process in any case; this way they are reaped, too.
atexit.register(_procession.end_spares)


class _DupFd:
    """A descriptor of the parent: its place among those that the child is given."""

    def __init__(self, ind: int) -> None:
        self.ind = ind

    def detach(self) -> int:
        """Returns the descriptor, in the child."""
        fds = spawn.inherited_fds
        assert fds is not None, "only a child unpickles this"
        return fds[self.ind]


class Popen(popen_fork.Popen):
    """A process that was started with a fresh interpreter."""

    method = "spawn"
    DupFd: Any = _DupFd

    def __init__(self, process_obj: Any) -> None:
        self._fds: list[int] = []
        super().__init__(process_obj)

    def duplicate_for_child(self, fd: int) -> int:
        """Has the child be given a descriptor; returns its place in the list."""
        self._fds.append(fd)
        return len(self._fds) - 1

    def _launch(self, process_obj: Any) -> None:
        self._adopt(
            _procession.spawn(
                *spawn.program_and_arguments(),
                process_obj._name,
                process_obj.daemon,
                self._pack(process_obj),
                self._fds,
                _encoded(process_obj._environment),
            )
        )

    def _preparation(self, process_obj: Any) -> dict[str, Any]:
        """Returns what the child must be told before it unpickles anything."""
        return spawn.get_preparation_data(process_obj._name)

    def _pack(self, process_obj: Any) -> _procession.Payload:
        """Pickles what the child must know, and the process itself."""
        preparation = self._preparation(process_obj)
        set_spawning_popen(self)
        try:
            return _procession.Payload(preparation, process_obj)
        finally:
            set_spawning_popen(None)


def _encoded(environment: dict[str, str] | None) -> list[tuple[bytes, bytes]] | None:
    """Returns an environment as the operating system has it."""
    if environment is None:
        return None
    items = environment.items()
    return [(os.fsencode(name), os.fsencode(value)) for name, value in items]
