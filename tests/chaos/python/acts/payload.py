"""Bytes, with a lock now and then, that tell whether they arrived as they were sent."""

import random
import zlib
from typing import NamedTuple

import procession

# Inline in a ring, in a block of its own, in a block that a pipe passes on.
SIZES = (0, 10, 900, 3_000, 70_000, 300_000)

# Out of how many payloads one has a lock.
LOCKS = 6


class Payload(NamedTuple):
    """What is sent with a number."""

    data: bytes
    # That nobody else has who is not sent the same.
    lock: object = None


NOTHING = Payload(b"")


def make(number: int, chance: random.Random, far: bool = False) -> Payload:
    """Returns bytes of some size that belong to a number, with or without a lock.

    What goes to other machines (`far`) has none.
    """
    has_lock = chance.randrange(LOCKS) == 0 and not far
    return Payload(data(number, chance), procession.Lock() if has_lock else None)


def data(number: int, chance: random.Random) -> bytes:
    """Returns bytes of some size that belong to a number."""
    return bytes([number % 251]) * chance.choice(SIZES)


def check(number: int, payload: Payload) -> bool:
    """Tells whether the bytes are those of the number, and the lock is one."""
    data, lock = payload
    if lock is not None:
        with lock:
            pass
    return data == bytes([number % 251]) * len(data)


def same(one: Payload, other: Payload) -> bool:
    """Tells whether two are alike; no lock is the same as another."""
    return one.data == other.data and (one.lock is None) == (other.lock is None)


def digest(number: int, payload: Payload) -> int:
    """Returns a sum over number and bytes."""
    return zlib.crc32(payload.data, number)
