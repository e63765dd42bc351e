"""The main module's global variables, as the processes of nodes have them.

A function of the main module crosses by value, with the variables that it reads. In a
process of a node all such functions have their variables in one place, as they have in the
program: what an initializer sets there is what tasks find, and what a task sets stays.

A variable that comes again is ignored as long as the program has not bound its name to
another object meanwhile: the program counts how often it has, and a process keeps the
count of what it took. Else a variable that was set on the node would have the program's
value again with each message, and a function that was defined anew in a notebook would
not arrive.
"""

from __future__ import annotations

import functools
import sys
from threading import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FunctionType
    from typing import Any

__all__ = ["shares_globals", "with_shared_globals"]

# In the program: the object that each name was bound to when it was last sent, and how
# many there were before it.
_sent: dict[str, tuple[object, int]] = {}
_lock = Lock()

# In a process of a node: the variables, and the counts of those that came.
_globals: dict[str, Any] = {}
_counts: dict[str, int] = {}


def shares_globals(function: FunctionType) -> bool:
    """Returns whether a function's variables are those of the main module."""
    main = sys.modules.get("__main__")
    return main is not None and function.__globals__ is main.__dict__


def with_shared_globals(reduced: tuple[Any, ...]) -> tuple[Any, ...]:
    """Returns what `cloudpickle` writes for a function, with its variables in one place."""
    make, (code, module, *rest), state, _, _, fill = reduced
    counts = _count(state[1]["__globals__"].items())
    make_shared = functools.partial(_make_function, make)
    fill_shared = functools.partial(_fill_function, fill, counts)
    return make_shared, (code, module, *rest), state, None, None, fill_shared


def _count(variables: Iterable[tuple[str, object]]) -> dict[str, int]:
    """Returns how often each name was bound to another object than the one before."""
    counts = {}
    with _lock:
        for name, value in variables:
            last, count = _sent.get(name, (None, -1))
            if count < 0 or last is not value:
                count += 1
                _sent[name] = (value, count)
            counts[name] = count
    return counts


def _make_function(
    make: Callable[..., FunctionType], code: Any, module: dict[str, Any], *rest: Any
) -> FunctionType:
    for name, value in module.items():
        _globals.setdefault(name, value)
    return make(code, _globals, *rest)


def _fill_function(
    fill: Callable[..., None],
    counts: dict[str, int],
    function: FunctionType,
    state: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    attributes, slots = state
    new = {}
    for name, value in slots["__globals__"].items():
        if _counts.get(name, -1) < counts[name]:
            _counts[name] = counts[name]
            new[name] = value
    fill(function, (attributes, {**slots, "__globals__": new}))
