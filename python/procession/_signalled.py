"""How a process that was started is ended by a signal, wherever it runs."""

from __future__ import annotations

import signal

TYPE_CHECKING = False

__all__ = ["Signalled"]


class Signalled:
    """The methods of a `Popen` that send signals; a subclass says how one is sent."""

    if TYPE_CHECKING:

        def _send_signal(self, sig: int, tree: bool = False) -> None: ...

    def terminate(self, tree: bool = False) -> None:
        """Sends SIGTERM; with `tree`, to all that the process has started, too."""
        self._send_signal(signal.SIGTERM, tree)

    def kill(self, tree: bool = False) -> None:
        """Sends SIGKILL; with `tree`, to all that the process has started, too."""
        self._send_signal(signal.SIGKILL, tree)

    def interrupt(self) -> None:
        """Sends SIGINT."""
        self._send_signal(signal.SIGINT)
