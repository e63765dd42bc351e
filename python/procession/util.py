"""Logging, finalizers, the end of a process, and what a fork must renew.

These are the names that `multiprocessing.util` has and that other packages import;
`Finalize` and `register_after_fork` behave as they do there. Several nouns share this
file because their clients look for them here. Leaves out resource tracking (nothing
of ours has a name that could be left behind) and all that is about starting
processes.

`socket`, `logging`, `tempfile` and `subprocess` are imported by the functions that
need them: together they would double what a spawned child pays for its imports.
"""

from __future__ import annotations

import atexit
import itertools
import os
import sys
import threading  # Imported here, as its exit function must be registered before ours.
import weakref

from . import _procession, _registry
from ._flags import args_from_interpreter_flags as _args_from_interpreter_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from logging import Logger, LogRecord
    from typing import Any, TextIO

__all__ = [
    "SUBDEBUG",
    "SUBWARNING",
    "Finalize",
    "ForkAwareLocal",
    "ForkAwareThreadLock",
    "_args_from_interpreter_flags",
    "close_all_fds_except",
    "debug",
    "get_logger",
    "get_temp_dir",
    "info",
    "is_exiting",
    "log_to_stderr",
    "register_after_fork",
    "sub_debug",
    "sub_warning",
    "warn",
]

# Logging.

NOTSET = 0
SUBDEBUG = 5
DEBUG = 10
INFO = 20
SUBWARNING = 25
WARNING = 30

LOGGER_NAME = "multiprocessing"
DEFAULT_LOGGING_FORMAT = "[%(levelname)s/%(processName)s] %(message)s"

_logger: Logger | None = None
_log_to_stderr = False


def sub_debug(msg: object, *args: object) -> None:
    """Logs at a level below DEBUG, if anybody asked for the logger."""
    if _logger:
        _logger.log(SUBDEBUG, msg, *args, stacklevel=2)


def debug(msg: object, *args: object) -> None:
    """Logs at level DEBUG, if anybody asked for the logger."""
    if _logger:
        _logger.log(DEBUG, msg, *args, stacklevel=2)


def info(msg: object, *args: object) -> None:
    """Logs at level INFO, if anybody asked for the logger."""
    if _logger:
        _logger.log(INFO, msg, *args, stacklevel=2)


def sub_warning(msg: object, *args: object) -> None:
    """Logs at a level below WARNING, if anybody asked for the logger."""
    if _logger:
        _logger.log(SUBWARNING, msg, *args, stacklevel=2)


def warn(msg: object, *args: object) -> None:
    """Logs at level WARNING, if anybody asked for the logger."""
    if _logger:
        _logger.log(WARNING, msg, *args, stacklevel=2)


def get_logger() -> Logger:
    """Returns the package's logger, as in `multiprocessing`; it has the same name."""
    global _logger
    import logging

    if _logger is None:
        _logger = logging.getLogger(LOGGER_NAME)
        _logger.propagate = False
        # Functions run at exit in reverse order: ours still logs, so it must run
        # before logging shuts down.
        atexit.unregister(_exit_function)
        atexit.register(_exit_function)
    return _logger


def log_to_stderr(level: int | str | None = None) -> Logger:
    """Makes the package's logger print to stderr, as in `multiprocessing`."""
    global _log_to_stderr
    import logging

    logger = get_logger()
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(DEFAULT_LOGGING_FORMAT))
    handler.addFilter(_name_process)
    logger.addHandler(handler)
    if level:
        logger.setLevel(level)
    _log_to_stderr = True
    return logger


def _name_process(record: LogRecord) -> bool:
    """Puts our process name into a record; logging asks only `multiprocessing`."""
    record.processName = _registry.current_process().name
    return True


# The objects that a forked child renews.

_afterfork_registry: weakref.WeakValueDictionary[Any, Any] = (
    weakref.WeakValueDictionary()
)
_afterfork_counter = itertools.count()


def register_after_fork(obj: Any, func: Callable[[Any], object]) -> None:
    """Has `func(obj)` called in every child that is forked while `obj` lives.

    As in `multiprocessing`.
    """
    _afterfork_registry[(next(_afterfork_counter), id(obj), func)] = obj


def _run_after_forkers() -> None:
    # Not `len`, which is a function of Python for this class.
    if not _afterfork_registry.data:  # type: ignore[attr-defined]
        return
    for (_, _, func), obj in sorted(
        _afterfork_registry.items(), key=lambda item: item[0][0]
    ):
        try:
            func(obj)
        except Exception as error:
            info("after forker raised exception %s", error)


# Finalizers.

_finalizer_registry: dict[tuple[int | None, int], Finalize] = {}
_finalizer_counter = itertools.count()


class Finalize:
    """Calls a function once: when an object goes, at exit, or when called itself.

    As in `multiprocessing`: with an `exitpriority` it is called at exit, the highest
    first and the latest first among equals; it is never called in a process other
    than the one that made it.

    Raises:
        TypeError: `exitpriority` is neither None nor an int.
        ValueError: There is neither an object nor an `exitpriority`.
    """

    _weakref: weakref.ref[Any] | None

    def __init__(
        self,
        obj: Any,
        callback: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        exitpriority: int | None = None,
    ) -> None:
        if exitpriority is not None and not isinstance(exitpriority, int):
            raise TypeError(
                f"exitpriority must be None or int, not {type(exitpriority).__name__}"
            )
        if obj is not None:
            self._weakref = weakref.ref(obj, self)
        elif exitpriority is None:
            raise ValueError("without an object, exitpriority cannot be None")
        else:
            self._weakref = None
        self._callback: Callable[..., Any] | None = callback
        self._args: Sequence[Any] | None = args
        self._kwargs: Mapping[str, Any] | None = kwargs or {}
        self._key: Any = (exitpriority, next(_finalizer_counter))
        self._pid = os.getpid()
        _finalizer_registry[self._key] = self

    def __call__(
        self,
        wr: object = None,
        # Bound here because the module's globals may be gone when it is called.
        _finalizer_registry: dict[Any, Finalize] = _finalizer_registry,
        sub_debug: Callable[..., None] = sub_debug,
        getpid: Callable[[], int] = os.getpid,
    ) -> Any:
        """Calls the function, unless it was called or cancelled before."""
        if self._key not in _finalizer_registry:
            sub_debug("finalizer no longer registered")
            return None
        callback, args, kwargs = self._callback, self._args, self._kwargs
        is_ours = self._pid == getpid()
        if is_ours:
            sub_debug(
                "finalizer calling %s with args %s and kwargs %s",
                callback,
                args,
                kwargs,
            )
        else:
            sub_debug("finalizer ignored because different process")
        try:
            # From here to the call there is no other: were one interrupted, the function
            # would never be called.
            del _finalizer_registry[self._key]
        except KeyError:
            return None
        self._weakref = self._callback = self._args = self._kwargs = self._key = None
        if is_ours:
            return callback(*args, **kwargs)  # type: ignore[misc, arg-type]
        return None

    def cancel(self) -> None:
        """Drops the function without calling it."""
        if _finalizer_registry.pop(self._key, None) is not None:
            self._forget()

    def still_active(self) -> bool:
        """Returns whether the function is still waiting to be called."""
        return self._key in _finalizer_registry

    def _forget(self) -> None:
        self._weakref = self._callback = self._args = self._kwargs = self._key = None

    def __repr__(self) -> str:
        name = type(self).__name__
        if self._key is None or (self._weakref is not None and self._weakref() is None):
            return f"<{name} object, dead>"
        parts = [
            f"<{name} object",
            f"callback={getattr(self._callback, '__name__', self._callback)}",
        ]
        if self._args:
            parts.append(f"args={self._args}")
        if self._kwargs:
            parts.append(f"kwargs={self._kwargs}")
        if self._key[0] is not None:
            parts.append(f"exitpriority={self._key[0]}")
        return ", ".join(parts) + ">"


def _run_finalizers(minpriority: int | None = None) -> None:
    """Calls the finalizers that have an exit priority of at least the given one."""
    if _finalizer_registry is None:
        return  # The interpreter is tearing the module down.

    # A list first: a finalizer, another thread or a collection may change the registry.
    keys = [
        key
        for key in list(_finalizer_registry)
        if key[0] is not None and (minpriority is None or key[0] >= minpriority)
    ]
    for key in sorted(keys, reverse=True):
        finalizer = _finalizer_registry.get(key)
        if finalizer is None:
            continue
        sub_debug("calling %s", finalizer)
        try:
            finalizer()
        except Exception:
            import traceback

            traceback.print_exc()
    if minpriority is None:
        _finalizer_registry.clear()


# The end of a process.

_exiting = False


def is_exiting() -> bool:
    """Returns whether the process is shutting down."""
    return _exiting or _exiting is None


def _exit_function(
    # Bound here because the module's globals may be gone when it is called.
    info: Callable[..., None] = info,
    debug: Callable[..., None] = debug,
    _run_finalizers: Callable[..., None] = _run_finalizers,
    active_children: Callable[[], list[Any]] = _registry.active_children,
    current_process: Callable[[], Any] = _registry.current_process,
    children: set[Any] = _registry.children,
) -> None:
    """Ends the daemons, joins the other children and runs what is owed at exit."""
    global _exiting
    if _exiting:
        return
    _exiting = True
    if not (_finalizer_registry or children or _logger):
        return  # Most children return here, and do not copy the pages of what follows.
    info("process shutting down")
    debug('running all "atexit" finalizers with priority >= 0')
    _run_finalizers(0)
    if current_process() is not None:
        out_of_reach = []
        for child in active_children():
            if child.daemon:
                info("calling terminate() for daemon %s", child.name)
                try:
                    child._popen.terminate()
                except Exception:
                    # This one ends with this process all the same; the others are ended
                    # now.
                    out_of_reach.append(child)
                    _show_error()
        for child in active_children():
            if child in out_of_reach:
                continue
            info("calling join() for process %s", child.name)
            try:
                child.join()
            except Exception:
                _show_error()
    debug('running the remaining "atexit" finalizers')
    _run_finalizers()


def _show_error() -> None:
    import traceback

    traceback.print_exc()


atexit.register(_exit_function)


# Actions that must not be left half done when a handler of a signal raises.

_is_interrupt = _procession.is_interrupt
_with_undo = _procession.with_undo


# Locks and locals that a fork renews.


class ForkAwareThreadLock(_procession.Guarding):
    """A lock between threads that is free in a forked child, as in `multiprocessing`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.acquire = self._lock.acquire
        self.release = self._lock.release
        register_after_fork(self, ForkAwareThreadLock._at_fork_reinit)

    def _at_fork_reinit(self) -> None:
        self._lock._at_fork_reinit()


class ForkAwareLocal(threading.local):
    """Attributes per thread that are empty in a forked child, as in `multiprocessing`."""

    def __init__(self) -> None:
        register_after_fork(self, lambda obj: obj.__dict__.clear())

    def __reduce__(self) -> tuple[type[ForkAwareLocal], tuple[()]]:
        return type(self), ()


# Descriptors and standard streams.

abstract_sockets_supported = True


def is_abstract_socket_namespace(address: str | bytes | None) -> bool:
    """Returns whether a socket address has no file.

    Raises:
        TypeError: It is neither text nor bytes.
    """
    if not address:
        return False
    if isinstance(address, bytes):
        return address[0] == 0
    if isinstance(address, str):
        return address[0] == "\0"
    raise TypeError(f"address type of {address!r} unrecognized")


try:
    MAXFD = os.sysconf("SC_OPEN_MAX")
except (OSError, ValueError):
    MAXFD = 256


def close_all_fds_except(fds: Iterable[int]) -> None:
    """Closes every descriptor but the given ones."""
    bounds = sorted([*fds, -1, MAXFD])
    assert bounds[-1] == MAXFD, "fd too large"
    for low, high in itertools.pairwise(bounds):
        os.closerange(low + 1, high)


def close_fds(*fds: int) -> None:
    """Closes each of the given descriptors."""
    for fd in fds:
        os.close(fd)


def _close_stdin() -> None:
    """Replaces `sys.stdin` by an empty one: the terminal's input is the parent's."""
    old = sys.stdin
    if old is None:
        return
    new = None
    if _empty_stdin is not None:
        made, is_ours = _empty_stdin
        if is_ours() and not made.closed:
            new = made
    if new is old:
        return
    try:
        old.close()
    except Exception:
        pass  # A program may have put any object there.
    try:
        sys.stdin = _open_empty()[0] if new is None else new
    except (OSError, ValueError):
        pass


def _open_empty() -> tuple[TextIO, Callable[[], bool]]:
    """Opens an input with nothing in it; returns also what tells whether it is open."""
    # Never closed: another part of the program may have it from `sys.stdin`.
    kept = _procession.KeptFd(os.open(os.devnull, os.O_RDONLY))
    stream = open(kept.fileno(), encoding="utf-8", closefd=False)  # noqa: SIM115
    # By this the stream's descriptor lives as long as the stream.
    stream._kept = kept  # type: ignore[attr-defined]
    return stream, kept.is_ours


# An empty input that children find made.
_empty_stdin: tuple[TextIO, Callable[[], bool]] | None = None


def _make_empty_stdin() -> None:
    """Makes an empty input for the children that this process is about to fork.

    In a child it would take a tenth of the time from its start to its end, for all the
    pages that are written to and so copied.
    """
    global _empty_stdin
    try:
        _empty_stdin = _open_empty()
    except OSError:
        pass  # The child tries again.


def _flush_std_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, ValueError):
            pass  # None, or closed.


def spawnv_passfds(path: bytes, args: Sequence[Any], passfds: Iterable[int]) -> int:
    """Starts a program that keeps only the given descriptors; returns its pid.

    As in `multiprocessing`; procession itself starts programs by its engine.
    """
    # Looked up now, as tools that watch starts replace it.
    import _posixsubprocess

    fork_exec: Any = _posixsubprocess.fork_exec
    errors_of_exec, told = os.pipe()
    try:
        pid: int = fork_exec(
            args,
            [path],
            True,
            tuple(sorted(map(int, passfds))),
            *(None, None),  # The directory and the environment are this process's.
            *(-1, -1, -1, -1, -1, -1),  # And so are the streams.
            *(errors_of_exec, told),
            *(False, False, -1),  # No other signals, session or group.
            *(None, None, None, -1),  # No other user, groups or umask.
            None,
            *([True] if sys.version_info < (3, 14) else []),  # vfork may be used.
        )
    finally:
        os.close(errors_of_exec)
        os.close(told)
    return pid


# A temporary directory.


def get_temp_dir() -> str:
    """Returns a directory that is removed at exit, as in `multiprocessing`."""
    config = _registry.current_process()._config
    tempdir: str | None = config.get("tempdir")
    if tempdir is None:
        import shutil
        import tempfile

        tempdir = tempfile.mkdtemp(prefix="pymp-")
        info("created temp directory %s", tempdir)
        # The function itself is kept, as the module may be gone when it is called.
        Finalize(None, _remove_temp_dir, (shutil.rmtree, tempdir), exitpriority=-100)
        config["tempdir"] = tempdir
    return tempdir


def _remove_temp_dir(rmtree: Callable[[str], object], tempdir: str) -> None:
    rmtree(tempdir)
    process = _registry.current_process()
    if process is not None:
        process._config["tempdir"] = None


def _cleanup_tests() -> None:
    """Ends what is kept for a whole program; the tests of CPython call it at their end."""
    from . import forkserver

    _registry.forget_ended()
    forkserver._forkserver._stop()
    _run_finalizers()
