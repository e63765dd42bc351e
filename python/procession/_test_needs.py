"""What tests of engines need: capabilities, and patience."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    F = TypeVar("F", bound=Callable[..., object])

__all__ = ["PATIENCE", "needs", "wait_until"]

# Seconds after which what must happen has failed.
PATIENCE = 60


def needs(*capabilities: str) -> Callable[[F], F]:
    """Marks a test with what an engine must be capable of; on others it is skipped.

    Example:
        >>> from procession.testing import needs
        >>> @needs("nodes")
        ... def test_of_nodes(self, context): ...
        >>> test_of_nodes.needs
        ('nodes',)
    """

    def mark(test: F) -> F:
        vars(test)["needs"] = capabilities
        return test

    return mark


def wait_until(condition: Callable[[], object]) -> None:
    """Waits for what another process does, and nobody tells of."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it has not happened"
        time.sleep(0.01)
