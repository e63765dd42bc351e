"""An object that many tasks and processes read: `Shared`.

Its pickle lies in shared memory, where each process that is given the `Shared` finds
it; only a handle crosses. Large buffers, such as the data of arrays, are read in place.
"""

from __future__ import annotations

import io
import itertools
import os
import pickle
import time
import weakref
from types import GenericAlias

from . import reduction
from ._attributes import public_names
from .heap import BufferWrapper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Generic, TypeVar

    T = TypeVar("T")

    class _Generic(Generic[T]):
        """Has a parameter for type checkers."""

else:

    class _Generic:
        __class_getitem__ = classmethod(GenericAlias)


__all__ = ["Shared"]

Layout = tuple[tuple[int, int], ...]

# Where buffers may begin: where numbers of any kind may.
_ALIGNMENT = 64

_numbers = itertools.count()

# The objects that this process has made itself, by key.
_made: weakref.WeakValueDictionary[Any, Shared[Any]] = weakref.WeakValueDictionary()

# The objects that other processes gave it, by key: its next task may be given one
# again.
_given: dict[Any, Shared[Any]] = {}


class Shared(_Generic["T"]):
    """An object that many tasks read, and that is pickled once.

    It is given to tasks and processes like any argument, alone or inside of others, and costs
    them no more than a number does. A process unpickles the object when it first asks for its
    `value`, and then has it for all its tasks. The data of arrays, and other buffers, are in
    shared memory once for all processes; they can be read only.

    A process keeps the object until the maker of the `Shared` has let go of it, and the
    process is given another one.

    Args:
        value: The object. A change of it afterwards is not seen by other processes.

    Raises:
        MemoryError: There is no shared memory for it.
        Exception: The object cannot be pickled.

    Example:
        >>> import procession
        >>> def lookup(table, key):
        ...     return table.value[key]
        >>> table = procession.Shared({number: number**2 for number in range(1000)})
        >>> with procession.Pool(2) as pool:
        ...     print(pool.apply(lookup, (table, 3)), pool.apply(lookup, (table, 4)))
        9 16
    """

    __dir__ = public_names

    def __init__(self, value: T) -> None:
        data, buffers = _pickled(value)
        parts = [memoryview(data), *(buffer.raw() for buffer in buffers)]
        # The first byte tells that the object is not wanted any more.
        end, layout = 1, []
        for part in parts:
            start = -(-end // _ALIGNMENT) * _ALIGNMENT
            end = start + part.nbytes
            layout.append((start, end))
        self._layout: Layout = tuple(layout)
        self._memory = BufferWrapper(end)
        view = self._memory.create_memoryview()
        for (start, end), part in zip(self._layout, parts, strict=True):
            view[start:end] = part
        # A key that no other process of this family makes.
        self._key = os.getpid(), time.monotonic_ns(), next(_numbers)
        self._object = [value]
        _made[self._key] = self
        weakref.finalize(self, _let_go, view, os.getpid()).atexit = False

    @property
    def value(self) -> T:
        """The object; in the process that made it, the very one that it was made of.

        Example:
            >>> import procession
            >>> procession.Shared([1, 2]).value
            [1, 2]
        """
        if not self._object:
            view = self._memory.create_memoryview().toreadonly()
            data, *buffers = (view[start:end] for start, end in self._layout)
            self._object = [pickle.loads(data, buffers=buffers)]
        value: T = self._object[0]
        return value

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (self._key, self._memory, self._layout)

    def __repr__(self) -> str:
        shown = repr(self._object[0]) if self._object else "..."
        if len(shown) > 60:
            shown = f"{shown[:60]}..."
        return f"Shared({shown})"


def _pickled(value: object) -> tuple[Any, list[pickle.PickleBuffer]]:
    """Returns the pickle of an object, and the buffers that are not in it."""
    buffers: list[pickle.PickleBuffer] = []
    file = io.BytesIO()
    try:
        pickler: Any = reduction.ForkingPickler
        pickler(file, 5, buffer_callback=buffers.append).dump(value)
    except Exception:
        # Another way of pickling may succeed, such as by value.
        return reduction.dumps(value), []
    return file.getbuffer(), buffers


def _arrived(key: Any, memory: BufferWrapper, layout: Layout) -> Shared[Any]:
    """Returns the object that another process has given to this one."""
    mine = _made.get(key) or _given.get(key)
    if mine is not None:
        return mine
    for other, shared in [*_given.items()]:
        if shared._memory.create_memoryview()[0]:
            _given.pop(other, None)
    shared = Shared.__new__(Shared)
    shared._key, shared._memory, shared._layout = key, memory, layout
    shared._object = []
    return _given.setdefault(key, shared)


def _let_go(view: memoryview, maker: int) -> None:
    """Tells other processes that nobody will give them the object again."""
    # A forked copy has not made the object.
    if os.getpid() == maker:
        view[0] = 1
