"""The parts of a structure that a hub keeps: each is read and written by a message."""

from __future__ import annotations

import ctypes
from typing import Any, Protocol

__all__ = ["Cell", "Part", "packed", "read", "require_numbers", "write_field"]


class Cell(Protocol):
    """Bytes that a hub keeps."""

    def _do(self, op: str, *args: Any) -> Any: ...


class Part:
    """A structure or a union inside of what a hub keeps.

    What is read of it is read then, and what is written is in the hub at once.

    Args:
        cell: What it is a part of.
        kind: Its type, of ctypes.
        begin: At which byte it begins.
    """

    __slots__ = ("_begin", "_cell", "_kind")

    _begin: int
    _cell: Cell
    _kind: Any

    def __init__(self, cell: Cell, kind: Any, begin: int) -> None:
        for name, value in (("_cell", cell), ("_kind", kind), ("_begin", begin)):
            object.__setattr__(self, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._cell, self._kind, self._begin)

    def __repr__(self) -> str:
        return f"<{self._kind.__name__} in {self._cell!r}>"

    def __getattr__(self, name: str) -> Any:
        kind, offset = _field(self._kind, name)
        return read(self._cell, kind, self._begin + offset)

    def __setattr__(self, name: str, value: object) -> None:
        write_field(self._cell, self._kind, self._begin, name, value)


class ArrayPart(Part):
    """An array inside of a structure."""

    __slots__ = ()

    def __len__(self) -> int:
        length: int = self._kind._length_
        return length

    def __getitem__(self, index: int) -> Any:
        return read(self._cell, self._kind._type_, self._place(index))

    def __setitem__(self, index: int, value: object) -> None:
        piece = self._place(index), packed(self._kind._type_, value)
        self._cell._do("write", [piece])

    def _place(self, index: int) -> int:
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError("invalid index")
        return self._begin + place * ctypes.sizeof(self._kind._type_)


def read(cell: Cell, kind: Any, begin: int) -> Any:
    """Returns a number or character that is there now, text of an array, or a part."""
    if not (issubclass(kind, ctypes._SimpleCData) or _is_text(kind)):
        part = ArrayPart if issubclass(kind, ctypes.Array) else Part
        return part(cell, kind, begin)
    data = cell._do("read", begin, begin + ctypes.sizeof(kind))
    return kind.from_buffer_copy(data).value


def write_field(cell: Cell, kind: Any, begin: int, name: str, value: object) -> None:
    """Changes a field of a structure that begins at a byte.

    Raises:
        AttributeError: It has no such field.
        TypeError: The value is none of the field's type.
    """
    field, offset = _field(kind, name)
    cell._do("write", [(begin + offset, packed(field, value))])


def packed(kind: Any, value: Any) -> bytes:
    """Returns a value as the bytes of its type."""
    if isinstance(value, Part):
        value = value._kind.from_buffer_copy(
            value._cell._do(
                "read", value._begin, value._begin + ctypes.sizeof(value._kind)
            )
        )
    if isinstance(value, kind):
        return bytes(value)
    if issubclass(kind, ctypes._SimpleCData):
        return bytes(kind(value))
    if _is_text(kind):
        text = kind()
        text.value = value
        return bytes(text)
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"expected {kind.__name__} or a tuple, not {value!r}")
    return bytes(kind(*value))


def require_numbers(kind: Any) -> None:
    """Refuses a type that cannot be kept for other machines.

    Raises:
        NotImplementedError: A field has some of the bits of a number.
        TypeError: It has an address in it, which means nothing to them.
    """
    if issubclass(kind, ctypes._SimpleCData):
        if kind._type_ in "PzZO":
            raise TypeError(
                f"an address means nothing to other machines: {kind.__name__}"
            )
    elif issubclass(kind, ctypes.Array):
        require_numbers(kind._type_)
    elif issubclass(kind, (ctypes.Structure, ctypes.Union)):
        for name, field, *bits in _fields(kind):
            if bits:
                raise NotImplementedError(
                    f"{kind.__name__}.{name} has some of the bits of a number, which cannot "
                    "be read or written alone: give it a number of its own"
                )
            require_numbers(field)
    else:
        raise TypeError(f"an address means nothing to other machines: {kind.__name__}")


def _is_text(kind: Any) -> bool:
    return issubclass(kind, ctypes.Array) and kind._type_ in (
        ctypes.c_char,
        ctypes.c_wchar,
    )


def _fields(kind: Any) -> list[tuple[Any, ...]]:
    return [each for base in kind.__mro__ for each in vars(base).get("_fields_", ())]


def _field(kind: Any, name: str) -> tuple[Any, int]:
    """Returns the type of a field, and at which byte of the structure it is."""
    fields = {field[0]: field for field in _fields(kind)}
    if name in fields:
        return fields[name][1], getattr(kind, name).offset
    for base in kind.__mro__:
        for anonymous in vars(base).get("_anonymous_", ()):
            within, offset = _field(kind, anonymous)
            try:
                field, further = _field(within, name)
            except AttributeError:
                continue
            return field, offset + further
    raise AttributeError(f"{kind.__name__} has no field {name!r}")
