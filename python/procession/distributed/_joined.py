"""The parts of a message as one piece, for engines that would look into a list of them."""

from __future__ import annotations

import pickle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["joined", "separated"]


def joined(parts: Sequence[Any]) -> bytes:
    """Returns parts as one."""
    views = [memoryview(part).cast("B") for part in parts]
    head = pickle.dumps([view.nbytes for view in views])
    return b"".join([len(head).to_bytes(4, "little"), head, *views])


def separated(data: bytes) -> list[memoryview]:
    """Returns the parts again."""
    view = memoryview(data)
    begin = 4 + int.from_bytes(view[:4], "little")
    parts = []
    for length in pickle.loads(view[4:begin]):
        parts.append(view[begin : begin + length])
        begin += length
    return parts
