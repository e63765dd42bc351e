"""The types of what makes values and arrays: for type checkers only, as they are long."""

import ctypes
from collections.abc import Callable, Iterable, Sequence
from ctypes import _SimpleCData
from typing import (
    Any,
    Generic,
    Literal,
    Protocol,
    SupportsIndex,
    TypeAlias,
    TypeVar,
    overload,
)

from .context import BaseContext
from .sharedctypes import SynchronizedBase

_T = TypeVar("_T")
_C = TypeVar("_C", bound=ctypes._CData)
SizeOrItems: TypeAlias = int | Sequence[Any]
IntegerCode: TypeAlias = Literal["b", "B", "h", "H", "i", "I", "l", "L", "q", "Q"]
FloatCode: TypeAlias = Literal["f", "d"]

class Guard(Protocol):
    """What may be the lock of a value or an array."""

    @property
    def acquire(self) -> Callable[..., Any]: ...
    @property
    def release(self) -> Callable[[], Any]: ...

class MakesRawValue(Protocol):
    """The type of `RawValue`, here and of contexts."""

    @overload
    def __call__(self, typecode_or_type: type[_C], /, *args: Any) -> _C: ...
    @overload
    def __call__(self, typecode_or_type: str, /, *args: Any) -> Any: ...

class MakesRawArray(Protocol):
    """The type of `RawArray`, here and of contexts."""

    @overload
    def __call__(
        self, typecode_or_type: type[_C], size_or_initializer: SizeOrItems
    ) -> ctypes.Array[_C]: ...
    @overload
    def __call__(
        self, typecode_or_type: str, size_or_initializer: SizeOrItems
    ) -> ctypes.Array[Any]: ...

class MakesValue(Protocol):
    """The type of `Value`, here and of contexts."""

    @overload
    def __call__(
        self,
        typecode_or_type: type[_C],
        *args: Any,
        lock: Literal[False],
        ctx: BaseContext | None = None,
    ) -> _C: ...
    @overload
    def __call__(
        self,
        typecode_or_type: str,
        *args: Any,
        lock: Literal[False],
        ctx: BaseContext | None = None,
    ) -> Any: ...
    @overload
    def __call__(
        self,
        typecode_or_type: type[_SimpleCData[_T]],
        *args: Any,
        lock: Literal[True] | Guard | None = True,
        ctx: BaseContext | None = None,
    ) -> Synchronized[_T]: ...
    @overload
    def __call__(
        self,
        typecode_or_type: type[_C],
        *args: Any,
        lock: Literal[True] | Guard | None = True,
        ctx: BaseContext | None = None,
    ) -> SynchronizedStructure[_C]: ...
    @overload
    def __call__(
        self,
        typecode_or_type: IntegerCode,
        *args: Any,
        lock: Literal[True] | Guard | None = True,
        ctx: BaseContext | None = None,
    ) -> Synchronized[int]: ...
    @overload
    def __call__(
        self,
        typecode_or_type: FloatCode,
        *args: Any,
        lock: Literal[True] | Guard | None = True,
        ctx: BaseContext | None = None,
    ) -> Synchronized[float]: ...
    @overload
    def __call__(
        self,
        typecode_or_type: str,
        *args: Any,
        lock: Literal[True] | Guard | None = True,
        ctx: BaseContext | None = None,
    ) -> Synchronized[Any]: ...
    @overload
    def __call__(
        self,
        typecode_or_type: str | type[Any],
        *args: Any,
        lock: bool,
        ctx: BaseContext | None = None,
    ) -> Any: ...

class MakesArray(Protocol):
    """The type of `Array`, here and of contexts."""

    @overload
    def __call__(
        self,
        typecode_or_type: type[_C],
        size_or_initializer: SizeOrItems,
        *,
        lock: Literal[False],
        ctx: BaseContext | None = None,
    ) -> ctypes.Array[_C]: ...
    @overload
    def __call__(
        self,
        typecode_or_type: str,
        size_or_initializer: SizeOrItems,
        *,
        lock: Literal[False],
        ctx: BaseContext | None = None,
    ) -> ctypes.Array[Any]: ...
    @overload
    def __call__(
        self,
        typecode_or_type: type[ctypes.c_char] | Literal["c"],
        size_or_initializer: SizeOrItems,
        *,
        lock: Literal[True] | Guard | None = True,
        ctx: BaseContext | None = None,
    ) -> SynchronizedString: ...
    @overload
    def __call__(
        self,
        typecode_or_type: type[_SimpleCData[_T]],
        size_or_initializer: SizeOrItems,
        *,
        lock: Literal[True] | Guard | None = True,
        ctx: BaseContext | None = None,
    ) -> SynchronizedArray[_T]: ...
    @overload
    def __call__(
        self,
        typecode_or_type: IntegerCode,
        size_or_initializer: SizeOrItems,
        *,
        lock: Literal[True] | Guard | None = True,
        ctx: BaseContext | None = None,
    ) -> SynchronizedArray[int]: ...
    @overload
    def __call__(
        self,
        typecode_or_type: FloatCode,
        size_or_initializer: SizeOrItems,
        *,
        lock: Literal[True] | Guard | None = True,
        ctx: BaseContext | None = None,
    ) -> SynchronizedArray[float]: ...
    @overload
    def __call__(
        self,
        typecode_or_type: str | type[Any],
        size_or_initializer: SizeOrItems,
        *,
        lock: bool | Guard | None = True,
        ctx: BaseContext | None = None,
    ) -> Any: ...

class Synchronized(SynchronizedBase[_SimpleCData[_T]], Generic[_T]):
    """A single value with a lock."""

    value: _T

class SynchronizedArray(SynchronizedBase[ctypes.Array[_SimpleCData[_T]]], Generic[_T]):
    """An array with a lock."""

    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, i: slice) -> list[_T]: ...
    @overload
    def __getitem__(self, i: SupportsIndex) -> _T: ...
    @overload
    def __setitem__(self, i: slice, value: Iterable[_T]) -> None: ...
    @overload
    def __setitem__(self, i: SupportsIndex, value: _T) -> None: ...

class SynchronizedString(SynchronizedArray[bytes]):
    """An array of characters with a lock."""

    value: bytes
    raw: bytes

    @overload  # type: ignore[override]
    def __getitem__(self, i: slice) -> bytes: ...
    @overload
    def __getitem__(self, i: SupportsIndex) -> bytes: ...
    def __setitem__(self, i: SupportsIndex | slice, value: bytes) -> None: ...  # type: ignore[override]

class SynchronizedStructure(SynchronizedBase[_C], Generic[_C]):
    """A structure with a lock: it has its fields."""

    def __getattr__(self, name: str) -> Any: ...
    def __setattr__(self, name: str, value: Any) -> None: ...
