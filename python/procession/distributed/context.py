"""The context of a cluster: its pools run on other nodes, which share its locks and queues."""

from __future__ import annotations

import functools
import os
import sys
import threading
import urllib.parse

from .. import process
from ..context import BaseContext
from . import _pickling, _session
from ._errors import EngineMismatch, EngineUnavailable, NodeLost
from ._processes import Launcher
from .coordinator import Coordinator
from .hub import Hub

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, NoReturn

    from .._worker_life import LifeOptions
    from .._workers import Bounds
    from ._processes import Popen
    from .backend import Backend

__all__ = ["ClusterContext", "context_of"]

_GROUP = "procession.backends"

# The engines of this package, which are found even if it was not installed.
_OURS = {
    "dask": "procession.distributed.dask:Dask",
    "loopback": "procession.distributed.loopback:Loopback",
    "ray": "procession.distributed.ray:Ray",
}

# Seconds after which an agent that hears nothing of its client ends.
_LEASE = 30.0

_contexts: dict[str, ClusterContext] = {}


def context_of(url: str) -> ClusterContext | None:
    """Returns the context of a cluster, or None if there is no engine of that name.

    Args:
        url: Where it is: "loopback://4", or the name of an engine alone.

    Raises:
        EngineUnavailable: No cluster is there.
        ValueError: The engine does not know what the URL says.

    Example:
        >>> from procession.distributed import context_of
        >>> context = context_of("loopback://2?slots=3")
        >>> context.get_start_method(), context.cpu_count()
        ('loopback://2?slots=3', 6)
        >>> context_of("nonesuch://1") is None
        True
    """
    known = _contexts.get(url)
    if known is not None:
        return known
    make = _backend_of(urllib.parse.urlsplit(url).scheme or url.partition("?")[0])
    if make is None:
        return None
    backend = make()
    backend.open(url)
    return _contexts.setdefault(url, ClusterContext(url, backend))


def _backend_of(name: str) -> Callable[[], Backend] | None:
    import importlib.metadata

    found = [*importlib.metadata.entry_points(group=_GROUP, name=name)]
    if not found and name in _OURS:
        found = [importlib.metadata.EntryPoint(name, _OURS[name], _GROUP)]
    return found[0].load() if found else None


class ClusterProcess(process.BaseProcess):
    """A process that runs on a node of a cluster."""


def _start_on(url: str, process_obj: Any) -> Popen:
    """Starts a process on a node of the cluster of a URL."""
    context = context_of(url)
    assert context is not None, "it was there when the class was made"
    return context._launch(process_obj)


def _process_class(url: str) -> type[process.BaseProcess]:
    """Returns the class `Process` of a cluster's context."""
    # Not the context itself: a subclass may cross by value, with all that it refers to.
    start = staticmethod(functools.partial(_start_on, url))
    return type("ClusterProcess", (ClusterProcess,), {"_Popen": start})


class ClusterContext(BaseContext):
    """The functions of the package for one cluster.

    Args:
        url: Where the cluster is.
        backend: The engine, which is attached to it.

    Example:
        >>> import procession
        >>> context = procession.get_context("loopback://2")
        >>> with context.Pool() as pool:
        ...     print(pool.map(len, ["one", "three"]))
        [3, 5]
    """

    EngineMismatch = EngineMismatch
    EngineUnavailable = EngineUnavailable
    NodeLost = NodeLost

    # What can exist on one machine only.
    _refused = frozenset({"Actor", "Pipe", "RawArray", "RawValue"})

    _name: str  # type: ignore[misc]

    def __init__(self, url: str, backend: Backend) -> None:
        self._name = url
        self._backend = backend
        self.Process = _process_class(url)  # type: ignore[misc]
        self._launcher: Launcher | None = None
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)
        self._lease = _seconds(url, "lease", query.get("lease", [str(_LEASE)])[-1])
        self._start_method = query.get("start_method", [None])[-1]
        # The key that this process and those on nodes prove to each other.
        self._authkey = bytes(process.current_process().authkey)
        self._hub: Hub | None = None
        self._making = threading.RLock()

    def cpu_count(self) -> int:
        """Returns how many workers there is room for on all nodes."""
        return sum(place.slots for place in self._backend.places())

    def _pool_engine(
        self,
        workers: int,
        setup: tuple[Callable[..., object] | None, Iterable[Any]],
        max_tasks: int | None,
        bounds: Bounds,
        life: LifeOptions,
        errors: Callable[[str, Any], Any] | None = None,
        by_name_only: bool = False,
    ) -> Coordinator:
        """Returns what runs the tasks of a pool of this context."""
        env: Any = bounds._env
        for name, is_given in (
            ("affinity", bounds._affinity is not None),
            ("env that is a function", callable(env)),
            ("pickler of its own", by_name_only),
        ):
            if is_given:
                raise ValueError(f"a pool on {self._name} has no {name}")
        options: dict[str, Any] = {
            "maxtasksperchild": max_tasks,
            "memory_limit": bounds.memory_limit,
            "max_memory_per_worker": bounds._resident,
            "env": None if env is None else dict(env),
            "idle_timeout": life.idle_timeout,
            "threads_per_worker": life.threads,
        }
        first: Any = None
        modules: list[str] = []
        make_state = None if life.of_worker is None else life.of_worker.make_state
        if setup[0] is not None or make_state is not None:
            key = None if life.state is None else life.state.key
            begin = setup[0], tuple(setup[1]), make_state, key
            first, modules = _pickling.dumps_held(begin), _pickling.module_names(begin)
            if life.setup_limit is not None:
                options["initializer_timeout"] = life.setup_limit[0]
        given = {name: value for name, value in options.items() if value is not None}
        agents = {
            "setup": None if first is None else [*first],
            "modules": modules,
            "options": given,
            "start_method": self._start_method or "forkserver",
            "wanted": _imported_by_main(),
            "authkey": self._authkey,
        }
        held = getattr(first, "handles", None)
        return Coordinator(self._backend, workers, self._lease, agents, errors, held)

    if not TYPE_CHECKING:

        def Pipe(self, duplex: bool = True) -> NoReturn:
            """Refuses, as both ends of a pipe are on one machine."""
            self._refuse("Pipe", "connection.Listener and Client")

        def RawValue(self, typecode_or_type: Any, *args: Any) -> NoReturn:
            """Refuses, as shared memory is on one machine."""
            self._refuse("RawValue", _RETURN)

        def RawArray(self, typecode_or_type: Any, size_or_initializer: Any) -> NoReturn:
            """Refuses, as shared memory is on one machine."""
            self._refuse("RawArray", _RETURN)

        def Value(self, typecode_or_type: Any, *args: Any, lock: Any = True) -> Any:
            """Returns a number, a character or a structure that the hub keeps."""
            from .sharedctypes import value_of

            return value_of(self._hub_address(), typecode_or_type, *args, lock=lock)

        def Array(
            self, typecode_or_type: Any, size_or_initializer: Any, *, lock: Any = True
        ) -> Any:
            """Returns an array of numbers, characters or structures that the hub keeps."""
            from .sharedctypes import Array

            return Array(
                self._hub_address(), typecode_or_type, size_or_initializer, lock
            )

        def Lock(self) -> Any:
            """Returns a lock that the hub keeps."""
            from .synchronize import Lock

            return Lock(self._hub_address())

        def RLock(self) -> Any:
            """Returns a lock that its owner may take again, and that the hub keeps."""
            from .synchronize import RLock

            return RLock(self._hub_address())

        def Condition(self, lock: Any = None) -> Any:
            """Returns a condition variable that the hub keeps."""
            from .synchronize import Condition

            return Condition(self._hub_address(), lock)

        def Semaphore(self, value: int = 1) -> Any:
            """Returns a semaphore that the hub keeps."""
            from .synchronize import Semaphore

            return Semaphore(self._hub_address(), value)

        def BoundedSemaphore(self, value: int = 1) -> Any:
            """Returns a semaphore that cannot rise above its first value."""
            from .synchronize import BoundedSemaphore

            return BoundedSemaphore(self._hub_address(), value)

        def Event(self) -> Any:
            """Returns a flag that the hub keeps."""
            from .synchronize import Event

            return Event(self._hub_address())

        def Barrier(
            self, parties: int, action: Any = None, timeout: float | None = None
        ) -> Any:
            """Returns a barrier that the hub keeps."""
            from .synchronize import Barrier

            return Barrier(self._hub_address(), parties, action, timeout)

        def Queue(self, maxsize: int = 0) -> Any:
            """Returns a queue that the hub keeps."""
            from .queues import Queue

            return Queue(self._hub_address(), maxsize)

        def JoinableQueue(self, maxsize: int = 0) -> Any:
            """Returns a queue that can be joined, and that the hub keeps."""
            from .queues import JoinableQueue

            return JoinableQueue(self._hub_address(), maxsize)

        def SimpleQueue(self) -> Any:
            """Returns a queue without limits and timeouts, which the hub keeps."""
            from .queues import SimpleQueue

            return SimpleQueue(self._hub_address())

        def Manager(self) -> Any:
            """Returns a manager whose server runs on this machine, where the nodes reach it."""
            from ..managers import SyncManager

            host = self._backend.client_host()
            manager = SyncManager(
                None if host is None else (host, 0),
                self._authkey,
                ctx=self.get_context("spawn"),
            )
            manager.start()
            return manager

        def Actor(self, *args: Any, **kwargs: Any) -> NoReturn:
            """Refuses, as an actor is on the program's machine."""
            self._refuse("Actor", "a pool with a worker_state")

    def close(self) -> None:
        """Ends the processes of this context, and its locks, queues and values.

        Whoever waits for one of these gets `EngineUnavailable`. What is made afterwards is of a new
        hub. A program that ends need not call it.
        """
        with self._making:
            hub, self._hub = self._hub, None
            launcher, self._launcher = self._launcher, None
        if launcher is not None:
            launcher.close()
        if hub is not None:
            _session.forget(hub.address)
            hub.close()

    def _launch(self, process_obj: Any) -> Popen:
        """Starts a process on a node."""
        with self._making:
            launcher = self._launcher
            if launcher is None or launcher.pid != os.getpid():
                setup = {
                    "start_method": self._start_method or "forkserver",
                    "authkey": self._authkey,
                }
                launcher = Launcher(self._backend, self._lease, setup)
                self._launcher = launcher
        return launcher.start(process_obj)

    def _hub_address(self) -> Any:
        """Returns where the hub is, which begins with the first object that it is to keep."""
        with self._making:
            hub = self._hub
            if hub is None:
                hub = Hub(self._backend.client_host(), self._authkey, self._lease)
                _session.keys[hub.address] = self._authkey
                self._hub = hub
            return hub.address

    def _refuse(self, what: str, instead: str) -> NoReturn:
        raise NotImplementedError(
            f"{self._name} has no {what}: use {instead}, or get_context('spawn').{what} "
            "for this machine alone"
        )


def _imported_by_main() -> list[str]:
    """Returns the packages that the main module has something of: its tasks may need them."""
    names = set()
    for value in [*vars(sys.modules["__main__"]).values()]:
        name = getattr(
            value, "__name__" if isinstance(value, _MODULE) else "__module__", ""
        )
        if isinstance(name, str):
            names.add(name.partition(".")[0])
    return sorted(names - sys.stdlib_module_names - {"", "__main__", "procession"})


_MODULE = type(sys)

_RETURN = "what tasks are given and return"


def _seconds(url: str, name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"{url}: {name} must be more than 0 seconds, not {text!r}")
    return seconds
