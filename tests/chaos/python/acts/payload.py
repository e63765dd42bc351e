"""Bytes that tell whether they arrived as they were sent."""

import random
import zlib

# Inline in a ring, in a block of its own, in a block that a pipe passes on.
SIZES = (0, 10, 900, 3_000, 70_000, 300_000)


def make(number: int, chance: random.Random) -> bytes:
    """Returns bytes of some size that belong to a number."""
    return bytes([number % 251]) * chance.choice(SIZES)


def check(number: int, data: bytes) -> bool:
    """Tells whether the bytes are those of the number."""
    return data == bytes([number % 251]) * len(data)


def digest(number: int, data: bytes) -> int:
    """Returns a sum over number and bytes."""
    return zlib.crc32(data, number)
