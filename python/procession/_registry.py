"""Who this process is, who started it, and whom it started.

The package's only mutable state about processes. It stands apart from `process` so
that `util` and `process` can both import it without importing each other. A child
rewrites it while it boots; every other change happens under the GIL, one set or
assignment at a time.
"""

from __future__ import annotations

import itertools

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .process import BaseProcess

__all__ = ["active_children", "current_process", "parent_process"]

current: BaseProcess | None = None
parent: BaseProcess | None = None
children: set[BaseProcess] = set()
counter: Iterator[int] = itertools.count(1)


def current_process() -> BaseProcess:
    """Returns the object of the process that asks, as in `multiprocessing`."""
    # It is set while `process` is imported, before anybody can ask.
    return current  # type: ignore[return-value]


def parent_process() -> BaseProcess | None:
    """Returns the object of the parent, or None in the main process.

    As in `multiprocessing`.
    """
    return parent


def active_children() -> list[BaseProcess]:
    """Returns the children that still run; those that ended are joined by the way.

    As in `multiprocessing`.
    """
    forget_ended()
    return list(children)


def forget_ended() -> None:
    """Drops the children that have ended."""
    for child in list(children):
        popen = child._popen
        if popen is not None and popen.poll() is not None:
            children.discard(child)


def become(process: BaseProcess, parent_object: BaseProcess) -> None:
    """Turns the registry of a new child into its own: no children, counting from 1."""
    global current, parent, counter
    current = process
    parent = parent_object
    counter = itertools.count(1)
    children.clear()
