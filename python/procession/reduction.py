"""Pickling for other processes: the pickler, its reducers, and descriptors.

`ForkingPickler` and the functions have the names and the meaning that they have in
`multiprocessing.reduction`. Its table of reducers is the one that queues, pipes and
pools use too, inside the native module: whatever is registered here crosses by any of
them. Sockets are known to the table without importing the module `socket`, which
would cost a spawned child several milliseconds.
"""

from __future__ import annotations

import copyreg
import functools
import io
import sys

# The C pickler itself: the module `pickle` would only add its twin in Python, and
# `re` with it.
from _pickle import Pickler, loads
from abc import ABCMeta

from ._spawning import get_spawning_popen

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence
    from typing import Any

__all__ = [
    "DupFd",
    "ForkingPickler",
    "dump",
    "recv_handle",
    "recvfds",
    "register",
    "send_handle",
    "sendfds",
]

HAVE_SEND_HANDLE = True
ACKNOWLEDGE = False


class _ReducerTable(dict["type", "Callable[[Any], Any]"]):
    """The registered reducers, copyreg's, the one for sockets, the standard library's."""

    def __missing__(self, kind: type) -> Callable[[Any], Any]:
        reducer = copyreg.dispatch_table.get(kind)
        if reducer is not None:
            return reducer
        # Whoever pickles a socket has imported its module.
        if kind is getattr(sys.modules.get("socket"), "socket", None):
            return _reduce_socket
        # What was registered with the standard library's package, if that is in use too.
        theirs = sys.modules.get("multiprocessing.reduction")
        if theirs is not None and theirs.__name__ == "multiprocessing.reduction":
            registered: dict[type, Callable[[Any], Any]]
            registered = theirs.ForkingPickler._extra_reducers
            return registered[kind]
        raise KeyError(kind)


class ForkingPickler(Pickler):
    """A pickler that knows the registered reducers, as in `multiprocessing`."""

    _extra_reducers = _ReducerTable()
    _copyreg_dispatch_table = copyreg.dispatch_table
    dispatch_table = _extra_reducers

    @classmethod
    def register(cls, type: type, reduce: Callable[[Any], Any]) -> None:
        """Registers a function that reduces the objects of a type."""
        cls._extra_reducers[type] = reduce

    @classmethod
    def dumps(cls, obj: Any, protocol: int | None = None) -> memoryview:
        """Returns the pickle of an object."""
        buffer = io.BytesIO()
        cls(buffer, protocol).dump(obj)
        return buffer.getbuffer()

    loads = staticmethod(loads)


register = ForkingPickler.register


def dump(obj: Any, file: Any, protocol: int | None = None) -> None:
    """Writes the pickle of an object to a file, as in `multiprocessing`."""
    ForkingPickler(file, protocol).dump(obj)


# Descriptors.


def sendfds(sock: socket.socket, fds: Sequence[int]) -> None:
    """Sends descriptors over a Unix socket, with their number as the message."""
    import array
    import socket

    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
    sock.sendmsg([bytes([len(fds) % 256])], [rights])


def recvfds(sock: socket.socket, size: int) -> list[int]:
    """Receives up to `size` descriptors from a Unix socket.

    Raises:
        EOFError: The other end is closed.
        RuntimeError: Something else than descriptors came.
    """
    import array
    import socket

    fds = array.array("i")
    message, ancillary, _, _ = sock.recvmsg(1, socket.CMSG_SPACE(fds.itemsize * size))
    if not message and not ancillary:
        raise EOFError
    if len(ancillary) != 1:
        raise RuntimeError(f"received {len(ancillary)} items of ancdata")
    level, kind, data = ancillary[0]
    if level != socket.SOL_SOCKET or kind != socket.SCM_RIGHTS:
        raise RuntimeError("Invalid data received")
    fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    if len(fds) % 256 != message[0]:
        raise AssertionError(
            f"{len(fds)} descriptors came, but {message[0]} were announced"
        )
    return list(fds)


def send_handle(conn: Any, handle: int, destination_pid: int | None) -> None:
    """Sends a descriptor over a connection, as in `multiprocessing`."""
    with _socket_of(conn) as sock:
        sendfds(sock, [handle])


def recv_handle(conn: Any) -> int:
    """Receives a descriptor from a connection, as in `multiprocessing`."""
    with _socket_of(conn) as sock:
        return recvfds(sock, 1)[0]


def _socket_of(conn: Any) -> socket.socket:
    import socket

    return socket.fromfd(conn.fileno(), socket.AF_UNIX, socket.SOCK_STREAM)


def DupFd(fd: int) -> Any:
    """Wraps a descriptor so that the wrapper can be pickled, as in `multiprocessing`.

    While a process is being started the child inherits the descriptor; otherwise a
    thread of this process hands it to whoever unpickles the wrapper.
    """
    popen = get_spawning_popen()
    if popen is not None:
        return popen.DupFd(popen.duplicate_for_child(fd))
    # Not at the top: it needs connections and threads, which a start does not.
    from . import resource_sharer

    return resource_sharer.DupFd(fd)


# Reducers.


def _reduce_method(method: Any) -> tuple[Any, ...]:
    if method.__self__ is None:
        return getattr, (method.__class__, method.__func__.__name__)
    return getattr, (method.__self__, method.__func__.__name__)


def _reduce_method_descriptor(descriptor: Any) -> tuple[Any, ...]:
    return getattr, (descriptor.__objclass__, descriptor.__name__)


def _reduce_partial(partial: functools.partial[Any]) -> tuple[Any, ...]:
    return _rebuild_partial, (partial.func, partial.args, partial.keywords or {})


def _rebuild_partial(
    func: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any]
) -> functools.partial[Any]:
    return functools.partial(func, *args, **keywords)


def _reduce_socket(sock: socket.socket) -> tuple[Any, ...]:
    return _rebuild_socket, (DupFd(sock.fileno()), sock.family, sock.type, sock.proto)


def _rebuild_socket(df: Any, family: int, type: int, proto: int) -> socket.socket:
    import socket

    return socket.socket(family, type, proto, fileno=df.detach())


class _C:
    def method(self) -> None: ...


_BUILT_IN: dict[type, Callable[[Any], Any]] = {
    type(_C().method): _reduce_method,
    type(list.append): _reduce_method_descriptor,
    type(int.__add__): _reduce_method_descriptor,
    functools.partial: _reduce_partial,
}
for _type, _reduce in _BUILT_IN.items():
    register(_type, _reduce)


class AbstractReducer(metaclass=ABCMeta):
    """The base for a class that replaces this module, as in `multiprocessing`."""

    ForkingPickler = ForkingPickler
    register = register
    dump = dump
    send_handle = send_handle
    recv_handle = recv_handle
    sendfds = sendfds
    recvfds = recvfds
    DupFd = DupFd
    _reduce_method = _reduce_method
    _reduce_method_descriptor = _reduce_method_descriptor
    _rebuild_partial = _rebuild_partial
    _reduce_socket = _reduce_socket
    _rebuild_socket = _rebuild_socket

    def __init__(self, *args: Any) -> None:
        for kind, reduce in _BUILT_IN.items():
            register(kind, reduce)


def __getattr__(name: str) -> Any:
    """Gives `reduction.pickle` to those who expect the module there."""
    if name == "pickle":
        import pickle

        return pickle
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
