"""The connections by which tasks of event loops call methods of what a manager keeps.

A server answers each connection in a thread of its own, one call after the other. So a
task has a connection for the time of a call, and some are kept for the calls that
follow. No thread waits: the loop watches the connections.
"""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress
from typing import Any

from . import _xml, util
from ._awaiting import writable
from ._challenge import prove_async
from ._descriptors import past_streams
from ._errors import AuthenticationError
from .connection import Client, Connection, address_type

__all__ = ["ServerConnections", "ask", "reach"]

# How many are kept that no task uses: each has a thread in the server.
_MOST = 8


class ServerConnections:
    """The connections of this process to one server that no task uses now."""

    def __init__(self) -> None:
        self._idle: list[Any] = []
        # A child must not use its parent's connections.
        util.register_after_fork(self, ServerConnections.close)

    def take(self) -> Any | None:
        """Returns a connection for one call, or None if there is none."""
        return self._idle.pop() if self._idle else None

    def put(self, connection: Any) -> None:
        """Takes back a connection whose call was answered."""
        if len(self._idle) < _MOST:
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Closes them all."""
        while self._idle:
            self._idle.pop().close()


async def ask(
    connection: Any,
    ident: str | None,
    name: str,
    args: Any = (),
    kwds: dict[str, Any] | None = None,
) -> tuple[str, Any]:
    """Sends a request and waits, in a task, for the answer: its kind and the rest.

    If that fails the connection is closed: an answer that comes late must not be taken
    for that of the next request.
    """
    try:
        await connection.send_async((ident, name, args, kwds or {}))
        kind, result = await connection.recv_async()
    except BaseException:
        connection.close()
        raise
    return kind, result


async def reach(
    client: Any, address: Any, authkey: bytes, other: bytes | None
) -> tuple[Any, bytes]:
    """Connects to a server, in a task.

    Args:
        client: What makes connections of this kind where a thread may wait.
        address: Where the server listens.
        authkey: The key.
        other: A key to try where it is not that one.

    Returns:
        The connection, and the key that the server has taken.

    Raises:
        AuthenticationError: The server takes neither.
        TypeError: What `client` makes cannot be awaited.
    """
    try:
        return await _connect(client, address, authkey), authkey
    except AuthenticationError:
        if other is None or other == authkey:
            raise
        with suppress(AuthenticationError, EOFError, OSError):
            return await _connect(client, address, other), other
        raise


async def _connect(client: Any, address: Any, authkey: bytes) -> Any:
    if client is not Client and client is not _xml.XmlClient:
        raise TypeError(
            f"connections made by {client!r} cannot be awaited: call the method itself,"
            " in a thread (asyncio.to_thread, trio.to_thread.run_sync)"
        )
    with socket.socket(getattr(socket, address_type(address))) as sock:
        sock.setblocking(False)
        await _connect_socket(sock, address)
        sock.setblocking(True)
        connection = Connection(past_streams(sock.detach()))
    try:
        await prove_async(connection, authkey)
    except BaseException:
        connection.close()
        raise
    return connection if client is Client else _xml.wrap(connection)


async def _connect_socket(sock: socket.socket, address: Any) -> None:
    error = sock.connect_ex(address)
    # The server's backlog is full, and nothing tells when it has room.
    while error == errno.EAGAIN:
        await writable(None)
        error = sock.connect_ex(address)
    if error == errno.EINPROGRESS:
        await writable(sock.fileno())
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error), str(address))
