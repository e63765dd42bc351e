"""Proxies: how a process uses an object that the server of a manager keeps.

A proxy sends each call of a method to the server and returns the answer. It counts
there as a reference to the object, which lives as long as some process has a proxy.
Each thread has one connection to a server, for all its proxies; tasks that await calls
have connections of their own (`_server_connections`).

As in `multiprocessing.managers`, where all this is re-exported.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from . import process, util
from ._attributes import public_names
from ._errors import AuthenticationError
from ._manager_server import Token, convert_to_error, dispatch, listener_client
from ._procession import Line, LineEnd, family_secret
from ._server_connections import ServerConnections, ask, reach
from ._spawning import get_spawning_popen

__all__ = ["AutoProxy", "BaseProxy", "MakeProxyType", "RebuildProxy"]

# The `value` of a manager's state.
STARTED = 1


def _reach(client: Any, address: Any, authkey: bytes) -> tuple[Any, bytes]:
    """Returns a connection to a server, and the key that it has taken.

    A manager may have a key of its own, which a proxy in a message does not take along:
    a relative of the server knows the family's secret.
    """
    try:
        return client(address, authkey=authkey), authkey
    except AuthenticationError:
        secret = family_secret()
        if secret is None or secret == authkey:
            raise
        try:
            return client(address, authkey=secret), secret
        except (AuthenticationError, EOFError, OSError) as error:
            util.debug("the server is no relative: %s", error)
        raise


class ProcessLocalSet(set[str]):
    """A set that is empty in a child."""

    __module__ = "procession.managers"

    def __init__(self) -> None:
        util.register_after_fork(self, lambda obj: obj.clear())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()


class BaseProxy:
    """The base of proxies.

    Args:
        token: Names the object.
        serializer: How messages are written.
        manager: The manager, in the process that has it.
        authkey: What the server has to know.
        exposed: The methods of the object.
        incref: Whether to count as a reference.
        manager_owned: Whether the proxy is in the server itself.
    """

    __dir__ = public_names

    __module__ = "procession.managers"

    # For each server: the connections of the threads, the objects that this process
    # refers to, and the connections of tasks.
    _address_to_local: ClassVar[
        dict[Any, tuple[Any, ProcessLocalSet, ServerConnections]]
    ] = {}
    _mutex = util.ForkAwareThreadLock()
    _exposed_: tuple[str, ...]
    _isauto = False

    def __init__(
        self,
        token: Token,
        serializer: str,
        manager: Any = None,
        authkey: bytes | None = None,
        exposed: Iterable[str] | None = None,
        incref: bool = True,
        manager_owned: bool = False,
    ) -> None:
        with BaseProxy._mutex:
            local = BaseProxy._address_to_local.get(token.address)
            if local is None:
                local = util.ForkAwareLocal(), ProcessLocalSet(), ServerConnections()
                BaseProxy._address_to_local[token.address] = local
        self._tls: Any = local[0]
        self._idset = local[1]
        self._connections = local[2]
        self._token = token
        self._id = token.id
        self._manager = manager
        self._serializer = serializer
        self._Client = listener_client[serializer][1]
        self._owned_by_manager = manager_owned
        # In the server itself, this keeps the object that the proxy refers to.
        self._kept: Any = None
        if authkey is None:
            owner = process.current_process() if manager is None else None
            authkey = owner.authkey if owner is not None else manager._authkey
        self._authkey = process.AuthenticationString(authkey)
        if incref:
            self._incref()
        util.register_after_fork(self, BaseProxy._after_fork)

    def _reach(self) -> Any:
        """Returns a new connection to the server."""
        conn, key = _reach(self._Client, self._token.address, self._authkey)
        if key != self._authkey:
            self._authkey = process.AuthenticationString(key)
        return conn

    def _connect(self) -> Any:
        name = process.current_process().name
        thread = threading.current_thread().name
        if thread != "MainThread":
            name += f"|{thread}"
        conn = self._line(name)
        if conn is None:
            conn = self._reach()
            dispatch(conn, None, "accept_connection", (name,))
        self._tls.connection = conn
        return conn

    def _line(self, name: str) -> Line | None:
        """Returns a request channel to the server, if the server is of this family and has one."""
        if not isinstance(self._token.address, (str, bytes)):
            return None
        with self._reach() as conn:
            if not getattr(conn, "_is_ours", False):
                return None
            try:
                end = LineEnd()
            except MemoryError:
                return None  # A connection needs nothing of the family.
            if not dispatch(conn, None, "accept_line", (name, end.offer)):
                return None
            handle, conn._handle = conn._handle, None
            return end.open(handle)

    def _callmethod(
        self, methodname: str, args: Any = (), kwds: dict[str, Any] | None = None
    ) -> Any:
        """Calls a method of the object and returns a copy of the result.

        Raises:
            RemoteError: The server could not call it, or not send the result.
            Exception: What the method raised, with its traceback as the cause.
        """
        try:
            conn = self._tls.connection
        except AttributeError:
            conn = self._connect()
        try:
            if type(conn) is Line:
                kind, result = conn.call(self._id, methodname, args, kwds)
            else:
                conn.send((self._id, methodname, args, kwds or {}))
                kind, result = conn.recv()
        except BaseException:
            # An answer that comes late must not be taken for that of the next call.
            if type(conn) is not Line or conn.closed:
                conn.close()
                del self._tls.connection
            raise
        if kind == "#RETURN":
            return result
        if kind == "#PROXY":
            return self._proxy_for(*result)
        try:
            raise convert_to_error(kind, result)
        finally:
            del result  # It refers to its traceback, which refers to this frame.

    async def call_async(self, methodname: str, /, *args: Any, **kwds: Any) -> Any:
        """Calls a method of the object in a task of asyncio or trio; returns its result.

        No thread of this process waits. Calls of several tasks are answered side by side,
        each by a thread of the server, and those of one task not always by the same: what
        belongs to the thread that took it, as an RLock and a Condition do, is not for
        tasks. If the task is cancelled, the server finishes the call, and its result is
        lost.

        Raises:
            TypeError: The object is an RLock or a Condition of the manager.
            RuntimeError: No event loop runs.
            Exception: What the method raised, with its traceback as the cause.

        Example:
            >>> import asyncio
            >>> import procession
            >>> async def main(numbers):
            ...     await numbers.call_async("append", 3)
            ...     return await numbers.call_async("index", 3)
            >>> with procession.Manager() as manager:
            ...     asyncio.run(main(manager.list([1, 2])))
            2
        """
        typeid = self._token.typeid
        if typeid in ("RLock", "Condition"):
            raise TypeError(
                f"a manager's {typeid} belongs to a thread of the server, and a task has "
                f"none there: await procession.{typeid} instead, or a Lock of the manager"
            )
        connections = self._connections
        connection = connections.take()
        if connection is None:
            connection = await self._reach_async()
            name = process.current_process().name
            kind, result = await ask(connection, None, "accept_connection", (name,))
            if kind != "#RETURN":
                connection.close()
                raise convert_to_error(kind, result)
        kind, result = await ask(connection, self._id, methodname, args, kwds)
        connections.put(connection)
        if kind == "#RETURN":
            return result
        if kind == "#PROXY":
            return await self._proxy_for_async(*result)
        try:
            raise convert_to_error(kind, result)
        finally:
            del result  # As in `_callmethod`.

    async def _reach_async(self) -> Any:
        """Returns a new connection to the server, for a task."""
        address, authkey = self._token.address, self._authkey
        conn, key = await reach(self._Client, address, authkey, family_secret())
        if key != authkey:
            self._authkey = process.AuthenticationString(key)
        return conn

    async def _ask_async(self, request: str, *args: Any) -> Any:
        """Asks the server itself something."""
        with await self._reach_async() as conn:
            kind, result = await ask(conn, None, request, args)
        if kind != "#RETURN":
            raise convert_to_error(kind, result)
        return result

    async def _proxy_for_async(self, exposed: Iterable[str], token: Token) -> Any:
        """As `_proxy_for`, in a task; the reference that the server has counted is its."""
        typeid = token.typeid
        token.address = self._token.address
        adopted = False
        try:
            kind = self._known_kind(typeid)
            if kind is None:
                try:
                    kind = await self._ask_async("proxy_type", typeid)
                except Exception as error:
                    kind = self._likely_kind(typeid, error)
                self._tls.kinds[typeid] = kind
            proxy = kind(
                token,
                self._serializer,
                manager=self._manager,
                authkey=self._authkey,
                exposed=exposed,
                incref=False,
            )
            if isinstance(proxy, BaseProxy):
                proxy._adopt()
                adopted = True
        finally:
            if not adopted:
                with self._reach() as conn:
                    dispatch(conn, None, "decref", (token.id,))
        return proxy

    def _proxy_for(self, exposed: Iterable[str], token: Token) -> Any:
        """Returns the proxy of an object that the server has made for us."""
        token.address = self._token.address
        proxy = self._kind_of(token.typeid)(
            token,
            self._serializer,
            manager=self._manager,
            authkey=self._authkey,
            exposed=exposed,
        )
        # The server has counted a reference for the answer.
        with self._reach() as conn:
            dispatch(conn, None, "decref", (token.id,))
        return proxy

    def _kind_of(self, typeid: str) -> Any:
        """Returns what makes a proxy of a type, whether or not the manager is here."""
        kind = self._known_kind(typeid)
        if kind is None:
            try:
                with self._reach() as conn:
                    kind = dispatch(conn, None, "proxy_type", (typeid,))
            except Exception as error:
                kind = self._likely_kind(typeid, error)
            self._tls.kinds[typeid] = kind
        return kind

    def _known_kind(self, typeid: str) -> Any:
        """As `_kind_of`, without asking; None where the server has to be asked."""
        registry = getattr(self._manager, "_registry", {})
        if typeid in registry:
            return registry[typeid][-1]
        return self._tls.__dict__.setdefault("kinds", {}).get(typeid)

    def _likely_kind(self, typeid: str, error: Exception) -> Any:
        """As `_kind_of`, if the server is not procession's or cannot send the class."""
        util.debug("the server does not say what %r is: %s", typeid, error)
        from .managers import SyncManager

        known = SyncManager._registry.get(typeid)
        return AutoProxy if known is None else known[-1]  # The methods are known.

    def _getvalue(self) -> Any:
        """Returns a copy of the object."""
        return self._callmethod("#GETVALUE")

    def _incref(self) -> None:
        if self._owned_by_manager:
            util.debug("owned_by_manager skipped INCREF of %r", self._token.id)
            return
        with self._reach() as conn:
            dispatch(conn, None, "incref", (self._id,))
        util.debug("INCREF %r", self._token.id)
        self._adopt()

    def _adopt(self) -> None:
        """Takes over a reference that the server has counted already."""
        self._idset.add(self._id)
        self._close = util.Finalize(
            self,
            BaseProxy._decref,
            args=(
                self._token,
                self._authkey,
                self._manager and self._manager._state,
                self._tls,
                self._idset,
                self._Client,
                self._connections,
            ),
            exitpriority=10,
        )

    @staticmethod
    def _decref(
        token: Token,
        authkey: bytes,
        state: Any,
        tls: Any,
        idset: Any,
        _Client: Any,
        connections: ServerConnections | None = None,
    ) -> None:
        idset.discard(token.id)
        if state is None or state.value == STARTED:
            try:
                util.debug("DECREF %r", token.id)
                with _Client(token.address, authkey=authkey) as conn:
                    dispatch(conn, None, "decref", (token.id,))
            except Exception as error:
                util.debug("... decref failed %s", error)
        if not idset and hasattr(tls, "connection"):
            tls.connection.close()
            del tls.connection
        if not idset and connections is not None:
            connections.close()

    def _after_fork(self) -> None:
        self._manager = None
        try:
            self._incref()
        except Exception as error:
            # The manager may have ended.
            util.info("incref failed: %s", error)

    def __reduce__(self) -> tuple[Any, ...]:
        kwds: dict[str, Any] = {}
        if get_spawning_popen() is not None:
            kwds["authkey"] = self._authkey
        kind: Any = type(self)
        if self._owned_by_manager:
            server = getattr(process.current_process(), "_manager_server", None)
            if server is not None:
                server.travelling.proxies.append(self)
        if self._isauto:
            kwds["exposed"] = self._exposed_
            kind = AutoProxy
        return RebuildProxy, (kind, self._token, self._serializer, kwds)

    def __deepcopy__(self, memo: Any) -> Any:
        return self._getvalue()

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} object, typeid {self._token.typeid!r} "
            f"at {id(self):#x}>"
        )

    def __str__(self) -> str:
        try:
            text: str = self._callmethod("__repr__")
            return text
        except Exception:
            return repr(self)[:-1] + "; '__str__()' failed>"


def RebuildProxy(
    func: Callable[..., Any], token: Token, serializer: str, kwds: dict[str, Any]
) -> Any:
    """Returns the proxy that a pickle tells of."""
    myself = process.current_process()
    server: Any = getattr(myself, "_manager_server", None)
    kept = None
    if server and server.address == token.address:
        util.debug("Rebuild a proxy owned by manager, token=%r", token)
        kwds["manager_owned"] = True
        kept = server.keep(token.id)
    # While a child boots, the process that starts it has the reference.
    inherits = getattr(myself, "_inheriting", False)
    incref = kwds.pop("incref", True) and not inherits
    proxy = func(token, serializer, incref=incref, **kwds)
    if kept is not None:
        if isinstance(proxy, BaseProxy):
            proxy._kept = kept
        else:
            server.kept_for_others.append(kept)
    return proxy


_made: dict[tuple[str, tuple[str, ...]], type[BaseProxy]] = {}


def MakeProxyType(name: str, exposed: Iterable[str], _cache: Any = _made) -> Any:
    """Returns a class of proxies with the methods that are named."""
    exposed = tuple(exposed)
    if (name, exposed) not in _cache:
        methods: dict[str, Any] = {each: _method(each) for each in exposed}
        methods["_exposed_"] = exposed
        methods["__module__"] = BaseProxy.__module__
        _cache[name, exposed] = type(name, (BaseProxy,), methods)
    return _cache[name, exposed]


def _method(name: str) -> Callable[..., Any]:
    def method(self: BaseProxy, /, *args: Any, **kwds: Any) -> Any:
        return self._callmethod(name, args, kwds)

    method.__name__ = method.__qualname__ = name
    return method


def AutoProxy(
    token: Token,
    serializer: str,
    manager: Any = None,
    authkey: bytes | None = None,
    exposed: Iterable[str] | None = None,
    incref: bool = True,
    manager_owned: bool = False,
) -> BaseProxy:
    """Returns a proxy with the methods that the object has."""
    if authkey is None and manager is not None:
        authkey = manager._authkey
    if authkey is None:
        authkey = process.current_process().authkey
    if exposed is None:
        client = listener_client[serializer][1]
        conn, authkey = _reach(client, token.address, authkey)
        with conn:
            exposed = dispatch(conn, None, "get_methods", (token,))
    kind = MakeProxyType(f"AutoProxy[{token.typeid}]", exposed)
    proxy: BaseProxy = kind(
        token,
        serializer,
        manager=manager,
        authkey=authkey,
        incref=incref,
        manager_owned=manager_owned,
    )
    proxy._isauto = True
    return proxy
