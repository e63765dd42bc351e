"""Envelopes and answers as bytes: one pickle of plain values, and large parts beside it.

An engine gets opaque bytes; some walk through what they are given item by item.
"""

from __future__ import annotations

import pickle

from .backend import Answer, TaskEnvelope

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Sequence
    from typing import Any

    from .backend import Parts

__all__ = [
    "pack",
    "pack_tasks",
    "receive_exactly",
    "size_of",
    "unpack_answers",
    "unpack_tasks",
]

# Parts of fewer bytes are copied into the pickle.
_BESIDE = 1 << 16


def pack(items: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Returns answers as the parts of a message."""
    beside: list[Any] = []
    rows = [
        (number, outcome, _carried(body, beside), seconds)
        for number, outcome, body, seconds in items
    ]
    return _parts(rows, beside)


def pack_tasks(envelopes: Iterable[TaskEnvelope]) -> list[Any]:
    """Returns envelopes as the parts of a message."""
    beside: list[Any] = []
    rows = [
        (
            each.task,
            each.nonce,
            each.job,
            None if each.job_body is None else _carried(each.job_body, beside),
            each.label,
            each.terms,
            _carried(each.body, beside),
        )
        for each in envelopes
    ]
    return _parts(rows, beside)


def unpack_answers(parts: Sequence[Any]) -> list[Answer]:
    """Returns the answers of a message."""
    return [Answer(*row) for row in pickle.loads(parts[0], buffers=parts[1:])]


def unpack_tasks(parts: Sequence[Any]) -> list[TaskEnvelope]:
    """Returns the envelopes of a message."""
    return [TaskEnvelope(*row) for row in pickle.loads(parts[0], buffers=parts[1:])]


def size_of(parts: Parts) -> int:
    """Returns how many bytes they are."""
    return sum(memoryview(part).nbytes for part in parts)


def receive_exactly(sock: socket.socket, size: int) -> bytearray:
    """Waits for so many bytes.

    Raises:
        EOFError: The other end is closed.
    """
    data = bytearray(size)
    view = memoryview(data)
    while view.nbytes:
        count = sock.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]
    return data


def _parts(rows: list[Any], beside: list[Any]) -> list[Any]:
    """Returns the parts of a message whose large ones are `beside`, in the order of the rows."""
    data = pickle.dumps(rows, protocol=5, buffer_callback=lambda _: None)
    return [data, *beside]


def _carried(parts: Parts, beside: list[Any]) -> list[Any]:
    """Returns what a row has of parts; adds large ones to those that go beside the rows."""
    carried: list[Any] = []
    for part in parts:
        if memoryview(part).nbytes < _BESIDE:
            carried.append(bytes(part))
        else:
            beside.append(part)
            carried.append(pickle.PickleBuffer(part))
    return carried
