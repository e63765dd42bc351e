"""Code that engines on other hosts share: messages in one piece, and this host's address."""

from __future__ import annotations

import ipaddress
import pickle
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

__all__ = ["host_towards", "joined", "separated"]


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


def host_towards(hosts: Iterable[str]) -> str:
    """Returns the address that this machine has on the way to others.

    It is that of the loopback device if all of them are this machine by that address.
    """
    for host in hosts:
        address = socket.gethostbyname(host)
        if not ipaddress.ip_address(address).is_loopback:
            # Nothing is sent: the system chooses the way.
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.connect((address, 9))
                here: str = sock.getsockname()[0]
                return here
    return "127.0.0.1"
