"""ctypes objects in shared memory, with and without a lock.

As in `multiprocessing.sharedctypes`, except that the objects may be pickled at any
time.
"""

from __future__ import annotations

import ctypes
import operator
import weakref
from types import GenericAlias

from . import heap
from ._attributes import public, public_names
from ._thread_lock import GuardedField, under_lock
from .context import BaseContext, _default_context
from .reduction import ForkingPickler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Generic, TypeVar

    from ._shared_types import (
        Guard,
        MakesArray,
        MakesRawArray,
        MakesRawValue,
        MakesValue,
        SizeOrItems,
    )
    from ._shared_types import Synchronized as Synchronized  # noqa: PLC0414
    from ._shared_types import SynchronizedArray as SynchronizedArray  # noqa: PLC0414
    from ._shared_types import SynchronizedString as SynchronizedString  # noqa: PLC0414
    from ._shared_types import (
        SynchronizedStructure as SynchronizedStructure,  # noqa: PLC0414
    )

    C = TypeVar("C", bound=ctypes._CData)

    class _Guarded(Generic[C]):
        pass

else:
    C = object

    class _Guarded:
        # Not `Generic`: `typing` takes longer to import than all of this package.
        __class_getitem__ = classmethod(GenericAlias)


__all__ = ["Array", "RawArray", "RawValue", "Value", "copy", "synchronized"]

typecode_to_type: dict[Any, Any] = {
    "c": ctypes.c_char,
    "u": ctypes.c_wchar,
    "b": ctypes.c_byte,
    "B": ctypes.c_ubyte,
    "h": ctypes.c_short,
    "H": ctypes.c_ushort,
    "i": ctypes.c_int,
    "I": ctypes.c_uint,
    "l": ctypes.c_long,
    "L": ctypes.c_ulong,
    "q": ctypes.c_longlong,
    "Q": ctypes.c_ulonglong,
    "f": ctypes.c_float,
    "d": ctypes.c_double,
}


if TYPE_CHECKING:
    RawValue: MakesRawValue
    RawArray: MakesRawArray
    Value: MakesValue
    Array: MakesArray
else:

    def RawValue(typecode_or_type: str | type[Any], *args: Any) -> Any:
        """Returns a ctypes object in shared memory, without a lock.

        Example:
            >>> import ctypes
            >>> from procession.sharedctypes import RawValue
            >>> flag = RawValue(ctypes.c_bool, True)
            >>> flag.value
            True
        """
        obj = _new_value(typecode_to_type.get(typecode_or_type, typecode_or_type))
        obj.__init__(*args)
        return obj

    def RawArray(
        typecode_or_type: str | type[Any], size_or_initializer: SizeOrItems
    ) -> ctypes.Array[Any]:
        """Returns a ctypes array in shared memory, without a lock.

        Args:
            typecode_or_type: A code of the module `array`, or a ctypes type.
            size_or_initializer: The length of an array of zeros, or the items.

        Example:
            >>> from procession.sharedctypes import RawArray
            >>> temperatures = RawArray("d", [19.5, 21.0])
            >>> max(temperatures)
            21.0
        """
        item = typecode_to_type.get(typecode_or_type, typecode_or_type)
        _size_of(item)
        array: ctypes.Array[Any]
        if isinstance(size_or_initializer, int):
            array = _new_value(item * size_or_initializer)
        else:
            array = _new_value(item * len(size_or_initializer))
            array.__init__(*size_or_initializer)  # type: ignore[misc]
        return array

    def Value(
        typecode_or_type: str | type[Any],
        *args: Any,
        lock: Any = True,
        ctx: BaseContext | None = None,
    ) -> Any:
        """Returns a ctypes object in shared memory, by default with a lock around it.

        Args:
            typecode_or_type: A code of the module `array`, or a ctypes type.
            *args: The arguments that the type is called with.
            lock: True for a new lock, False for none, or the lock to use.
            ctx: The context whose lock is used.

        Example:
            >>> import ctypes
            >>> from procession.sharedctypes import Value
            >>> class Point(ctypes.Structure):
            ...     _fields_ = [("x", ctypes.c_int), ("y", ctypes.c_int)]
            >>> corner = Value(Point, 3, 4)
            >>> with corner:  # Nobody else changes it meanwhile.
            ...     corner.x, corner.y = corner.y, corner.x
            >>> corner.x, corner.y
            (4, 3)
        """
        return _with_lock(RawValue(typecode_or_type, *args), lock, ctx)

    def Array(
        typecode_or_type: str | type[Any],
        size_or_initializer: SizeOrItems,
        *,
        lock: Any = True,
        ctx: BaseContext | None = None,
    ) -> Any:
        """Returns a ctypes array in shared memory, by default with a lock around it.

        The arguments are those of `RawArray` and `Value`.

        Example:
            >>> from procession.sharedctypes import Array
            >>> name = Array("c", b"procession")
            >>> name.value = b"parade"
            >>> name.value
            b'parade'
        """
        return _with_lock(RawArray(typecode_or_type, size_or_initializer), lock, ctx)


def _with_lock(obj: Any, lock: Any, ctx: BaseContext | None) -> Any:
    if lock is False:
        return obj
    if lock in (True, None):
        lock = (ctx or _default_context.get_context()).RLock()
    if not hasattr(lock, "acquire"):
        raise AttributeError(f"{lock!r} has no method 'acquire'")
    return synchronized(obj, lock, ctx=ctx)


def copy(obj: C) -> C:
    """Returns a copy of a ctypes object, in shared memory.

    Example:
        >>> from procession.sharedctypes import RawValue, copy
        >>> before = RawValue("i", 1)
        >>> after = copy(before)
        >>> after.value = 2
        >>> before.value
        1
    """
    new: C = _new_value(type(obj))
    ctypes.pointer(new)[0] = obj
    return new


def synchronized(obj: Any, lock: Any = None, ctx: BaseContext | None = None) -> Any:
    """Returns a wrapper that takes a lock for each access to a ctypes object.

    Example:
        >>> from procession.sharedctypes import RawValue, synchronized
        >>> total = synchronized(RawValue("q", 10))
        >>> with total.get_lock():
        ...     total.value += 5
        >>> total.value
        15
    """
    assert not isinstance(obj, SynchronizedBase), "object already synchronized"
    ctx = ctx or _default_context.get_context()
    if isinstance(obj, ctypes._SimpleCData):
        return Synchronized(obj, lock, ctx)
    if isinstance(obj, ctypes.Array):
        if obj._type_ is ctypes.c_char:
            return SynchronizedString(obj, lock, ctx)
        return SynchronizedArray(obj, lock, ctx)
    return _wrapper_class(type(obj))(obj, lock, ctx)


# Memory and pickling.


def _new_value(type_: Any) -> Any:
    # The arena's memory is zero, as `multiprocessing` makes it.
    return rebuild_ctype(type_, heap.BufferWrapper(_size_of(type_)), None)


def _size_of(type_: Any) -> int:
    try:
        return ctypes.sizeof(type_)
    except TypeError as error:
        raise _bad_typecode(type_) from error


def _bad_typecode(typecode: object) -> TypeError:
    codes = ", ".join(sorted(typecode_to_type, key=str.lower))
    return TypeError(
        f"bad typecode (must be a ctypes type or one of {codes}): {typecode!r}"
    )


def reduce_ctype(obj: Any) -> tuple[Any, ...]:
    """Reduces a ctypes object in shared memory to its type and its memory."""
    if isinstance(obj, ctypes.Array):
        return rebuild_ctype, (obj._type_, obj._wrapper, obj._length_)  # type: ignore[attr-defined]
    return rebuild_ctype, (type(obj), obj._wrapper, None)


def rebuild_ctype(type_: Any, wrapper: heap.BufferWrapper, length: int | None) -> Any:
    """Returns the ctypes object of a type that lies in a piece of memory."""
    if length is not None:
        type_ = type_ * length
    ForkingPickler.register(type_, reduce_ctype)
    obj = type_.from_buffer(wrapper.create_memoryview())
    obj._wrapper = wrapper
    return obj


# Wrappers with a lock.


class SynchronizedBase(_Guarded[C]):
    """A ctypes object and the lock that guards it, as in `multiprocessing`."""

    __dir__ = public_names

    def __init__(
        self, obj: C, lock: Guard | None = None, ctx: BaseContext | None = None
    ) -> None:
        self._obj = obj
        self._lock: Any = lock or (ctx or _default_context.get_context()).RLock()
        self.acquire: Callable[..., bool] = self._lock.acquire
        self.release: Callable[[], None] = self._lock.release

    def __enter__(self) -> bool:
        entered: bool = self._lock.__enter__()
        return entered

    def __exit__(self, *args: object) -> None:
        self._lock.__exit__(*args)

    def __reduce__(self) -> tuple[Any, ...]:
        return synchronized, (self._obj, self._lock)

    def get_obj(self) -> C:
        """Returns the object without the lock."""
        return self._obj

    def get_lock(self) -> Any:
        """Returns the lock."""
        return self._lock

    def __repr__(self) -> str:
        return f"<{type(self).__name__} wrapper for {self._obj}>"


def make_property(name: str) -> Any:
    """Returns a property that reads and writes a field under the lock."""
    return GuardedField(name, f"The field `{name}`, read and written under the lock.")


if not TYPE_CHECKING:

    class Synchronized(SynchronizedBase):
        """A single value with a lock.

        Example:
            >>> import procession
            >>> total = procession.Value("i", 4)
            >>> with total.get_lock():
            ...     total.value *= 2
            >>> total.value, total.get_obj().value
            (8, 8)
        """

        value = make_property("value")

    class SynchronizedArray(SynchronizedBase):
        """An array with a lock.

        Example:
            >>> import procession
            >>> row = procession.Array("i", range(5))
            >>> with row.get_lock():
            ...     row[0], row[4] = row[4], row[0]
            >>> row[:], sum(row.get_obj())
            ([4, 1, 2, 3, 0], 10)
        """

        def __len__(self) -> int:
            return len(self._obj)

        def __getitem__(self, i: Any) -> Any:
            return under_lock(self._lock, operator.getitem, self._obj, i)

        def __setitem__(self, i: Any, value: Any) -> None:
            under_lock(self._lock, operator.setitem, self._obj, i, value)

        def __getslice__(self, start: int, stop: int) -> Any:
            return self[start:stop]

        def __setslice__(self, start: int, stop: int, values: Any) -> None:
            self[start:stop] = values

    class SynchronizedString(SynchronizedArray):
        """An array of characters with a lock.

        Example:
            >>> import procession
            >>> word = procession.Array("c", 6)
            >>> word.value = b"tea"
            >>> word.value, word.raw, len(word.get_obj()), word.get_lock() is not None
            (b'tea', b'tea...', 6, True)
        """

        value = make_property("value")
        raw = make_property("raw")

    class SynchronizedStructure(SynchronizedBase):
        """A structure with a lock: it has the fields of the structure."""


# The wrapper classes that were made for structures.
class_cache: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


def _wrapper_class(kind: Any) -> Callable[..., Any]:
    """Returns the class that wraps a structure: a property for each of its fields."""
    if kind not in class_cache:
        fields = {field[0]: make_property(field[0]) for field in kind._fields_}
        class_cache[kind] = type(
            f"Synchronized{kind.__name__}", (SynchronizedStructure,), fields
        )
    wrapper: Callable[..., Any] = class_cache[kind]
    return wrapper


def __dir__() -> list[str]:
    return public(globals())
