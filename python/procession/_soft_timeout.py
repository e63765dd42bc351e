"""What raises `SoftTimeout` in a task of a pool that runs for too long."""

from __future__ import annotations

import os
import signal

from ._errors import SoftTimeout

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
        # The function that runs, and after how many seconds it is told; None when it has
        # ended: the signal may come a moment later.
        self.due: tuple[Callable[..., Any], float] | None = None
        signal.signal(signum, self._ring)

    def _ring(self, signum: int, frame: FrameType | None) -> None:
        due, self.due = self.due, None
        if due is None:
            return
        function, limit = due
        name = getattr(function, "__qualname__", None)
        if name is None:
            # A partial, or an object that can be called.
            task = f"a {type(function).__module__}.{type(function).__qualname__}"
        else:
            task = f"{function.__module__}.{name}"
        pid = os.getpid()
        raise SoftTimeout(
            f"{task} has run for longer than its soft_timeout of {limit} s, in worker "
            f"process {pid}",
            task,
            limit,
            pid,
        )
