"""What the processes of test_numpy.py do."""

from pathlib import Path

import numpy as np


def described(arrays: list[np.ndarray]) -> list[tuple]:
    """Tells what arrays are, and that they can be written to."""
    told = []
    for array in arrays:
        array[...] = array.copy()
        told.append(
            (array.shape, str(array.dtype), array.tolist(), array.flags.writeable)
        )
    return told


def overwrite(array) -> float:
    """Writes to every item of its own copy, and returns the sum of what was there."""
    total = float(array.sum())
    array[...] = -1
    return total


def overwrite_what_comes(source, done) -> None:
    """Gets an array, overwrites it, and tells the sum of what was there."""
    array = source.get() if hasattr(source, "get") else source.recv()
    done.put(overwrite(array))


def make(size: int, value: float) -> np.ndarray:
    return np.full(size, value)


def double(array: np.ndarray) -> np.ndarray:
    """Doubles an array in place, and returns it."""
    array *= 2
    return array


def fill(shared, value: float) -> None:
    """Writes to every item of a shared array."""
    np.frombuffer(shared)[:] = value


def same_but_fixed(array):
    """Returns an array like it that may not be written to."""
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def file_of(array) -> str:
    """Returns the name of the file whose pages hold the items of an array, "" if none does."""
    address = array.__array_interface__["data"][0]
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, _, _, _, _, *name = line.split(maxsplit=5)
        first, end = (int(each, 16) for each in place.split("-"))
        if first <= address < end:
            return "".join(name)
    raise AssertionError(f"nothing is mapped at {address:#x}")


def files_of_what_comes(queue, connection) -> list[str]:
    return [file_of(queue.get()), file_of(connection.recv())]
