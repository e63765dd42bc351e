"""Starts a process as a copy of the fork server.

The server keeps copies of itself parked; starting one is handing it the block of the
arena in which everything is pickled that it needs.
"""

from __future__ import annotations

import errno

from . import forkserver, popen_spawn_posix
from .popen_fork import ends_with_parent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Popen"]


class Popen(popen_spawn_posix.Popen):
    """A process that was forked by the fork server."""

    method = "forkserver"

    def _launch(self, process_obj: Any) -> None:
        server = forkserver._forkserver
        payload = self._pack(process_obj)
        self._adopt(
            server.start(
                process_obj._name, ends_with_parent(process_obj), payload, self._fds
            )
        )

    def _preparation(self, process_obj: Any) -> dict[str, Any]:
        preparation = super()._preparation(process_obj)
        if "dir" not in preparation:
            raise FileNotFoundError(
                errno.ENOENT,
                "the working directory is gone, and the fork server cannot put a child"
                " where it was; chdir to one that is there",
            )
        return forkserver._forkserver.unknown(preparation, process_obj)
