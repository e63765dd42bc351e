"""Pickling for other processes: the pickler, its reducers, and descriptors.

`ForkingPickler` and the functions have the names and the meaning that they have in
`multiprocessing.reduction`. Queues, pipes and pools, which pickle in the native module,
use the same table of reducers: an object whose reducer is registered here crosses by
any of them. Sockets are known to the table without importing the module `socket`, which
would cost a spawned child several milliseconds.

Example:
    >>> import fractions
    >>> import procession
    >>> pickler = procession.reducer.ForkingPickler
    >>> pickler.loads(pickler.dumps(fractions.Fraction(1, 3)))
    Fraction(1, 3)
"""

from __future__ import annotations

import copyreg
import functools
import io
import sys
import weakref

# The C pickler itself: the module `pickle` would only add its twin in Python, and
# `re` with it.
from _pickle import Pickler, PicklingError
from _pickle import loads as _loads
from abc import ABCMeta
from types import FunctionType

from . import _procession
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
        # A process that pickles a socket has imported its module.
        if kind is getattr(sys.modules.get("socket"), "socket", None):
            return _reduce_socket
        # Reducers that were registered with the standard library's package, if it is in
        # use, too.
        theirs = sys.modules.get("multiprocessing.reduction")
        if theirs is not None and theirs.__name__ == "multiprocessing.reduction":
            registered: dict[type, Callable[[Any], Any]]
            registered = theirs.ForkingPickler._extra_reducers
            return registered[kind]
        raise KeyError(kind)


# The attributes of the class below, before a program has changed them.
_ON_OURS: dict[str, Any] = {}


def _notice() -> None:
    """Tells the native module whether it is to pickle by itself."""
    if not _ON_OURS:
        return  # The class is being made.
    is_ours = _pickler() is _OURS and _reducer is None and dump is _dump
    _procession.pickle_by_program(not is_ours or _of_the_class() != _ON_OURS)


class _Noticing(ABCMeta):
    """Notices what programs put on `ForkingPickler`.

    The native module pickles by itself, and uses the class only if a program has
    changed it. The metaclass is an ABC's, so that a class that also mixes in an ABC has
    no conflict.
    """

    def __setattr__(cls, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        _notice()

    def __delattr__(cls, name: str) -> None:
        super().__delattr__(name)
        _notice()


class ForkingPickler(Pickler, metaclass=_Noticing):
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

    loads = staticmethod(_loads)


register = ForkingPickler.register

_OURS: Any = ForkingPickler


def dump(obj: Any, file: Any, protocol: int | None = None) -> None:
    """Writes the pickle of an object to a file, as in `multiprocessing`."""
    ForkingPickler(file, protocol).dump(obj)


# The functions that programs put in the place of these.

_dump = dump

# The reducer that a context was given.
_reducer: Any = None

# The class that messages are to be pickled by, if somebody has told `connection` or
# `queues` so.
_of_messages: Any = None


def dumps(obj: Any) -> Any:
    """Returns an object as a message, written by the program's own pickler."""
    pickler = _pickler()
    try:
        return pickler.dumps(obj)
    except (PicklingError, AttributeError) as error:
        if pickler is not _OURS or not _is_of_pickle(error):
            raise
        from . import _by_value

        return _by_value.dumps(obj, error)


def _is_of_pickle(error: BaseException) -> bool:
    """Returns whether an error was raised by the pickler itself, and not by the program's code."""
    entry = error.__traceback__
    while entry is not None and entry.tb_next is not None:
        entry = entry.tb_next
    return entry is None or entry.tb_frame.f_code.co_filename == __file__


def loads(data: Any) -> Any:
    """Returns the object of a message."""
    return _pickler().loads(data)


def dump_to_bytes(obj: Any) -> memoryview:
    """Returns an object for a process that starts, written by the program's own pickler."""
    buffer = io.BytesIO()
    (dump if _reducer is None else _reducer.dump)(obj, buffer)
    return buffer.getbuffer()


def _pickler() -> Any:
    if _of_messages is not None:
        return _of_messages
    return ForkingPickler if _reducer is None else _reducer.ForkingPickler


def writes_by_itself() -> bool:
    """Returns whether the program has a function of its own that writes messages."""
    pickler = _pickler()
    return pickler is not _OURS or vars(_OURS)["dumps"] is not _ON_OURS["dumps"]


def set_reducer(reducer: Any) -> None:
    """Makes a module or object, the `reducer` of a context, pickle everything."""
    global _reducer
    _reducer = None if reducer is sys.modules[__name__] else reducer
    _notice()


def set_pickler_of_messages(pickler: Any) -> None:
    """Makes a class pickle messages that was put in the place of ours in another module."""
    global _of_messages
    _of_messages = None if pickler is _OURS else pickler
    _notice()


def _of_the_class() -> dict[str, Any]:
    """Returns the attributes of the class, without those that Python sets."""
    kept = {"_abc_impl", "__abstractmethods__", "__doc__", "__dict__", "__weakref__"}
    return {name: value for name, value in vars(_OURS).items() if name not in kept}


# The main module.

# The types that pickle writes by name; a function with a cache is not a `FunctionType`.
WITH_NAMES: tuple[Any, ...] = (type, FunctionType, functools._lru_cache_wrapper)


def found_by_forked() -> dict[str, weakref.ref[Any]]:
    """Returns what a process that is forked now finds in the main module by name.

    It matters where no other process can read that module.
    """
    main = vars(sys.modules["__main__"])
    return {
        name: weakref.ref(value)
        for name, value in [*main.items()]
        if isinstance(value, WITH_NAMES)
    }


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
    thread of this process hands it to the process that unpickles the wrapper.
    """
    popen = get_spawning_popen()
    if popen is not None:
        place = popen.duplicate_for_child(fd)
        undo = getattr(popen, "forget_duplicate", None)
        if undo is not None:
            _procession.undo_unless_sent(functools.partial(undo, place))
        return popen.DupFd(place)
    # Not at the top: it needs connections and threads, which a start does not.
    from . import resource_sharer

    copy = resource_sharer.DupFd(fd)
    _procession.undo_unless_sent(copy.forget)
    return copy


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


class _Replaceable(type(sys)):  # type: ignore[misc]
    """A module that notices what is put in the place of its names."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        _notice()


_ON_OURS.update(_of_the_class())
sys.modules[__name__].__class__ = _Replaceable


class ModuleWithPickler(type(sys)):  # type: ignore[misc]
    """A module in which programs put a class in the place of `_ForkingPickler`."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "_ForkingPickler":
            set_pickler_of_messages(value)


def __getattr__(name: str) -> Any:
    """Gives `reduction.pickle` to code that expects the module there."""
    if name == "pickle":
        import pickle

        return pickle
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
