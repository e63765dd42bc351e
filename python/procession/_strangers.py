"""Pickling for a process that is no relative, and may not have this package.

The process at the other end of a `Client` or `Listener` may use the standard library's
`multiprocessing`, unless it has told otherwise (`_challenge`). So classes and functions
that have a twin there are written by the twin's name: the reader imports the twin, or
procession's class where procession was installed in its place. Buffers stay inside the
pickle, and the protocol is the one that any reader knows.
"""

from __future__ import annotations

import importlib
import io
from types import FunctionType
from typing import Any

from . import reduction
from .reduction import ForkingPickler

__all__ = ["dumps"]

_OURS = f"{__package__}."

# The modules whose objects mean something to a stranger. Locks and queues are not among
# them: they are places in the memory of a family.
_TWINS = {
    "context",
    "dummy",
    "managers",
    "pool",
    "reduction",
    "resource_sharer",
    "shared_memory",
}

# Names that only procession has, and names that it has at another place.
_WITHOUT_TWIN = {
    ("context", "OwnerDied"),
    ("context", "RemoteError"),
    ("context", "WorkerDied"),
}
_MOVED = {("_outcome", "rebuild_exc"): "pool"}


def dumps(obj: Any) -> memoryview:
    """Returns the pickle of an object, for any reader."""
    if reduction.writes_by_itself():
        return memoryview(reduction.dumps(obj))
    buffer = io.BytesIO()
    _Pickler(buffer).dump(obj)
    return buffer.getbuffer()


class _Pickler(ForkingPickler):
    """Names the twins of our classes and functions."""

    def reducer_override(self, obj: Any) -> Any:
        # A reducer that the program has put on the class comes first.
        others = getattr(ForkingPickler, "reducer_override", None)
        reduced = NotImplemented if others is None else others(self, obj)
        if reduced is not NotImplemented or not isinstance(obj, (type, FunctionType)):
            return reduced
        module = obj.__module__
        if not isinstance(module, str) or not module.startswith(_OURS):
            return NotImplemented
        place = (module.removeprefix(_OURS), obj.__qualname__)
        name = _MOVED.get(place, place[0])
        if place in _WITHOUT_TWIN or name not in _TWINS or "." in place[1]:
            return NotImplemented
        return getattr, (_Module(f"multiprocessing.{name}"), place[1])


class _Module:
    """Stands for a module that only the reader imports."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __reduce__(self) -> tuple[Any, ...]:
        return importlib.import_module, (self._name,)
