"""The values and arrays of a cluster's context, kept by its hub.

The names are those of `procession.sharedctypes`. Each access is a message; one that reads
and then writes is made whole by the lock, as on one machine. There is no memory behind them
that could be mapped: an array is read by `array[:]`.
"""

from __future__ import annotations

import ctypes

from ..sharedctypes import _bad_typecode, typecode_to_type
from ._handle import Handle
from ._parts import Part, packed, read, require_numbers, write_field
from .synchronize import Lock, RLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Array", "Structure", "Value", "value_of"]


class _Cell(Handle):
    """Bytes in the hub that are an object of ctypes."""

    _kind: Any
    _lock: Lock | RLock | None

    def _keep(self, address: Any, obj: Any, lock: Any) -> None:
        if lock in (True, None):
            lock = RLock(address)
        elif lock is False:
            lock = None
        elif not isinstance(lock, (Lock, RLock)) or lock._address != address:
            raise TypeError(
                "lock must be True, False, or a Lock or RLock of the same context, not "
                f"{lock!r}"
            )
        self._lock = lock
        self._make(address, "cell", bytes(obj))

    def _do(self, op: str, *args: Any) -> Any:
        if self._lock is None:
            return self._call(op, *args)
        owner = self._lock._owner()
        return self._lock._call("guarded", owner, self._number, op, args)

    def get_lock(self) -> Lock | RLock:
        """Returns the lock.

        Raises:
            AttributeError: It was made without one.
        """
        if self._lock is None:
            raise AttributeError("it was made with lock=False, and has no lock")
        return self._lock

    def get_obj(self) -> Any:
        """Refuses: there is no memory that processes share."""
        raise NotImplementedError(
            "what a cluster's context keeps is in no memory of this process: use `value` "
            "of a Value, and items or `[:]` of an Array"
        )

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Takes the lock."""
        return self.get_lock().acquire(block, timeout)

    def release(self) -> None:
        """Gives the lock back."""
        self.get_lock().release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def _type_of(typecode_or_type: Any) -> Any:
    """Returns the simple type of ctypes that a code names."""
    kind = typecode_to_type.get(typecode_or_type, typecode_or_type)
    if not isinstance(kind, type):
        raise _bad_typecode(kind)
    if not issubclass(kind, (ctypes._SimpleCData, ctypes.Structure, ctypes.Union)):
        if issubclass(kind, ctypes.Array):
            raise NotImplementedError(
                f"a cluster's context keeps no {kind.__name__} as a value: use its Array, or "
                "a structure with that as a field"
            )
        raise _bad_typecode(kind)
    require_numbers(kind)
    return kind


def value_of(
    address: Any, typecode_or_type: Any, *args: Any, lock: Any = True
) -> Value | Structure:
    """Returns a number, a character or a structure that a hub keeps."""
    kind = _type_of(typecode_or_type)
    if issubclass(kind, ctypes._SimpleCData):
        return Value(address, kind, *args, lock=lock)
    return Structure(address, kind, *args, lock=lock)


class Structure(_Cell):
    """A structure or union whose fields any process of the cluster reads and changes.

    Each field is read and written under the lock; a field that is a structure or an array
    itself is a part, whose fields or items are.
    """

    def __init__(self, address: Any, kind: Any, *args: Any, lock: Any = True) -> None:
        self._kind = kind
        self._keep(address, kind(*args), lock)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            # What is looked for in vain while it is unpickled.
            raise AttributeError(name)
        return getattr(Part(self, self._kind, 0), name)

    def __setattr__(self, name: str, value: object) -> None:
        if name.startswith("_"):
            super().__setattr__(name, value)
        else:
            write_field(self, self._kind, 0, name, value)


class Value(_Cell):
    """A number or character that any process of the cluster reads and changes."""

    def __init__(
        self, address: Any, typecode_or_type: Any, *args: Any, lock: Any = True
    ) -> None:
        self._kind = _type_of(typecode_or_type)
        self._keep(address, self._kind(*args), lock)

    @property
    def value(self) -> Any:
        """The value; it is read and written under the lock."""
        data = self._do("read", 0, None)
        return self._kind.from_buffer_copy(data).value

    @value.setter
    def value(self, value: Any) -> None:
        self._do("write", [(0, bytes(self._kind(value)))])


class Array(_Cell):
    """Numbers, characters or structures that any process of the cluster reads and changes."""

    _length: int

    def __init__(
        self,
        address: Any,
        typecode_or_type: Any,
        size_or_initializer: Any,
        lock: Any = True,
    ) -> None:
        self._kind = _type_of(typecode_or_type)
        if isinstance(size_or_initializer, int):
            if size_or_initializer < 0:
                raise ValueError(
                    f"an array cannot have the length {size_or_initializer}"
                )
            array = (self._kind * size_or_initializer)()
        else:
            items = [*size_or_initializer]
            if isinstance(size_or_initializer, bytes):
                items = [bytes([item]) for item in items]
            array = (self._kind * len(items))(*items)
        self._length = len(array)
        self._keep(address, array, lock)

    def __len__(self) -> int:
        return self._length

    def _place(self, index: int) -> int:
        place = index + self._length if index < 0 else index
        if not 0 <= place < self._length:
            raise IndexError("invalid index")
        return place

    def _read(self) -> Any:
        data = self._do("read", 0, None)
        return (self._kind * self._length).from_buffer_copy(data)

    def __getitem__(self, index: int | slice) -> Any:
        if not isinstance(index, slice):
            begin = self._place(index) * ctypes.sizeof(self._kind)
            return read(self, self._kind, begin)
        if issubclass(self._kind, ctypes._SimpleCData):
            return self._read()[index]
        return [self[place] for place in range(self._length)[index]]

    def __setitem__(self, index: int | slice, value: Any) -> None:
        size = ctypes.sizeof(self._kind)
        if isinstance(index, slice):
            places = range(self._length)[index]
            values = (
                [value[i : i + 1] for i in range(len(value))]
                if isinstance(value, bytes)
                else [*value]
            )
            if len(values) != len(places):
                raise ValueError("Can only assign sequence of same size")
        else:
            places, values = range(self._place(index), self._place(index) + 1), [value]
        pieces = [
            (place * size, packed(self._kind, each))
            for place, each in zip(places, values, strict=True)
        ]
        self._do("write", pieces)

    def _require_characters(self) -> None:
        if self._kind is not ctypes.c_char:
            raise AttributeError("only an array of characters ('c') has that")

    @property
    def value(self) -> bytes:
        """The characters up to the first that is zero."""
        self._require_characters()
        value: bytes = self._read().value
        return value

    @value.setter
    def value(self, value: bytes) -> None:
        self._require_characters()
        array = (ctypes.c_char * self._length)()
        array.value = value
        # As of ctypes: what is behind the text and its zero stays as it is.
        self._do("write", [(0, bytes(array)[: len(value) + 1])])

    @property
    def raw(self) -> bytes:
        """All characters."""
        self._require_characters()
        return bytes(self._read())

    @raw.setter
    def raw(self, value: bytes) -> None:
        self._require_characters()
        if len(value) > self._length:
            raise ValueError("byte string too long")
        self._do("write", [(0, bytes(value))])
