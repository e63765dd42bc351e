"""The values and arrays of a cluster's context, kept by its hub.

The names are those of `procession.sharedctypes`. Each access is a message; one that reads
and then writes is made whole by the lock, as on one machine. There is no memory behind them
that could be mapped: an array is read by `array[:]`.
"""

from __future__ import annotations

import ctypes

from ..sharedctypes import _bad_typecode, typecode_to_type
from ._handle import Handle
from .synchronize import Lock, RLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Array", "Value"]


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
    if not issubclass(kind, ctypes._SimpleCData):
        if issubclass(kind, (ctypes.Structure, ctypes.Union, ctypes.Array)):
            raise NotImplementedError(
                f"a cluster's context keeps numbers and characters, not {kind.__name__}: "
                "use several, an Array, or Manager().Namespace()"
            )
        raise _bad_typecode(kind)
    if issubclass(kind, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_wchar_p)):
        raise TypeError(f"an address means nothing to other machines: {kind.__name__}")
    return kind


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
    """Numbers or characters that any process of the cluster reads and changes."""

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
        if isinstance(index, slice):
            return self._read()[index]
        begin = self._place(index) * ctypes.sizeof(self._kind)
        data = self._do("read", begin, begin + ctypes.sizeof(self._kind))
        return self._kind.from_buffer_copy(data).value

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
            (place * size, bytes(self._kind(each)))
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
