"""The fork server of this process: a small interpreter that is forked for each child.

The server is started when it is first needed. It imports what
`set_forkserver_preload` names, by default the program's main module, and then keeps
copies of itself parked; the rest is the engine's.

Names and meaning are those of `multiprocessing.forkserver`.
"""

from __future__ import annotations

import threading

from . import _procession, spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ensure_running", "get_inherited_fds", "set_forkserver_preload"]


class ForkServer:
    """The fork server as the process sees it that started it."""

    def __init__(self) -> None:
        self._forkserver_pid: int | None = None
        self._lock = threading.Lock()
        self._preload_modules: Sequence[str] = ["__main__"]

    def set_forkserver_preload(self, modules_names: Sequence[str]) -> None:
        """Sets what the server imports before it forks; a hint, as it always was.

        Raises:
            TypeError: A name is not text.
        """
        if not all(type(name) is str for name in modules_names):
            raise TypeError("module_names must be a list of strings")
        self._preload_modules = modules_names

    def get_inherited_fds(self) -> list[int] | None:
        """Returns the descriptors that this child was given, or None in the main process."""
        return spawn.inherited_fds

    def ensure_running(self) -> None:
        """Starts the server unless it runs already."""

    def start(
        self, name: str, daemon: bool, payload: _procession.Payload, fds: list[int]
    ) -> _procession.Child:
        """Returns a child that does what the payload says."""
        return _procession.spawn(
            *spawn.program_and_arguments(), name, daemon, payload, fds
        )

    def _stop(self) -> None:
        """Stops the server; tests do."""


_forkserver = ForkServer()
ensure_running = _forkserver.ensure_running
get_inherited_fds = _forkserver.get_inherited_fds
set_forkserver_preload = _forkserver.set_forkserver_preload
