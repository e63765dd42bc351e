"""Code that engines on other hosts share: the form of their messages, and this host's address."""

from __future__ import annotations

import ipaddress
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

__all__ = ["host_towards", "message_of", "parts_of"]


def message_of(parts: Sequence[Any], beside: Callable[[Any], Any]) -> Any:
    """Returns parts as what an engine carries: bytes, or a list if there are large ones.

    A large part is given as `beside` makes it, in a form that the engine sends without copying
    it into a pickle. Few messages have one, so that engines that walk through lists are not slow.
    """
    first = bytes(parts[0])
    return [first, *map(beside, parts[1:])] if len(parts) > 1 else first


def parts_of(carried: Any) -> Sequence[Any]:
    """Returns the parts of a message again."""
    return [carried] if isinstance(carried, bytes) else carried


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
