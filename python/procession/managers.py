"""Managers: objects that live in a process of their own and are used from others.

As in `multiprocessing.managers`. The server is in `_manager_server`, what its clients
hold in `_proxies`; here are the classes that start the one and make the other.
Differences: an exception of a method arrives with its traceback in the server; sets
can be kept under every version of Python.
"""

from __future__ import annotations

import array
import queue
import signal
import threading
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Self

from . import connection, pool, process, reduction, shared_memory, util
from ._attributes import public, public_names
from ._manager_server import (
    RemoteError,
    Server,
    Token,
    all_methods,
    convert_to_error,
    dispatch,
    listener_client,
    public_methods,
)
from ._outcome import unpack_error
from ._proxies import (
    STARTED,
    AutoProxy,
    BaseProxy,
    MakeProxyType,
    ProcessLocalSet,
    RebuildProxy,
)
from ._proxy_types import (
    AcquirerProxy,
    ArrayProxy,
    BarrierProxy,
    BaseListProxy,
    BasePoolProxy,
    ConditionProxy,
    DictProxy,
    EventProxy,
    IteratorProxy,
    ListProxy,
    NamespaceProxy,
    PoolProxy,
    SetProxy,
    ValueProxy,
)
from .context import ProcessError, _default_context
from .dummy import Array, Namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._manager_types import Makes
else:
    Makes = object  # `register` gives the methods to `SyncManager`.

__all__ = ["BaseManager", "BaseProxy", "SharedMemoryManager", "SyncManager", "Token"]

# Clients ask whether there is shared memory that can be named.
HAS_SHMEM = True

# The names under which clients of `multiprocessing.managers` look for them.
_REEXPORTED = (
    BaseListProxy,
    BasePoolProxy,
    MakeProxyType,
    ProcessLocalSet,
    RebuildProxy,
    RemoteError,
    all_methods,
    convert_to_error,
    public_methods,
)


class State:
    """How far a manager is."""

    __slots__ = ["value"]
    INITIAL = 0
    STARTED = STARTED
    SHUTDOWN = 2

    def __init__(self) -> None:
        self.value = State.INITIAL


def _end(process: Any) -> None:
    """Ends a server at once, if it was started."""
    if process.ident is not None:
        process.kill()
        process.join()


class BaseManager:
    """Starts or finds a server, and makes objects in it.

    Args:
        address: Where the server listens; None for an address of its own.
        authkey: The key that server and clients have to know; by default the process's
            key.
        serializer: How messages are written, "pickle" or "xmlrpclib".
        ctx: The context that starts the server.
        shutdown_timeout: Seconds that the server has to end before it is terminated.

    Example:
        >>> import collections
        >>> from procession.managers import BaseManager
        >>> class Tallies(BaseManager):
        ...     pass
        >>> Tallies.register("Tally", collections.Counter)
        >>> with Tallies() as manager:
        ...     tally = manager.Tally("banana")
        ...     tally.update("bananas")
        ...     print(tally.most_common(1))
        [('a', 6)]
    """

    __dir__ = public_names

    _registry: ClassVar[dict[str, Any]] = {}
    _Server: ClassVar[type[Server]] = Server
    shutdown: Callable[[], object]

    def __init__(
        self,
        address: Any = None,
        authkey: bytes | None = None,
        serializer: str = "pickle",
        ctx: Any = None,
        *,
        shutdown_timeout: float = 1.0,
    ) -> None:
        if authkey is None:
            authkey = process.current_process().authkey
        self._address = address
        self._authkey = process.AuthenticationString(authkey)
        self._state = State()
        self._serializer = serializer
        self._Listener, self._Client = listener_client[serializer]
        self._ctx = ctx or _default_context.get_context()
        if getattr(self._ctx, "_pool_engine", None) is not None:
            # A server runs on this machine, and tells its address over a pipe.
            self._ctx = self._ctx.get_context("spawn")
        self._shutdown_timeout = shutdown_timeout
        self._process: Any = None

    def _require_initial(self) -> None:
        if self._state.value == State.STARTED:
            raise ProcessError("Already started server")
        if self._state.value == State.SHUTDOWN:
            raise ProcessError("Manager has shut down")

    def get_server(self) -> Server:
        """Returns a server that the caller runs, with `serve_forever`.

        Raises:
            ProcessError: The manager was started before.
        """
        self._require_initial()
        return self._Server(
            self._registry, self._address, self._authkey, self._serializer
        )

    def connect(self) -> None:
        """Uses the server that runs at the address.

        Example:
            >>> from procession.managers import BaseManager
            >>> class Server(BaseManager):
            ...     pass
            >>> class Client(BaseManager):
            ...     pass
            >>> words = []
            >>> Server.register("words", lambda: words)
            >>> Client.register("words")
            >>> with Server(authkey=b"key") as server:
            ...     client = Client(server.address, authkey=b"key")
            ...     client.connect()
            ...     client.words().append("hello")
            ...     print(client.words().copy())
            ['hello']
        """
        with self._Client(self._address, authkey=self._authkey) as conn:
            dispatch(conn, None, "dummy")
        self._state.value = State.STARTED

    def start(
        self,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
    ) -> None:
        """Starts a server in a process of its own.

        Args:
            initializer: A function that this process calls first.
            initargs: The arguments of the initializer.

        Raises:
            ProcessError: The manager was started before.
            EOFError: The server ended before it could tell its address.

        Example:
            >>> from procession.managers import SyncManager
            >>> manager = SyncManager()
            >>> manager.start()
            >>> shared = manager.list([3, 1, 2])
            >>> shared.sort()
            >>> print(shared)
            [1, 2, 3]
            >>> manager.shutdown()
            >>> manager.join(timeout=30)
        """
        self._require_initial()
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        reader, writer = connection.Pipe(duplex=False)
        self._process = self._ctx.Process(
            target=type(self)._run_server,
            args=(
                self._registry,
                self._address,
                self._authkey,
                self._serializer,
                writer,
                initializer,
                initargs,
            ),
        )
        if isinstance(self._process, process.BaseProcess):
            # If the process that started it has ended, no other shuts it down.
            self._process._ends_with_parent = True
        ident = ":".join(map(str, self._process._identity))
        self._process.name = f"{type(self).__name__}-{ident}"
        try:
            with reader:
                with writer:
                    self._process.start()
                try:
                    self._address = reader.recv()
                except EOFError:
                    raise self._why_not_started() from None
            self.shutdown = self._finalizer(self._process)
            self._state.value = State.STARTED
        except BaseException:
            # A handler of a signal may have raised when the server was running.
            _end(self._process)
            raise

    def _finalizer(self, process: Any) -> util.Finalize:
        """Returns what ends the server, and kills it if that is interrupted."""
        end = (
            process,
            self._address,
            self._authkey,
            self._state,
            self._Client,
            self._shutdown_timeout,
        )
        return util.Finalize(
            self,
            util._with_undo,
            args=(bool, type(self)._finalize_manager, end, lambda: _end(process)),
            exitpriority=0,
        )

    def _why_not_started(self) -> EOFError:
        """Returns the error of a server that ended too soon, which has its own as cause."""
        self._process.join(self._shutdown_timeout)
        message = "the manager's server ended before it could tell its address"
        outcome = getattr(getattr(self._process, "_popen", None), "outcome", None)
        left = outcome and outcome()
        if not left or left[0]:
            return EOFError(message)
        cause = unpack_error(left[1])
        reason = str(cause).strip().partition("\n")[0]
        error = EOFError(f"{message}: {type(cause).__name__}: {reason}")
        error.__cause__ = cause
        return error

    @classmethod
    def _run_server(
        cls,
        registry: dict[str, Any],
        address: Any,
        authkey: bytes,
        serializer: str,
        writer: connection.Connection,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
    ) -> None:
        # The manager ends the server; a Ctrl-C, which the server gets as well, does
        # not.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if initializer is not None:
            initializer(*initargs)
        server = cls._Server(registry, address, authkey, serializer)
        with writer:
            if type(server).serve_forever is Server.serve_forever:
                # Begun first: a server that cannot accept clients has no address to
                # tell.
                server._begin()
            writer.send(server.address)
        util.info("manager serving at %r", server.address)
        server.serve_forever()

    def _create(
        self, typeid: str, /, *args: Any, **kwds: Any
    ) -> tuple[Token, tuple[str, ...]]:
        """Makes an object in the server; returns its token and its methods."""
        if self._state.value != State.STARTED:
            raise AssertionError("server not yet started")
        with self._Client(self._address, authkey=self._authkey) as conn:
            ident, exposed = dispatch(conn, None, "create", (typeid, *args), kwds)
        return Token(typeid, self._address, ident), exposed

    def join(self, timeout: float | None = None) -> None:
        """Waits until the server that was started has ended, or the time is over."""
        if self._process is not None:
            self._process.join(timeout)
            if not self._process.is_alive():
                self._process = None

    def _debug_info(self) -> Any:
        """Returns a line for each object that the server keeps."""
        with self._Client(self._address, authkey=self._authkey) as conn:
            return dispatch(conn, None, "debug_info")

    def _number_of_objects(self) -> Any:
        """Returns how many objects the server keeps."""
        with self._Client(self._address, authkey=self._authkey) as conn:
            return dispatch(conn, None, "number_of_objects")

    def __enter__(self) -> Self:
        if self._state.value == State.INITIAL:
            self.start()
        if self._state.value == State.SHUTDOWN:
            raise ProcessError("Manager has shut down")
        return self

    def __exit__(self, *args: object) -> None:
        self.shutdown()

    @staticmethod
    def _finalize_manager(
        process: Any,
        address: Any,
        authkey: bytes,
        state: State,
        _Client: Any,
        shutdown_timeout: float,
    ) -> None:
        """Ends the server: by asking, then by SIGTERM, then by SIGKILL."""
        if process.is_alive():
            util.info("sending shutdown message to manager")
            try:
                with _Client(address, authkey=authkey) as conn:
                    dispatch(conn, None, "shutdown")
            except Exception as error:
                if util._is_interrupt(error):
                    raise
                util.info("the manager cannot be asked to end: %r", error)
            for send_signal in (process.terminate, process.kill):
                process.join(timeout=shutdown_timeout)
                if not process.is_alive():
                    break
                util.info("manager still alive")
                send_signal()
            process.join()
        state.value = State.SHUTDOWN
        BaseProxy._address_to_local.pop(address, None)

    @property
    def address(self) -> Any:
        """Where the server listens."""
        return self._address

    @classmethod
    def register(
        cls,
        typeid: str,
        callable: Callable[..., Any] | None = None,
        proxytype: Any = None,
        exposed: Iterable[str] | None = None,
        method_to_typeid: dict[str, str] | None = None,
        create_method: bool = True,
    ) -> None:
        """Makes a type known to the manager and its server.

        Args:
            typeid: The name of the type.
            callable: A function that makes an object of it; not needed where none is
                made.
            proxytype: A function or class that makes a proxy; by default one with all
                public methods.
            exposed: The methods of the proxy.
            method_to_typeid: The types of those results that stay in the server.
            create_method: Whether the manager gets a method of that name.
        """
        if "_registry" not in cls.__dict__:
            cls._registry = cls._registry.copy()
        if proxytype is None:
            proxytype = AutoProxy
        exposed = exposed or getattr(proxytype, "_exposed_", None)
        method_to_typeid = method_to_typeid or getattr(
            proxytype, "_method_to_typeid_", None
        )
        for pair in (method_to_typeid or {}).items():
            for name in pair:
                if type(name) is not str:
                    raise AssertionError(f"{name!r} is not a string")
        cls._registry[typeid] = (callable, exposed, method_to_typeid, proxytype)
        if create_method:
            setattr(cls, typeid, _creator(typeid, proxytype))


def _creator(typeid: str, proxytype: Any) -> Callable[..., Any]:
    """Returns the method of a manager that makes an object of a type."""

    def create(self: BaseManager, /, *args: Any, **kwds: Any) -> Any:
        util.debug("requesting creation of a shared %r object", typeid)
        token, exposed = self._create(typeid, *args, **kwds)
        proxy = proxytype(
            token,
            self._serializer,
            manager=self,
            authkey=self._authkey,
            exposed=exposed,
        )
        # The server has counted a reference for the answer.
        with self._Client(token.address, authkey=self._authkey) as conn:
            dispatch(conn, None, "decref", (token.id,))
        return proxy

    create.__name__ = create.__qualname__ = typeid
    create.__doc__ = f"Makes a `{typeid}` in the server, and returns a proxy for it."
    return create


class Value:
    """The object behind `SyncManager.Value`.

    Args:
        typecode: The type that a shared value would have.
        value: The value.
        lock: Makes no difference: the server does one thing after the other.
    """

    def __init__(self, typecode: str, value: Any, lock: bool = True) -> None:
        self._typecode = typecode
        self._value = value

    def get(self) -> Any:
        """Returns the value."""
        return self._value

    def set(self, value: Any) -> None:
        """Changes the value."""
        self._value = value

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._typecode!r}, {self._value!r})"

    value = property(get, set)


class SyncManager(BaseManager, Makes):
    """A manager of the types that threads and processes talk with.

    `procession.Manager()` returns one that is started.

    Example:
        >>> import procession
        >>> with procession.Manager() as manager:
        ...     board = manager.dict()
        ...     with procession.Pool(2) as pool:
        ...         pool.starmap(board.__setitem__, [("a", 1), ("b", 2)])
        ...     print(sorted(board.items()))
        [None, None]
        [('a', 1), ('b', 2)]
        >>> with procession.Manager() as manager:
        ...     names, seen = manager.list(["b", "a"]), manager.set()
        ...     names.sort()
        ...     seen.update(names)
        ...     jobs, results = manager.Queue(), manager.JoinableQueue()
        ...     jobs.put("wash")
        ...     results.put(jobs.get())
        ...     here, row = manager.Namespace(x=1), manager.Array("i", [1, 2])
        ...     score = manager.Value("i", 5)
        ...     score.value += here.x + row[1]
        ...     print(names, len(seen), results.get(), score.value)
        ['a', 'b'] 2 wash 8
        >>> with procession.Manager() as manager:
        ...     with manager.Lock(), manager.RLock(), manager.Condition() as change:
        ...         done = manager.Event()
        ...         done.set()
        ...     seats, last = manager.Semaphore(2), manager.BoundedSemaphore(1)
        ...     print(done.wait(), seats.acquire(), last.acquire())
        ...     print(manager.Barrier(1).wait())
        ...     with manager.Pool(1) as pool:
        ...         print(pool.map(abs, [-1, 2]))
        True True True
        0
        [1, 2]
    """


SyncManager.register("Queue", queue.Queue)
SyncManager.register("JoinableQueue", queue.Queue)
SyncManager.register("Event", threading.Event, EventProxy)
SyncManager.register("Lock", threading.Lock, AcquirerProxy)
SyncManager.register("RLock", threading.RLock, AcquirerProxy)
SyncManager.register("Semaphore", threading.Semaphore, AcquirerProxy)
SyncManager.register("BoundedSemaphore", threading.BoundedSemaphore, AcquirerProxy)
SyncManager.register("Condition", threading.Condition, ConditionProxy)
SyncManager.register("Barrier", threading.Barrier, BarrierProxy)
SyncManager.register("Pool", pool.Pool, PoolProxy)
SyncManager.register("list", list, ListProxy)
SyncManager.register("dict", dict, DictProxy)
SyncManager.register("set", set, SetProxy)
SyncManager.register("Value", Value, ValueProxy)
SyncManager.register("Array", Array, ArrayProxy)
SyncManager.register("Namespace", Namespace, NamespaceProxy)
# The types that methods of these return.
SyncManager.register("Iterator", proxytype=IteratorProxy, create_method=False)
SyncManager.register("AsyncResult", create_method=False)


class SharedMemoryServer(Server):
    """The server of a manager of shared memory; it unlinks the names that it was told of."""

    public: ClassVar[list[str]] = [
        *Server.public,
        "track_segment",
        "release_segment",
        "list_segments",
    ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._segments: list[str] = []

    def shutdown(self, c: Any) -> None:
        """Unlinks all that is left, then ends the server."""
        for name in self._segments[:]:
            self.release_segment(c, name)
        super().shutdown(c)

    def track_segment(self, c: Any, segment_name: str) -> None:
        """Notes a name that is to be unlinked in the end."""
        self._segments.append(segment_name)

    def release_segment(self, c: Any, segment_name: str) -> None:
        """Unlinks one now."""
        self._segments.remove(segment_name)
        segment = shared_memory.SharedMemory(segment_name)
        segment.close()
        segment.unlink()

    def list_segments(self, c: Any) -> list[str]:
        """Returns the names that are noted."""
        return self._segments


class SharedMemoryManager(BaseManager):
    """A manager of shared memory: what it makes is unlinked when it shuts down.

    Example:
        >>> from procession.managers import SharedMemoryManager
        >>> with SharedMemoryManager() as manager:
        ...     memory = manager.SharedMemory(size=16)
        ...     memory.buf[:5] = b"hello"
        ...     numbers = manager.ShareableList([1, 2.5, None])
        ...     print(bytes(memory.buf[:5]), list(numbers))
        ...     memory.close()
        ...     numbers.shm.close()
        b'hello' [1, 2.5, None]
    """

    _Server = SharedMemoryServer

    def SharedMemory(self, size: int) -> shared_memory.SharedMemory:
        """Returns new shared memory of a size in bytes."""
        memory = shared_memory.SharedMemory(None, create=True, size=size)
        self._track(memory)
        return memory

    def ShareableList(self, sequence: Any) -> shared_memory.ShareableList:
        """Returns a new list in shared memory."""
        items = shared_memory.ShareableList(sequence)
        self._track(items.shm)
        return items

    def _track(self, memory: shared_memory.SharedMemory) -> None:
        try:
            with self._Client(self._address, authkey=self._authkey) as conn:
                dispatch(conn, None, "track_segment", (memory.name,))
        except BaseException:
            memory.unlink()
            raise


def reduce_array(a: array.array[Any]) -> tuple[Any, ...]:
    """Reduces an array to its type and its bytes."""
    return array.array, (a.typecode, a.tobytes())


def rebuild_as_list(obj: Iterable[Any]) -> tuple[Any, ...]:
    """Reduces what can be iterated over to a list."""
    return list, (list(obj),)


# Methods of dictionaries return views; they cross as lists.
reduction.register(array.array, reduce_array)
_nothing: dict[Any, Any] = {}
for _view in (_nothing.keys(), _nothing.values(), _nothing.items()):
    reduction.register(type(_view), rebuild_as_list)


def __dir__() -> list[str]:
    return public(globals())
