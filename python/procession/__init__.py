"""Runs functions in processes: `multiprocessing`, rebuilt on an engine in Rust.

Every name of `multiprocessing` is here and means the same; docs/compat.md lists where it
is better. Beyond it: `install`, the exceptions `OwnerDied`, `WorkerDied`, `TaskTimeout`,
`SoftTimeout`, `CancelledError`, `MemoryLimitExceeded` and `RemoteError`, on `Process` the members
`state`, `blocked_on`, `result`, `request_stop`, `stop_requested`, `wait_for_stop` and
`worker_index`, `Shared`, `get_pool`, `trace`, `openmetrics`, and what the class `Pool` tells of.

As in `multiprocessing`, the functions are the methods of the default context.
"""

import sys
from os import environ as _environ

try:
    from . import context
except ImportError as error:
    from . import _interpreter

    _interpreter.explain(error)
    raise
from ._install import install as install
from ._procession import VERSION as _version
from .context import (
    AuthenticationError as AuthenticationError,
)
from .context import (
    BufferTooShort as BufferTooShort,
)
from .context import (
    CancelledError as CancelledError,
)
from .context import (
    MemoryLimitExceeded as MemoryLimitExceeded,
)
from .context import (
    OwnerDied as OwnerDied,
)
from .context import (
    Process as Process,
)
from .context import (
    ProcessError as ProcessError,
)
from .context import (
    RemoteError as RemoteError,
)
from .context import (
    SoftTimeout as SoftTimeout,
)
from .context import (
    TaskTimeout as TaskTimeout,
)
from .context import (
    TimeoutError as TimeoutError,
)
from .context import (
    WorkerDied as WorkerDied,
)
from .process import (
    active_children as active_children,
)
from .process import (
    current_process as current_process,
)
from .process import (
    parent_process as parent_process,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from typing import Any

    from ._log_relay import LogRelay as LogRelay
    from ._reusable import get_pool as get_pool
    from ._shared_object import Shared as Shared
    from ._trace import Trace as Trace
del TYPE_CHECKING  # Deleted, or it would be one of the public names.

__version__ = _version

_default = context._default_context

Actor = _default.Actor
Array = _default.Array
Barrier = _default.Barrier
BoundedSemaphore = _default.BoundedSemaphore
Condition = _default.Condition
Event = _default.Event
JoinableQueue = _default.JoinableQueue
Lock = _default.Lock
Manager = _default.Manager
Pipe = _default.Pipe
Pool = _default.Pool
Queue = _default.Queue
RLock = _default.RLock
RawArray = _default.RawArray
RawValue = _default.RawValue
Semaphore = _default.Semaphore
SimpleQueue = _default.SimpleQueue
Value = _default.Value
allow_connection_pickling = _default.allow_connection_pickling
cpu_count = _default.cpu_count
freeze_support = _default.freeze_support
get_all_start_methods = _default.get_all_start_methods
get_context = _default.get_context
get_logger = _default.get_logger
get_start_method = _default.get_start_method
log_to_stderr = _default.log_to_stderr
reducer = _default.reducer
set_executable = _default.set_executable
set_forkserver_preload = _default.set_forkserver_preload
set_start_method = _default.set_start_method

SUBDEBUG = 5
SUBWARNING = 25

__all__ = [
    "Actor",
    "Array",
    "AuthenticationError",
    "Barrier",
    "BoundedSemaphore",
    "BufferTooShort",
    "CancelledError",
    "Condition",
    "Event",
    "JoinableQueue",
    "Lock",
    "Manager",
    "MemoryLimitExceeded",
    "OwnerDied",
    "Pipe",
    "Pool",
    "Process",
    "ProcessError",
    "Queue",
    "RLock",
    "RawArray",
    "RawValue",
    "RemoteError",
    "Semaphore",
    "Shared",
    "SimpleQueue",
    "SoftTimeout",
    "TaskTimeout",
    "TimeoutError",
    "Value",
    "WorkerDied",
    "active_children",
    "allow_connection_pickling",
    "cpu_count",
    "current_process",
    "freeze_support",
    "get_all_start_methods",
    "get_context",
    "get_logger",
    "get_pool",
    "get_start_method",
    "install",
    "log_to_stderr",
    "openmetrics",
    "parent_process",
    "reducer",
    "relay_logs",
    "set_executable",
    "set_forkserver_preload",
    "set_start_method",
    "trace",
]

# There each is imported with another that needs it; here few need others.
_SUBMODULES = {
    "actor",
    "connection",
    "dummy",
    "forkserver",
    "futures",
    "heap",
    "managers",
    "pool",
    "popen_fork",
    "popen_forkserver",
    "popen_spawn_posix",
    "queues",
    "resource_sharer",
    "resource_tracker",
    "shared_memory",
    "sharedctypes",
    "spawn",
    "synchronize",
    "util",
}

# What few programs need, with the module that has it. Each import takes every child of spawn some
# 0.2 ms.
_ON_DEMAND = {"Shared": "_shared_object", "get_pool": "_reusable"}


def relay_logs() -> "LogRelay":
    """Relays the records that children log to the handlers of this process.

    It holds for processes and workers that are started from now on, under every start
    method, and for their children: they have the levels that the loggers have here, and no
    handlers of their own but those that they add. A record arrives with the name and the id
    of its process, and the logger of its name handles it, if its level is high enough
    there. A record is safe when the call that logged it has returned, however its process
    ends; all are handled before this process ends.

    Returns:
        What ends it: a context manager, with a method `stop`.

    Example:
        >>> import logging
        >>> import procession
        >>> import sys
        >>> logging.basicConfig(
        ...     stream=sys.stdout, format="%(processName)s: %(message)s"
        ... )
        >>> with procession.relay_logs():
        ...     child = procession.Process(
        ...         target=logging.warning, args=("low on fuel",), name="engine"
        ...     )
        ...     child.start()
        ...     child.join()
        engine: low on fuel
    """
    from ._log_relay import LogRelay

    relay = LogRelay()
    current_process()._config["log_relay"] = relay.for_children()
    return relay


def openmetrics(pid: int | None = None) -> str:
    """Returns what a family of processes does as metrics: OpenMetrics text.

    A program answers a scraper that asks for `/metrics` with this text, with the
    content type `application/openmetrics-text; version=1.0.0; charset=utf-8`.
    docs/metrics.md has the names. What is looked at does not notice.

    Args:
        pid: A process of the family; by default it is the family of this process. While that
            has none, there are no samples.

    Raises:
        NotImplementedError: The family is of another version.
        OSError: The process is another user's, or there is none.
        ValueError: It belongs to no family.

    Example:
        >>> import procession
        >>> queue = procession.Queue(7)
        >>> queue.put("item")
        >>> lines = procession.openmetrics().splitlines()
        >>> any(line.startswith("procession_queue_limit{") for line in lines)
        True
        >>> lines[-1]
        '# EOF'
    """
    from . import _procession

    return _procession.openmetrics(pid)


def trace(path: "str | os.PathLike[str]") -> "Trace":
    """Begins to write what this process and all its relatives do into a file.

    The file is for `ui.perfetto.dev` and `chrome://tracing`: processes from start to end,
    how they ended, tasks of pools by their functions, what threads wait for, and what goes
    through queues. docs/trace.md tells more. Processes that run already are in it, too.

    Args:
        path: The file, which is made anew. `{pid}` in it stands for the id of this process.

    Returns:
        What ends it: a context manager, with a method `stop`. The end of this process ends
        it, too.

    Raises:
        OSError: The file cannot be made.
        ValueError: A process of the family writes a trace already.

    Example:
        >>> import json
        >>> import os
        >>> import procession
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "run.json")
        ...     with procession.trace(path):
        ...         child = procession.Process(target=abs, args=(-1,), name="Ada")
        ...         child.start()
        ...         child.join()
        ...     with open(path) as file:
        ...         events = json.load(file)["traceEvents"]
        >>> any(event["args"].get("name") == "Ada" for event in events)
        True
    """
    from ._trace import Trace

    return Trace(path)


def __getattr__(name: str) -> "Any":
    """Imports a submodule, or what is public of another one, when it is first asked for."""
    home = name if name in _SUBMODULES else _ON_DEMAND.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    module = importlib.import_module(f"{__name__}.{home}")
    return module if home == name else getattr(module, name)


def __dir__() -> list[str]:
    """Returns the public names: what is imported here for others' use is none."""
    own = [name for name in globals() if name.startswith("__")]
    more = ["SUBDEBUG", "SUBWARNING", "context", "process", "reduction"]
    return [*own, *__all__, *_SUBMODULES, *more]


# Children find the main module under this name, and so must what is pickled here.
if "__main__" in sys.modules:
    sys.modules["__mp_main__"] = sys.modules["__main__"]

if "PROCESSION_TRACE" in _environ:
    from ._trace import begin_by_environment

    begin_by_environment()
    del begin_by_environment
