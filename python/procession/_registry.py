"""This process's own object, its parent and its children.

The package's only mutable state about processes. It stands apart from `process` so
that `util` and `process` can both import it without importing each other. A child
rewrites it while it boots; every other change is one assignment, or one operation
of a set, which threads may do at once.
"""

from __future__ import annotations

import os
from itertools import count
from os import P_ALL, WEXITED, WNOHANG, WNOWAIT, waitid

from ._procession import readable_now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from ._procession import Task
    from .process import BaseProcess

# Up to so many children are asked one by one whether they have ended.
_FEW = 8

# After so many starts they are asked though none is known to have ended.
_MOST_UNASKED = 16

__all__ = ["active_children", "current_process", "parent_process"]

current: BaseProcess | None = None
parent: BaseProcess | None = None

# This process as the children see it that it forks.
seen_by_children: Any = None
children: set[BaseProcess] = set()
counter: Iterator[int] = count(1)

# Starts since the children were asked whether they have ended.
_unasked = 0

# What spawn or a fork server has started this process with, until its function is next.
task: Task | None = None

# How many threads of this process pause while it forks: a fork need not warn of them.
threads_that_pause = 0

# Makes a start method the default of a child that a context has started; set by `context`.
force_start_method: Callable[[str], None]


def current_process() -> BaseProcess:
    """Returns the object of the process that asks, as in `multiprocessing`.

    Example:
        >>> import procession
        >>> procession.current_process().name
        'MainProcess'
    """
    # `process` sets it while it is imported, before any caller can be here.
    return current  # type: ignore[return-value]


def parent_process() -> BaseProcess | None:
    """Returns the object of the parent, or None in the main process.

    As in `multiprocessing`.

    Example:
        >>> import procession
        >>> def name_of_parent():
        ...     return procession.parent_process().name
        >>> procession.parent_process() is None
        True
        >>> child = procession.Process(target=name_of_parent)
        >>> child.start()
        >>> child.result()
        'MainProcess'
    """
    return parent


def active_children() -> list[BaseProcess]:
    """Returns the children that still run; those that ended are joined by the way.

    As in `multiprocessing`.

    Example:
        >>> import procession
        >>> go = procession.Event()
        >>> child = procession.Process(target=go.wait)
        >>> child.start()
        >>> procession.active_children() == [child]
        True
        >>> go.set()
        >>> child.join()
        >>> procession.active_children()
        []
    """
    forget_ended()
    return list(children)


def forget_ended() -> None:
    """Drops the children that have ended, and in a forked copy those of its original."""
    if not children:
        return
    pid = os.getpid()
    for child in [*children]:
        if child._parent_pid != pid:
            children.discard(child)
    for child in ended(children):
        children.discard(child)


def make_room() -> None:
    """Drops children that have ended, as another is about to be started.

    To ask each child would make a start the slower, the more of them live. So they are asked if one
    of them is known to wait for that, and now and then for those of a fork server, which reaps them
    itself: few that have ended keep their descriptors meanwhile.
    """
    global _unasked
    if _unasked < _MOST_UNASKED and not _one_waits_to_be_reaped():
        _unasked += 1
        return
    _unasked = 0
    forget_ended()


def _one_waits_to_be_reaped() -> bool:
    try:
        return waitid(P_ALL, 0, WEXITED | WNOHANG | WNOWAIT) is not None
    except ChildProcessError:
        return False  # This process has no children of its own.
    except OSError:
        return True  # It may not look.


def ended(processes: Iterable[BaseProcess]) -> list[BaseProcess]:
    """Returns those of the children that have ended.

    One look at all sentinels tells which children to ask. If the program has closed a
    sentinel, its child is asked, too.
    """
    asked = [process for process in [*processes] if process._popen is not None]
    if len(asked) > _FEW:
        asked = _with_news(asked)
    return [each for each in asked if _has_ended(each._popen)]


def _has_ended(popen: Any) -> bool:
    return popen is not None and popen.poll() is not None


def _with_news(asked: list[BaseProcess]) -> list[BaseProcess]:
    """Returns those of the processes that may have ended."""
    sentinels: list[Any] = [getattr(each._popen, "sentinel", None) for each in asked]
    if not all(isinstance(each, int) and each >= 0 for each in sentinels):
        return asked  # One of them is an object of another package.
    try:
        return [asked[place] for place in readable_now(sentinels)]
    except OSError:
        return asked  # There are more than may be open by now: the limit was lowered.


def become(process: BaseProcess, parent_object: BaseProcess) -> None:
    """Turns the registry of a new child into its own: no children, counting from 1."""
    global current, parent, counter
    current = process
    parent = parent_object
    counter = count(1)
    children.clear()
