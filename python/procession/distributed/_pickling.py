"""Pickling for other machines: what only this machine understands is refused.

What other nodes can import crosses by its name. Functions and classes of the main module,
and those that are defined in functions, cross by value: `cloudpickle` writes them, as it
does for the processes of this machine.
"""

from __future__ import annotations

import io
import pickle
from types import FunctionType

from .. import _by_value, reduction
from ._handle import Handle
from ._main_globals import shares_globals, with_shared_globals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .backend import Parts

__all__ = ["Pickle", "dumps", "dumps_held", "loads", "module_names"]

# Buffers of fewer bytes are copied into the pickle.
_BESIDE = 1 << 16

# Where the classes are whose objects are memory, descriptors or processes of this machine.
_OF_THIS_MACHINE = {
    "_procession",
    "_shared_object",
    "actor",
    "connection",
    "heap",
    "queues",
    "shared_memory",
    "sharedctypes",
    "synchronize",
}

_NAMES = {
    "BufferWrapper": "a shared value or array",
    "socket": "a socket",
}


class Pickle(list[bytes | memoryview]):
    """A pickle and its large buffers, with the handles of a hub that are in it.

    Attributes:
        handles: Their holder keeps their objects alive for the reader.
    """

    handles: tuple[Handle, ...] = ()


def dumps(obj: object) -> list[bytes]:
    """Returns the pickle of an object, and its large buffers, for any reader at any time.

    Raises:
        TypeError: It has something in it that exists only on this machine.
        PicklingError: It cannot be pickled.
    """
    pickled = _dump(obj)[0]
    for handle in pickled.handles:
        handle.keep()
    return [*pickled]


def dumps_held(obj: object, borrows: bool = False) -> Pickle:
    """As `dumps`, for a caller that holds what it returns until the reader has it.

    Args:
        obj: What is pickled.
        borrows: Whether large buffers are the object's own, which stay as they are until
            then, and not copies.
    """
    return _dump(obj, borrows)[0]


def loads(parts: Parts) -> Any:
    """Returns the object."""
    return pickle.loads(parts[0], buffers=parts[1:])


def module_names(obj: object) -> list[str]:
    """Returns the packages that a node must have to unpickle an object."""
    names = {name.partition(".")[0] for name in _dump(obj)[1]}
    return sorted(names - {"__main__", "builtins", "procession"})


def _dump(obj: object, borrows: bool = False) -> tuple[Pickle, set[str]]:
    beside: list[Any] = []

    def take(buffer: pickle.PickleBuffer) -> bool:
        try:
            view = buffer.raw()
        except BufferError:
            return True
        if view.nbytes < _BESIDE:
            return True
        # The program may change it before it is sent, or sent again.
        beside.append(view if borrows else bytes(view))
        return False

    if type(obj) in _PLAIN or (
        isinstance(obj, tuple) and _PLAIN.issuperset(map(type, obj))
    ):
        # Most inputs and results are of these types, whose objects need no check.
        return Pickle([pickle.dumps(obj, 5)]), set()
    sink = io.BytesIO()
    pickler = _kind()(sink, 5, buffer_callback=take)
    pickler.modules = set()
    pickler.handles = []
    try:
        pickler.dump(obj)
    except Exception as error:
        if isinstance(pickler, _ByName) and pickler.lost is not None:
            error.add_note(_by_value.WHAT_TO_DO)
        raise
    pickled = Pickle([sink.getvalue(), *beside])
    pickled.handles = tuple(pickler.handles)
    return pickled, pickler.modules


def _kind() -> Any:
    """Returns the class of picklers; it is made once, with or without `cloudpickle`."""
    base = _by_value.pickler_by_value()
    made = _made.get(base)
    if made is None:
        made = _made[base] = _make(base or _ByName)
    return made


_made: dict[Any, Any] = {}


class _ByName(reduction.ForkingPickler):
    """Refuses what it would have to name in a main module that others do not have."""

    lost: Any = None

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, reduction.WITH_NAMES) and obj.__module__ == "__main__":
            self.lost = obj
            raise pickle.PicklingError(
                f"Can't pickle {obj!r}: no other machine has this program's main module"
            )
        return NotImplemented


def _make(base: Any) -> Any:
    class ToNode(base):  # type: ignore[misc]
        """Writes for a process on any machine."""

        reader = "node"
        modules: set[str]
        handles: list[Handle]

        def reducer_override(self, obj: Any) -> Any:
            kind = type(obj)
            if isinstance(obj, Handle):
                self.handles.append(obj)
                return obj.reduced()
            what = _known.get(kind)
            if what is None:
                what = _known[kind] = _only_here(kind)
            if what:
                raise TypeError(
                    f"{what} of this machine cannot be sent to another: send values, or "
                    "return what the task has to say"
                )
            if isinstance(obj, (type, FunctionType)):
                self.modules.add(obj.__module__ or "builtins")
            reduced = super().reducer_override(obj)
            is_by_value = kind is FunctionType and isinstance(reduced, tuple)
            if is_by_value and shares_globals(obj):
                return with_shared_globals(reduced)
            return reduced

    return ToNode


_PLAIN = {int, float, bool, str, bytes, complex, type(None)}

# What errors call the objects of a class that may not cross; "" for those that may.
_known: dict[type, str] = {}


def _only_here(kind: type) -> str:
    if issubclass(kind, (type, FunctionType)):
        return ""
    for each in kind.__mro__:
        package, _, module = (each.__module__ or "").partition(".")
        ours = package == "procession" and module in _OF_THIS_MACHINE
        if ours or (package == "socket" and each.__name__ == "socket"):
            name = _NAMES.get(each.__name__) or kind.__name__
            return name if name.startswith("a ") else f"a {name}"
    return ""
