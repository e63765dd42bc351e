"""Structures that a hub keeps: what their fields may be."""

import ctypes

import pytest

pytestmark = pytest.mark.slow


class Number(ctypes.Union):
    _fields_ = (("whole", ctypes.c_uint32), ("bytes", ctypes.c_uint8 * 4))


class Named(ctypes.Structure):
    _anonymous_ = ("number",)
    _fields_ = (("letter", ctypes.c_wchar * 3), ("number", Number))


class More(Named):
    _fields_ = (("more", ctypes.c_double),)


def test_fields_of_unions_and_of_base_classes_and_of_what_is_anonymous(context) -> None:
    more = context.Value(More, "ab")
    more.whole, more.more, more.letter = 0x01020304, 0.5, "xyz"
    assert (more.whole, more.more, more.letter) == (0x01020304, 0.5, "xyz")
    assert sorted(more.bytes) == [1, 2, 3, 4]
    more.bytes[0] = 9
    assert 9 in [*more.number.bytes] and more.whole != 0x01020304
    numbers = context.Array(Number, 2)
    numbers[1].whole = 7
    numbers[0] = numbers[1]
    assert [each.whole for each in numbers] == [7, 7]
    with pytest.raises(AttributeError, match="has no field 'les'"):
        more.les = 1
    with pytest.raises(TypeError, match="a tuple"):
        numbers[0] = 5


class Bits(ctypes.Structure):
    _fields_ = (("low", ctypes.c_uint8, 4), ("high", ctypes.c_uint8, 4))


class Address(ctypes.Structure):
    _fields_ = (("text", ctypes.c_char_p),)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (Bits, NotImplementedError),
        (Address, TypeError),
        (ctypes.py_object, TypeError),
        (ctypes.c_int * 3, NotImplementedError),
        (int, TypeError),
    ],
)
def test_value_that_cannot_be_kept_is_refused_where_it_is_made(
    context, kind, error
) -> None:
    with pytest.raises(error):
        context.Value(kind)
