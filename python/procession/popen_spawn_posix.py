"""Starts a process with a fresh interpreter.

The preparation and the process are pickled into a block of the arena; the engine then
starts an interpreter, or takes one that it has booted ahead, and gives it the block.
"""

from __future__ import annotations

import atexit
import os

from . import _hooks, _procession, popen_fork, spawn
from ._spawning import set_spawning_popen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Popen"]

# They would end with this process in any case; ended here, they are reaped, too.
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
        """Adds a descriptor to those that the child is given; returns its place in the list."""
        self._fds.append(fd)
        return len(self._fds) - 1

    def forget_duplicate(self, place: int) -> None:
        """Removes the latest descriptor from those that the child is given."""
        assert place == len(self._fds) - 1, "they are undone in turn"
        self._fds.pop()

    def _launch(self, process_obj: Any) -> None:
        words = spawn.get_command_line()
        program = spawn.program_and_arguments(words)
        start = _hooks.starter(words)
        name, daemon = process_obj._name, popen_fork.ends_with_parent(process_obj)
        payload = self._pack(process_obj)
        if start is not None:
            child = _procession.spawn_by(start, name, daemon, payload, self._fds)
        else:
            child = _procession.spawn(
                *program,
                name,
                daemon,
                payload,
                self._fds,
                _encoded(process_obj._environment),
                spawn.is_command_line_ours(),
            )
        self._adopt(child)

    def _preparation(self, process_obj: Any) -> dict[str, Any]:
        """Returns what the child must be told before it unpickles anything."""
        preparation = spawn.get_preparation_data(process_obj._name)
        if process_obj._environment:
            preparation["environment"] = process_obj._environment
        if process_obj._limits:
            preparation["limits"] = process_obj.name, process_obj._limits
        if process_obj._pool_channel:
            preparation["pool_channel"] = process_obj._pool_channel
        return preparation

    def _pack(self, process_obj: Any) -> _procession.Payload:
        """Pickles what the child must know, and the process itself."""
        preparation = self._preparation(process_obj)
        _procession.look_at_main()
        set_spawning_popen(self)
        try:
            return _procession.Payload(preparation, process_obj)
        except Exception as error:
            from . import _by_value

            _by_value.explain_start(error, process_obj)
            raise
        finally:
            set_spawning_popen(None)


def _encoded(environment: dict[str, str] | None) -> list[tuple[bytes, bytes]] | None:
    """Returns an environment as the operating system has it."""
    if environment is None:
        return None
    items = environment.items()
    return [(os.fsencode(name), os.fsencode(value)) for name, value in items]
