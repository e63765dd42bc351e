"""What the processes of test_sharedctypes.py do."""

import ctypes


class Point(ctypes.Structure):
    """A structure with two numbers of different kinds."""

    _fields_ = (("x", ctypes.c_int), ("y", ctypes.c_double))


def set_value(shared, value: object) -> None:
    shared.value = value


def get_value(shared) -> object:
    return shared.value


def set_items(shared, items: list) -> None:
    shared[:] = items


def get_items(shared) -> list:
    return shared[:]


def add_under_own_lock(shared, times: int) -> None:
    for _ in range(times):
        with shared.get_lock():
            shared.value += 1


def add_to_all(shared, times: int) -> None:
    for _ in range(times):
        with shared:
            for index in range(len(shared)):
                shared[index] += 1


def double(point, points) -> None:
    """Doubles the numbers of a structure, and of each of an array."""
    for each in (point, *points):
        each.x *= 2
        each.y *= 2


def fill(shared, byte: int) -> None:
    """Writes to every byte of a raw array."""
    ctypes.memset(shared, byte, ctypes.sizeof(shared))
