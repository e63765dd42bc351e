"""Connections: pipes between relatives, and sockets to anybody who knows the key.

As in `multiprocessing.connection`, with the same bytes on the wire, so that the other
end of a `Client` or `Listener` may be the standard library's. Between relatives a
large message of a `Pipe` lies in the arena, and only its place goes through the pipe.

The sockets of `Listener` and `Client` are made here, by the standard library; what a
connection does is done by the native module.
"""

from __future__ import annotations

import itertools
import os
import sys

from . import _procession, reduction, util
from ._attributes import public, public_names
from ._challenge import (
    CHALLENGE,
    FAILURE,
    MESSAGE_LENGTH,
    WELCOME,
    _create_response,
    _get_digest_name_and_payload,
    _verify_challenge,
    answer_challenge,
    deliver_challenge,
)
from ._descriptors import file_of, past_streams
from ._errors import AuthenticationError, BufferTooShort

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import Any, Self, TypeVar

    from typing_extensions import Buffer

    from ._awaiting import Line
    from ._listening import Guests

    T = TypeVar("T")

__all__ = ["Client", "Connection", "Listener", "Pipe", "wait", "wait_async"]

# The names under which CPython's own code and tests look for them.
_CHALLENGE, _WELCOME, _FAILURE = CHALLENGE, WELCOME, FAILURE
_REEXPORTED = (
    AuthenticationError,
    BufferTooShort,
    MESSAGE_LENGTH,
    _create_response,
    _get_digest_name_and_payload,
    _verify_challenge,
)

# Bytes and seconds; clients of `multiprocessing.connection` read them.
BUFSIZE = 8192
CONNECTION_TIMEOUT = 20.0

families = ["AF_INET", "AF_UNIX"]
default_family = "AF_UNIX"
_mmap_counter = itertools.count()


class Connection(_procession.Connection):
    """One end of a pipe or a socket, as in `multiprocessing`.

    Args:
        handle: The descriptor, which the connection closes in the end.
        readable: Whether it may be read from.
        writable: Whether it may be written to.

    Example:
        >>> from procession.connection import Pipe
        >>> reader, writer = Pipe(duplex=False)
        >>> with reader, writer:
        ...     writer.send([1, "two"])
        ...     print(reader.recv(), reader.readable, reader.writable)
        [1, 'two'] True False
        >>> reader.closed
        True
    """

    __dir__ = public_names

    # Tasks that send through this end, once one has.
    _senders: Line | None = None

    async def send_async(self, obj: Any) -> None:
        """Sends an object, and waits, in a task of asyncio or trio, while there is no room.

        No thread waits. If the task is cancelled before anything has left, nothing has. If
        a part has, the message is cut, and nothing can be sent through this end any more:
        a deadline had better be for all that is sent.

        Raises:
            BrokenPipeError: The other end is closed.
            OSError: This end is closed, or for reading only.
            RuntimeError: No event loop runs.

        Example:
            >>> import asyncio
            >>> from procession.connection import Pipe
            >>> async def main():
            ...     here, there = Pipe()
            ...     with here, there:
            ...         await here.send_async(["an", "object"])
            ...         await here.send_bytes_async(b"bytes")
            ...         return await there.recv_async(), await there.recv_bytes_async()
            >>> asyncio.run(main())
            (['an', 'object'], b'bytes')
        """
        await self._send(self._prepare(obj))

    async def send_bytes_async(
        self, buf: Buffer, offset: int = 0, size: int | None = None
    ) -> None:
        """Sends bytes, and waits, in a task of asyncio or trio; as `send_async`.

        Args:
            buf: The bytes, which are copied.
            offset: As for `send_bytes`.
            size: As for `send_bytes`.
        """
        await self._send(self._prepare_bytes(buf, offset, size))

    async def _send(self, message: _procession.Outgoing) -> None:
        from ._awaiting import NOT_YET, Line, try_until

        def attempt() -> object:
            return None if self._send_now(message) else NOT_YET

        # Tasks take turns, so that messages do not mix, also to strangers.
        if self._senders is None:
            self._senders = Line()
        async with self._senders:
            try:
                # The other end may be closed without any sign.
                await try_until(
                    attempt, lambda: self._arm_to_send(message), doubtful=lambda: True
                )
            except BaseException:
                self._give_up(message)
                raise

    async def recv_async(self) -> Any:
        """Waits, in a task of asyncio or trio, for an object and returns it.

        No thread waits. If the task is cancelled when a part of a message has come, the
        next receiver gets the whole message.

        Raises:
            EOFError: The other end is closed, and nothing is left to receive.
            OSError: This end is closed, or for writing only.
            RuntimeError: No event loop runs.
        """
        return await self._receive(self._recv_now)

    async def recv_bytes_async(self, maxlength: int | None = None) -> bytes:
        """Waits, in a task of asyncio or trio, for a message of bytes; as `recv_async`.

        Args:
            maxlength: As for `recv_bytes`.
        """
        return await self._receive(lambda: self._recv_bytes_now(maxlength))

    async def _receive(self, receive: Callable[[], tuple[T] | None]) -> T:
        from ._awaiting import NOT_YET, try_until

        def attempt() -> T:
            came = receive()
            return NOT_YET if came is None else came[0]

        return await try_until(
            attempt, lambda: ((self._fileno(),), self), doubtful=lambda: self._has_begun
        )

    def close(self) -> None:
        """Closes this end, as in `multiprocessing`; who awaits it gets OSError.

        Example:
            >>> from procession.connection import Pipe
            >>> here, there = Pipe()
            >>> here.close()
            >>> there.poll()  # There is the end to be read.
            True
            >>> there.close()
        """
        event_loops = sys.modules.get(f"{__package__}._event_loops")
        waiting = []
        if event_loops is not None and self._handle is not None:
            waiting = event_loops.let_go(self._handle)
        super().close()
        for signal in waiting:
            signal.set_from_anywhere()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


_ConnectionBase = _procession.Connection


def Pipe(duplex: bool = True) -> tuple[Connection, Connection]:
    """Returns the two ends of a pipe, as in `multiprocessing`.

    Args:
        duplex: Whether both ends can be written to; otherwise only the second can.

    Example:
        >>> from procession.connection import Pipe
        >>> reader, writer = Pipe(duplex=False)
        >>> writer.send({"speed": 88})
        >>> reader.recv()
        {'speed': 88}
    """
    return _procession.pipe(Connection, duplex)


def wait(object_list: Iterable[Any], timeout: float | None = None) -> list[Any]:
    """Returns those of the objects that are ready, once any is or the time is over.

    An object is a descriptor, or has a `fileno()`: connections, sockets and sentinels
    as in `multiprocessing`, and processes, queues and events besides.

    Example:
        >>> import procession
        >>> from procession.connection import wait
        >>> child = procession.Process(target=abs, args=(-1,))
        >>> reader, writer = procession.Pipe(duplex=False)
        >>> child.start()
        >>> wait([child, reader], timeout=30) == [child]  # Nobody has written.
        True
        >>> child.join()
    """
    objects = list(object_list)
    ready = _procession.wait([_thing_of(obj) for obj in objects], timeout)
    return [objects[place] for place in ready]


async def wait_async(object_list: Iterable[Any]) -> list[Any]:
    """Waits, in a task of asyncio or trio, until any of the objects is ready.

    Returns those that are, as `wait` does. No thread waits.

    Raises:
        RuntimeError: No event loop runs.

    Example:
        >>> import asyncio
        >>> import procession
        >>> from procession.connection import wait_async
        >>> here, there = procession.Pipe()
        >>> queue = procession.Queue()
        >>> queue.put("item")
        >>> asyncio.run(wait_async([here, queue])) == [queue]
        True
    """
    from ._awaiting import NOT_YET, try_until

    objects = list(object_list)

    def attempt() -> list[Any]:
        return wait(objects, 0) or NOT_YET

    def arm() -> tuple[list[int], object]:
        things = [_thing_of(obj) for obj in objects]
        return [_fileno_of(thing) for thing in things], things

    return await try_until(attempt, arm, all_at_once=True)


def _fileno_of(thing: int | _procession.Queue | _procession.Event) -> int:
    if isinstance(thing, int):
        return thing
    if isinstance(thing, _procession.Event):
        return thing._fileno()
    return thing.fileno()


def _thing_of(obj: Any) -> int | _procession.Queue | _procession.Event:
    if isinstance(obj, (int, _procession.Queue, _procession.Event)):
        return obj
    # The queue itself is waited for in the place of its reading end, as it is more
    # exact.
    queue = getattr(obj, "_waited_queue", None)
    if isinstance(queue, _procession.Queue):
        return queue
    # A connection whose descriptor the program itself knows is slower.
    fileno = getattr(obj, "fileno" if type(obj) is not Connection else "_fileno", None)
    if fileno is not None:
        number: int = fileno()
        return number
    sentinel = getattr(obj, "sentinel", None)
    if isinstance(sentinel, int):
        return sentinel
    raise ValueError(f"cannot wait for {obj!r}")


# Connections to anybody.


class Listener:
    """Waits for others to connect, as in `multiprocessing`.

    Args:
        address: Where it listens; by default a place that is free.
        family: "AF_INET" or "AF_UNIX"; by default what the address looks like.
        backlog: How many may queue up to be accepted.
        authkey: The key that a process must know to connect; None to ask for none.

    Example:
        >>> import procession
        >>> from procession.connection import Client, Listener
        >>> def call(address):
        ...     with Client(address, authkey=b"secret") as connection:
        ...         connection.send("hello")
        >>> with Listener(authkey=b"secret") as listener:
        ...     child = procession.Process(target=call, args=(listener.address,))
        ...     child.start()
        ...     with listener.accept() as connection:
        ...         print(connection.recv(), listener.is_open())
        ...     print(listener.last_accepted in (None, "", b""))
        ...     child.join()
        hello True
        True
        >>> listener.close()  # A second time does nothing.
    """

    __dir__ = public_names

    def __init__(
        self,
        address: Any = None,
        family: str | None = None,
        backlog: int = 1,
        authkey: bytes | None = None,
    ) -> None:
        family = family or (address and address_type(address)) or default_family
        address = address or arbitrary_address(family)
        _validate_family(family)
        _check_authkey(authkey)
        self._listener: SocketListener | None = SocketListener(address, family, backlog)
        self._authkey = authkey
        self._guests: Guests | None = None

    def accept(self) -> Connection:
        """Waits for somebody to connect; returns the connection.

        With a key, all processes that have connected are asked for it side by side: one
        that keeps silent does not hold up the others.

        Raises:
            OSError: The listener is closed.
            AuthenticationError: A process that connected does not know the key.
        """
        listener = self._open()
        if self._authkey is None:
            return listener.accept()
        if self._guests is None:
            from ._listening import Guests

            self._guests = Guests(listener)
        handle, is_ours = self._guests.accept(self._authkey)
        connection = Connection(handle)
        if is_ours:
            connection._is_ours = True
        return connection

    def close(self) -> None:
        """Stops listening."""
        guests, self._guests = self._guests, None
        if guests is not None:
            guests.close()
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    @property
    def address(self) -> Any:
        """Where it listens."""
        return self._open()._address

    @property
    def last_accepted(self) -> Any:
        """The address of the last process that connected, or None."""
        return self._open()._last_accepted

    def is_open(self) -> bool:
        """Returns whether it listens, and the program has not closed its socket."""
        return self._listener is not None and self._listener.is_open()

    def _open(self) -> SocketListener:
        if self._listener is None:
            raise OSError("listener is closed")
        return self._listener

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def Client(
    address: Any, family: str | None = None, authkey: bytes | None = None
) -> Connection:
    """Returns a connection to the listener at an address, as in `multiprocessing`.

    Raises:
        AuthenticationError: The listener does not know the key, or asks for another.

    Example:
        >>> import threading
        >>> from procession.connection import Client, Listener
        >>> def answer(listener):
        ...     with listener.accept() as connection:
        ...         connection.send(connection.recv().upper())
        >>> with Listener(("localhost", 0)) as listener:
        ...     server = threading.Thread(target=answer, args=(listener,))
        ...     server.start()
        ...     with Client(listener.address) as connection:
        ...         connection.send("shout")
        ...         print(connection.recv())
        ...     server.join()
        SHOUT
    """
    _validate_family(family or address_type(address))
    _check_authkey(authkey)
    connection = SocketClient(address)
    if authkey is not None:
        try:
            answer_challenge(connection, authkey)
            deliver_challenge(connection, authkey)
        except BaseException:
            connection.close()
            raise
    return connection


def _check_authkey(authkey: bytes | None) -> None:
    if authkey is not None and not isinstance(authkey, bytes):
        raise TypeError("authkey should be a byte string")


def arbitrary_address(family: str) -> Any:
    """Returns an address of the family that is free.

    Raises:
        ValueError: There is no such family here.
    """
    if family == "AF_INET":
        return ("localhost", 0)
    if family == "AF_UNIX":
        # Abstract: a killed process would leave a file behind. A socket's file has
        # permissions that keep other users out; here `SocketListener` looks.
        return f"{_OURS_ONLY}{os.getpid()}-{os.urandom(8).hex()}"
    raise ValueError("unrecognized family")


# The beginning of addresses that this module has made up.
_OURS_ONLY = "\0listener-"


def _validate_family(family: str) -> None:
    if family == "AF_PIPE":
        raise ValueError(f"Family {family} is not recognized.")


def address_type(address: Any) -> str:
    """Returns the family that an address belongs to.

    Raises:
        ValueError: It looks like none.
    """
    if type(address) is tuple:
        return "AF_INET"
    if type(address) is str and address.startswith("\\\\"):
        return "AF_PIPE"
    if type(address) is str or util.is_abstract_socket_namespace(address):
        return "AF_UNIX"
    raise ValueError(f"address type of {address!r} unrecognized")


class SocketListener:
    """The socket of a `Listener`."""

    def __init__(self, address: Any, family: str, backlog: int = 1) -> None:
        import socket

        from ._listening import ListeningSocket

        with socket.socket(getattr(socket, family)) as sock:
            self._socket = ListeningSocket(past_streams(sock.detach()))
        self._file = file_of(self._socket.fileno())
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(address)
            self._socket.listen(backlog)
        except OSError:
            self._socket.close()
            raise
        self._address = self._socket.getsockname()
        # Only this user may connect there, as to a file in a directory of mode 700.
        self._is_ours_only = type(address) is str and address.startswith(_OURS_ONLY)
        self._family = family
        self._last_accepted: Any = None
        self._unlink: util.Finalize | None = None
        if family == "AF_UNIX" and not util.is_abstract_socket_namespace(address):
            self._unlink = util.Finalize(
                self, os.unlink, args=(address,), exitpriority=0
            )

    def accept(self) -> Connection:
        """Waits for somebody to connect; returns the connection.

        Raises:
            OSError: The program has closed the socket.
        """
        sock, self._last_accepted = self._accept()
        sock.setblocking(True)
        return Connection(sock.detach())

    def _accept(self) -> tuple[socket.socket, Any]:
        while True:
            self._require_open()
            sock, address = self._socket.accept()
            if self._lets_in(sock):
                return _past_streams(sock), address

    def _accept_at_once(self) -> tuple[socket.socket, Any] | None:
        self._require_open()
        while (came := self._socket.accept_at_once()) is not None:
            sock, address = came
            if self._lets_in(sock):
                return _past_streams(sock), address
        return None

    def _lets_in(self, sock: socket.socket) -> bool:
        if not self._is_ours_only or _user_of(sock) in (0, os.geteuid()):
            return True
        sock.close()
        return False

    def _require_open(self) -> None:
        if not self.is_open():
            raise OSError("the program has closed the socket of this listener")

    def is_open(self) -> bool:
        """Returns whether the socket is open, and its number not another's by now."""
        return self._file is not None and file_of(self._socket.fileno()) == self._file

    def close(self) -> None:
        """Closes the socket and removes its file."""
        try:
            if self.is_open():
                self._socket.close()
            else:
                self._socket.detach()
        finally:
            unlink, self._unlink = self._unlink, None
            if unlink is not None:
                unlink()


def _user_of(sock: socket.socket) -> int:
    """Returns the user id of the other end of a Unix socket (unix(7), SO_PEERCRED)."""
    import socket

    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[4:8], sys.byteorder)


def SocketClient(address: Any) -> Connection:
    """Returns a connection to the socket at an address."""
    import socket

    with socket.socket(getattr(socket, address_type(address))) as sock:
        sock.setblocking(True)
        sock.connect(address)
        return Connection(past_streams(sock.detach()))


def _past_streams(sock: socket.socket) -> socket.socket:
    """Returns the socket with a number that is no standard stream's."""
    import socket

    if sock.fileno() > 2:
        return sock
    return socket.socket(fileno=past_streams(sock.detach()))


# Pickling.


def reduce_connection(conn: Connection) -> tuple[Any, ...]:
    """Reduces a connection to its descriptor, which the other process gets a copy of."""
    return rebuild_connection, (
        reduction.DupFd(conn._fileno()),
        conn.readable,
        conn.writable,
        conn._lend_track(),
    )


def rebuild_connection(
    df: Any,
    readable: bool,
    writable: bool,
    track: tuple[int, int, int] | None = None,
) -> Connection:
    """Returns the connection that another process has reduced."""
    return Connection(df.detach(), readable, writable, _track=track)


reduction.register(Connection, reduce_connection)


def __getattr__(name: str) -> Any:
    """Gives the connections that speak XML to programs that look for them here."""
    if name in ("ConnectionWrapper", "XmlClient", "XmlListener"):
        # Not at the top: managers alone need it, and it imports much.
        from . import _xml

        return getattr(_xml, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return public(globals())


# A module whose class notices when programs replace `_ForkingPickler`.
_ForkingPickler = reduction.ForkingPickler
sys.modules[__name__].__class__ = reduction.ModuleWithPickler
