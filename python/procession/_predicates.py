"""How conditions wait for a predicate: those of processes, of managers and of clusters."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["WaitsForPredicate"]


class WaitsForPredicate:
    """A condition, which has a method `wait`."""

    if TYPE_CHECKING:

        def wait(self, timeout: float | None = None) -> Any: ...

    def wait_for(
        self, predicate: Callable[[], Any], timeout: float | None = None
    ) -> Any:
        """Waits until the predicate is true or the time is over; returns its value."""
        end = None if timeout is None else time.monotonic() + timeout
        while not (result := predicate()):
            remaining = None if end is None else end - time.monotonic()
            if remaining is not None and remaining <= 0:
                break
            self.wait(remaining)
        return result
