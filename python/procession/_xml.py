"""Connections whose messages are XML, for managers with the serializer "xmlrpclib".

As in `multiprocessing.connection`, which re-exports them. Nothing of a message is run
when it is read, unlike with pickle.
"""

from __future__ import annotations

import xmlrpc.client as xmlrpclib
from collections.abc import Callable
from typing import Any, Self

from .connection import Client, Connection, Listener

__all__ = ["ConnectionWrapper", "XmlClient", "XmlListener"]


class ConnectionWrapper:
    """A connection that makes bytes of objects in a way of its own.

    Args:
        conn: The connection that carries them.
        dumps: Returns the bytes of an object.
        loads: Returns the object of bytes.
    """

    def __init__(
        self,
        conn: Connection,
        dumps: Callable[[Any], bytes],
        loads: Callable[[bytes], Any],
    ) -> None:
        self._conn = conn
        self._dumps = dumps
        self._loads = loads
        self.fileno = conn.fileno
        self.close = conn.close
        self.poll = conn.poll
        self.recv_bytes = conn.recv_bytes
        self.send_bytes = conn.send_bytes
        self._recv_bytes_within = conn._recv_bytes_within

    def send(self, obj: Any) -> None:
        """Sends an object."""
        self._conn.send_bytes(self._dumps(obj))

    def recv(self) -> Any:
        """Waits for an object and returns it."""
        return self._loads(self._conn.recv_bytes())

    async def send_async(self, obj: Any) -> None:
        """As `send`, in a task of asyncio or trio."""
        await self._conn.send_bytes_async(self._dumps(obj))

    async def recv_async(self) -> Any:
        """As `recv`, in a task of asyncio or trio."""
        return self._loads(await self._conn.recv_bytes_async())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()


class XmlListener(Listener):
    """A listener whose connections send XML."""

    def accept(self) -> Any:
        """Waits for a client and returns the connection with it."""
        return wrap(super().accept())


def XmlClient(*args: Any, **kwds: Any) -> ConnectionWrapper:
    """Returns a connection that sends XML; the arguments are those of `Client`."""
    return wrap(Client(*args, **kwds))


def wrap(connection: Connection) -> ConnectionWrapper:
    """Has a connection send XML."""
    return ConnectionWrapper(connection, _dumps, _loads)


def _dumps(obj: Any) -> bytes:
    return xmlrpclib.dumps((obj,), allow_none=True).encode()


def _loads(data: bytes) -> Any:
    (obj,), _ = xmlrpclib.loads(data.decode())
    return obj
