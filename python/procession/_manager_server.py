"""The process behind a manager: the objects it keeps, and how it answers for them.

A client opens a connection, both prove that they know the key, and the client asks
for one of the methods in `Server.public`. After "accept_connection" the connection is
kept, and each message on it is a call of a method of a kept object. An object is kept
as long as some process refers to it by a proxy.

Requests and answers are those of `multiprocessing.managers`.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import weakref
from traceback import format_exc
from typing import Any, ClassVar, NoReturn

from . import _xml, process, util
from ._challenge import refuse, welcome
from ._outcome import rebuild_exc
from ._procession import LineEnd, family_secret
from .connection import Client, Listener

__all__ = ["RemoteError", "Server", "Token", "dispatch", "listener_client"]

# By the name of the serializer.
listener_client: dict[str, tuple[Any, Any]] = {
    "pickle": (Listener, Client),
    "xmlrpclib": (_xml.XmlListener, _xml.XmlClient),
}


class Token:
    """Names an object that a manager keeps.

    Args:
        typeid: The name under which its type is registered.
        address: The address of the manager's server.
        id: The number of the object there, in hexadecimal.
    """

    __module__ = "procession.managers"
    __slots__ = ("address", "id", "typeid")

    def __init__(self, typeid: str, address: Any, id: str) -> None:
        self.typeid, self.address, self.id = typeid, address, id

    def __getstate__(self) -> tuple[str, Any, str]:
        return self.typeid, self.address, self.id

    def __setstate__(self, state: tuple[str, Any, str]) -> None:
        self.typeid, self.address, self.id = state

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(typeid={self.typeid!r}, "
            f"address={self.address!r}, id={self.id!r})"
        )


class RemoteError(Exception):
    """An error in the server, as the text of its traceback."""

    __module__ = "procession.managers"

    def __str__(self) -> str:
        line = "-" * 75
        return f"\n{line}\n{self.args[0]}{line}"


def dispatch(
    c: Any, id: Any, methodname: str, args: Any = (), kwds: dict[str, Any] | None = None
) -> Any:
    """Sends a request on a connection and returns the answer, or raises it."""
    c.send((id, methodname, args, kwds or {}))
    kind, result = c.recv()
    if kind == "#RETURN":
        return result
    try:
        raise convert_to_error(kind, result)
    finally:
        del result  # It refers to its traceback, which refers to this frame.


def convert_to_error(kind: str, result: Any) -> BaseException:
    """Returns the exception that an answer tells of."""
    if kind == "#ERROR":
        error: BaseException = result
        return error
    if kind not in ("#TRACEBACK", "#UNSERIALIZABLE"):
        return ValueError(f"Unrecognized message type {kind!r}")
    if not isinstance(result, str):
        return TypeError(
            f"Result {result!r} (kind {kind!r}) type is {type(result)}, not str"
        )
    if kind == "#UNSERIALIZABLE":
        return RemoteError(f"Unserializable message: {result}\n")
    return RemoteError(result)


# The requests whose answer is sent before they are done.
_ANSWER_THEMSELVES = ("accept_connection", "accept_line", "shutdown")

# Requests beyond `multiprocessing`, which a subclass's list of public ones may lack.
_BEYOND = ("accept_line", "proxy_type")


class Kept:
    """The entry of an object to which other objects of its server refer."""

    __slots__ = ("__weakref__", "entry")

    def __init__(self, entry: Any) -> None:
        self.entry = entry


class _Travelling(threading.local):
    """The proxies in the answer that a thread has sent last.

    The client counts as a reference once it has read the answer, and the server knows
    that when the client asks again. Until then these proxies keep the objects alive.
    """

    def __init__(self) -> None:
        self.proxies: list[Any] = []


class Server:
    """The server that runs in the process of a manager.

    Args:
        registry: The types of objects that can be made, by name.
        address: Where to listen; None for an address of its own.
        authkey: The key that clients have to know.
        serializer: How messages are written, a key of `listener_client`.
    """

    __module__ = "procession.managers"

    public: ClassVar[list[str]] = [
        "shutdown",
        "create",
        "accept_connection",
        "accept_line",
        "get_methods",
        "debug_info",
        "number_of_objects",
        "dummy",
        "incref",
        "decref",
    ]

    def __init__(
        self, registry: dict[str, Any], address: Any, authkey: bytes, serializer: str
    ) -> None:
        if not isinstance(authkey, bytes):
            raise TypeError(f"Authkey {authkey!r} is type {type(authkey)}, not bytes")
        self.registry = registry
        self.authkey = process.AuthenticationString(authkey)
        # Clients prove themselves in a thread of their own: one that does not answer
        # must not hold up the others.
        self.listener = listener_client[serializer][0](address=address, backlog=128)
        self.address = self.listener.address
        # "0" is nobody's; older clients ask for it.
        self.id_to_obj: dict[str, Any] = {"0": (None, ())}
        self.id_to_refcount: dict[str, int] = {}
        # Objects that other objects of this server refer to by a proxy: those proxies
        # keep them, and nothing else does.
        self.id_to_local_proxy_obj: weakref.WeakValueDictionary[str, Kept] = (
            weakref.WeakValueDictionary()
        )
        # Kept for proxies of other classes, which may take no attribute.
        self.kept_for_others: list[Kept] = []
        self._local_mutex = threading.RLock()
        self.travelling = _Travelling()
        self.mutex = threading.Lock()
        self.stop_event = threading.Event()
        self._has_begun = False

    def serve_forever(self) -> NoReturn:
        """Answers until somebody asks for the end; then exits."""
        try:
            self._begin()
            self.stop_event.wait()
        except (KeyboardInterrupt, SystemExit):
            pass
        finally:
            sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        sys.exit(0)

    def _begin(self) -> None:
        """Begins to accept clients, unless that has begun."""
        if not self._has_begun:
            myself: Any = process.current_process()
            myself._manager_server = self
            threading.Thread(target=self.accepter, daemon=True).start()
            self._has_begun = True

    def accepter(self) -> None:
        """Accepts clients and gives each a thread."""
        while not self.stop_event.is_set():
            try:
                client = self.listener.accept()
            except OSError:
                continue
            try:
                threading.Thread(
                    target=self.handle_request, args=(client,), daemon=True
                ).start()
            except RuntimeError as error:
                # This client cannot be served; there may be a thread for the next.
                self._turn_away(client, error)

    def _turn_away(self, client: Any, error: RuntimeError) -> None:
        """Tells a client that there is no thread for it."""
        why = (
            f"the manager's server (process {os.getpid()}) has no thread to answer "
            f"with: {error} (RLIMIT_NPROC, the cgroup's pids.max, memory)"
        )
        with client:
            try:
                refuse(client, why)
            except OSError as trouble:
                util.info("a client could not be told that %s: %r", why, trouble)

    def handle_request(self, conn: Any) -> None:
        """Answers the request with which a connection begins."""
        with conn:
            is_answered = False
            try:
                # A relative knows the family's secret, if not the manager's key.
                welcome(conn, self.authkey, family_secret())
                _, name, args, kwds = conn.recv()
                if name not in self.public and name not in _BEYOND:
                    raise ValueError(f"{name!r} unrecognized")
                is_answered = name in _ANSWER_THEMSELVES
                message = "#RETURN", getattr(self, name)(conn, *args, **kwds)
            except Exception:
                message = "#TRACEBACK", format_exc()
            if not is_answered:
                self._answer(conn, message, "#TRACEBACK")

    def _answer(self, conn: Any, message: tuple[str, Any], otherwise: str) -> bool:
        """Sends an answer, or why it cannot be sent; returns whether anything was."""
        try:
            try:
                conn.send(message)
            except Exception:
                conn.send((otherwise, format_exc()))
        except Exception as error:
            util.info("the answer %r could not be sent: %r", message, error)
            return False
        return True

    def serve_client(self, conn: Any) -> None:
        """Answers calls of methods until the client hangs up."""
        request: Any
        message: Any
        while not self.stop_event.is_set():
            try:
                request = conn.recv()
            except EOFError:
                return
            except Exception:
                message = "#TRACEBACK", format_exc()
            else:
                self.travelling.proxies = []
                message = self._call(conn, *request)
            is_sent = self._answer(conn, message, "#UNSERIALIZABLE")
            # Dropped now: an error refers to its traceback, which refers to this frame.
            request = message = None
            if not is_sent:
                return

    def _call(
        self, conn: Any, ident: str, name: str, args: Any, kwds: dict[str, Any]
    ) -> tuple[str, Any]:
        """Returns the answer to a call of a method of an object."""
        try:
            kept = self.id_to_obj.get(ident) or self.id_to_local_proxy_obj[ident].entry
            obj, exposed, method_to_typeid = kept
            if name not in exposed:
                fallback = self.fallback_mapping.get(name)
                if fallback is not None:
                    return "#RETURN", fallback(self, conn, ident, obj, *args, **kwds)
                raise AttributeError(
                    f"method {name!r} of {type(obj)!r} object is not in "
                    f"exposed={exposed!r}"
                )
            method = getattr(obj, name)
        except Exception:
            return "#TRACEBACK", format_exc()
        try:
            result = method(*args, **kwds)
        except Exception as error:
            _give_text(error, obj, ident)
            return "#ERROR", _Traced(error, format_exc())
        typeid = method_to_typeid and method_to_typeid.get(name)
        if not typeid:
            return "#RETURN", result
        try:
            ident, exposed = self.create(conn, typeid, result)
        except Exception:
            return "#TRACEBACK", format_exc()
        return "#PROXY", (exposed, Token(typeid, self.address, ident))

    def fallback_getvalue(self, conn: Any, ident: str, obj: Any) -> Any:
        """Returns a copy of the object."""
        return obj

    def fallback_str(self, conn: Any, ident: str, obj: Any) -> str:
        """Returns the object as text."""
        return str(obj)

    def fallback_repr(self, conn: Any, ident: str, obj: Any) -> str:
        """Returns what represents the object."""
        return repr(obj)

    # The methods that every object has, exposed or not.
    fallback_mapping: ClassVar[dict[str, Any]] = {
        "__str__": fallback_str,
        "__repr__": fallback_repr,
        "#GETVALUE": fallback_getvalue,
    }

    # Clients can call the following methods by name.

    def dummy(self, c: Any) -> None:
        """Does nothing; that it is answered shows that the server runs."""

    def debug_info(self, c: Any) -> str:
        """Returns a line for each object, with how many refer to it."""
        with self.mutex:
            return "\n".join(
                f"  {ident}:       refcount={count}\n"
                f"    {str(self.id_to_obj[ident][0])[:75]}"
                for ident, count in sorted(self.id_to_refcount.items())
            )

    def number_of_objects(self, c: Any) -> int:
        """Returns how many objects are kept."""
        return len(self.id_to_refcount)

    def shutdown(self, c: Any) -> None:
        """Ends the server."""
        try:
            util.debug("manager received shutdown message")
            c.send(("#RETURN", None))
        finally:
            self.stop_event.set()

    def create(
        self, c: Any, typeid: str, /, *args: Any, **kwds: Any
    ) -> tuple[str, tuple[str, ...]]:
        """Makes an object and keeps it; returns its number and its methods."""
        make, exposed, method_to_typeid, _ = self.registry[typeid]
        with self.mutex:
            if make is not None:
                obj = make(*args, **kwds)
            elif kwds or len(args) != 1:
                raise ValueError("Without callable, must have one non-keyword argument")
            else:
                obj = args[0]
            names = public_methods(obj) if exposed is None else list(exposed)
            if method_to_typeid is not None:
                if not isinstance(method_to_typeid, dict):
                    raise TypeError(
                        f"Method_to_typeid {method_to_typeid!r}: "
                        f"type {type(method_to_typeid)}, not dict"
                    )
                names += list(method_to_typeid)
            ident = f"{id(obj):x}"
            util.debug("%r callable returned object with id %r", typeid, ident)
            self.id_to_obj[ident] = (obj, set(names), method_to_typeid)
            self.id_to_refcount.setdefault(ident, 0)
        self.incref(c, ident)
        return ident, tuple(names)

    def get_methods(self, c: Any, token: Token) -> tuple[str, ...]:
        """Returns the methods of an object."""
        return tuple(self.id_to_obj[token.id][1])

    def proxy_type(self, c: Any, typeid: str) -> Any:
        """Returns what makes proxies of a type, for clients that have nothing of their
        own.

        Beyond `multiprocessing`; a client of its kind does not ask for it.
        """
        return self.registry[typeid][-1]

    def keep(self, ident: str) -> Kept:
        """Returns what keeps an object for a proxy in this very process."""
        with self._local_mutex:
            kept = self.id_to_local_proxy_obj.get(ident)
            if kept is None:
                kept = Kept(self.id_to_obj[ident])
                self.id_to_local_proxy_obj[ident] = kept
        return kept

    def accept_connection(self, c: Any, name: str) -> None:
        """Keeps the connection for calls of methods."""
        threading.current_thread().name = name
        c.send(("#RETURN", None))
        self.serve_client(c)

    def accept_line(self, c: Any, name: str, offer: Any) -> None:
        """Keeps the connection, with a request channel if the client is of this family.

        Beyond `multiprocessing`; a client of its kind does not ask for it. The answer
        is whether there is a channel; without one the client asks for a connection.
        """
        try:
            kind = type(self)
            if (
                "accept_line" not in self.public
                or kind.accept_connection is not Server.accept_connection
                or kind.serve_client is not Server.serve_client
            ):
                raise ValueError("a subclass serves connections only")
            end = LineEnd(offer)
        except (MemoryError, OSError, ValueError) as error:
            util.debug("no line for %r: %s", name, error)
            c.send(("#RETURN", False))
            return
        threading.current_thread().name = name
        c.send(("#RETURN", True))
        handle, c._handle = c._handle, None
        line = end.open(handle)
        try:
            self.serve_client(line)
        finally:
            line.close()

    def incref(self, c: Any, ident: str) -> None:
        """Counts one more reference to an object."""
        with self.mutex:
            if ident in self.id_to_refcount:
                self.id_to_refcount[ident] += 1
                return
            # Only an object of this server refers to it so far.
            self.id_to_obj[ident] = self.id_to_local_proxy_obj[ident].entry
            self.id_to_refcount[ident] = 1
            util.debug("Server re-enabled tracking & INCREF %r", ident)

    def decref(self, c: Any, ident: str) -> None:
        """Counts one reference less to an object; the object ends with the last."""
        with self.mutex:
            count = self.id_to_refcount.get(ident)
            if count is None and ident in self.id_to_local_proxy_obj:
                util.debug("Server DECREF skipping %r", ident)
                return
            if count is None:
                raise KeyError(ident)
            if count <= 0:
                raise AssertionError(f"Id {ident} has refcount {count}, not 1+")
            self.id_to_refcount[ident] = count - 1
            gone = None
            if count == 1:
                util.debug("disposing of obj with id %r", ident)
                del self.id_to_refcount[ident]
                gone = self.id_to_obj.pop(ident)
        # Dropped without the lock: the object may hold proxies, which end with it.
        del gone


def _give_text(error: Exception, obj: Any, ident: str) -> None:
    """Gives an error the text that the standard library's queues and barriers lack."""
    if error.args:
        return
    what = f"{ident} of the manager (process {os.getpid()})"
    if type(error) is queue.Empty:
        error.args = (f"queue {what} has no item",)
    elif type(error) is queue.Full:
        most = getattr(obj, "maxsize", None)
        items = "item" if most == 1 else "items"
        error.args = (f"queue {what} has no room: it holds at most {most} {items}",)
    elif type(error) is threading.BrokenBarrierError:
        why = "a wait that took too long, or abort() or reset() of another client"
        error.args = (f"barrier {what} was broken by {why}; reset() mends it",)
    elif type(error).__name__ == "ShutDown":
        error.args = (f"queue {what} was shut down",)


class _Traced:
    """An exception that is pickled together with the text of its traceback."""

    def __init__(self, error: Exception, text: str) -> None:
        self._error = error
        self._text = text

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuild_exc, (self._error, self._text)


def all_methods(obj: object) -> list[str]:
    """Returns the names of everything of an object that can be called."""
    return [name for name in dir(obj) if callable(getattr(obj, name))]


def public_methods(obj: object) -> list[str]:
    """Returns those names that do not begin with an underscore."""
    return [name for name in all_methods(obj) if not name.startswith("_")]
