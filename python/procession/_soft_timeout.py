"""Raises `SoftTimeout` in a task of a pool that runs for too long."""

from __future__ import annotations

import os
import signal

from ._errors import SoftTimeout
from ._worker_life import name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

__all__ = ["Alarm"]


class Alarm:
    """Handles the signal of a timer.

    Args:
        signum: The signal.
    """

    def __init__(self, signum: int) -> None:
        # The function that runs, and its limit in seconds; None when it has ended: the
        # signal may come a moment later.
        self.due: tuple[Callable[..., Any], float] | None = None
        signal.signal(signum, self._ring)

    def _ring(self, signum: int, frame: FrameType | None) -> None:
        due, self.due = self.due, None
        if due is None:
            return
        function, limit = due
        task = name_of(function)
        pid = os.getpid()
        raise SoftTimeout(
            f"{task} has run for longer than its soft_timeout of {limit} s, in worker "
            f"process {pid}",
            task,
            limit,
            pid,
        )
