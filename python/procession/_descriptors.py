"""Descriptors of the package's own, among those that the program closes.

A program may close any descriptor, and its number then names another file. What the
package keeps is therefore never a standard stream, and is looked at before it is used.
"""

from __future__ import annotations

import os

from ._procession import KeptFd, past_streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["KeptFd", "file_of", "past_streams"]


def file_of(
    fd: int,
    # Bound here, as the module's globals may be gone when the last object uses it.
    fstat: Callable[[int], os.stat_result] = os.fstat,
) -> tuple[int, int] | None:
    """Returns what a descriptor is open on; None if it is closed."""
    try:
        stat = fstat(fd)
    except OSError:
        return None
    return stat.st_dev, stat.st_ino
