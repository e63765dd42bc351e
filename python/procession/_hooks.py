"""Looks whether a tool has replaced the functions that start interpreters.

Debuggers and profilers do. A start of ours then goes through the tool's function, and
no process is booted ahead.
"""

from __future__ import annotations

import os
import sys

from . import _theirs, util

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Start = Callable[[str, list[int]], int]

__all__ = ["starter"]


def starter(command: Sequence[Any]) -> Start | None:
    """Returns a tool's function that starts command lines; None if there is none.

    It is given the last word and the descriptors that the child must have.
    """
    spawnv_passfds = _replaced()
    if spawnv_passfds is None:
        return None

    def start(last_word: str, fds: list[int]) -> int:
        # As text, except for the interpreter: the tool looks for words in it.
        words = [os.fsdecode(word) for word in command[1:]]
        pid: int = spawnv_passfds(command[0], [command[0], *words, last_word], fds)
        return pid

    return start


def _replaced() -> Callable[..., int] | None:
    """Returns the function by which children are to be started, if that is not ours."""
    if not _theirs.is_own(util.spawnv_passfds, util):
        return util.spawnv_passfds
    theirs = _theirs.module("util")
    if theirs is not None and not _theirs.is_own(theirs.spawnv_passfds, theirs):
        function: Callable[..., int] = theirs.spawnv_passfds
        return function
    # The function that all others call in the end.
    low: Any = sys.modules.get("_posixsubprocess")
    if low is not None and type(low.fork_exec) is not type(len):
        return util.spawnv_passfds
    return None
