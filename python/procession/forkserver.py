"""The fork server: a small interpreter that is copied for each child.

The first process that needs it starts it; its descendants use the same one. It imports
what `set_forkserver_preload` names, by default the program's main module, and with that
the module in which the first target is defined; then it keeps copies of itself parked.
The rest is the engine's.

Names and meaning are those of `multiprocessing.forkserver`, except that the main
module is always imported where that is asked for (older versions of CPython do not).
"""

from __future__ import annotations

import atexit
import importlib
import os
import sys
import threading
import warnings

from . import _hooks, _procession, process, spawn, util
from ._spawning import set_spawning_popen
from ._thread_lock import under_lock
from .popen_fork import fork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn

__all__ = ["ensure_running", "get_inherited_fds", "set_forkserver_preload"]


# The parts of a preparation that each child gets anew: the directory may be another one
# of the same name, a logger's handlers cannot be inherited, and the server may have
# failed to import the main module.
_EACH_CHILDS_OWN = {"name", "dir", "log_to_stderr", "log_level", *spawn.MAIN_KEYS}


class ForkServer:
    """The fork server as its users see it."""

    def __init__(self) -> None:
        self._server = _procession.ForkServer()
        self._lock = threading.Lock()
        self._preload_modules: Sequence[str] = ["__main__"]
        # Whether the program has named them, or they are the default.
        self._preload_was_set = False
        self._preload_on_error = "ignore"
        # The preparation by the process that started it.
        self._prepared: dict[str, Any] | None = None
        # The handle by which a process that it has forked finds it.
        self._handle: tuple[int, int] | None = None
        os.register_at_fork(after_in_child=self._after_fork)

    def set_forkserver_preload(
        self, modules_names: Sequence[str], *, on_error: str = "ignore"
    ) -> None:
        """Sets what the server imports before it forks; a hint, as it always was.

        Args:
            modules_names: The modules; "__main__" is the program's.
            on_error: What happens if a module cannot be imported: "ignore" leaves it to
                the children that need it, "warn" has the server give an ImportWarning,
                too, and "fail" ends it, so that no process can be started.

        Raises:
            TypeError: A name is not text.
            ValueError: `on_error` is none of these.
        """
        if not all(type(name) is str for name in modules_names):
            raise TypeError("module_names must be a list of strings")
        if on_error not in ("ignore", "warn", "fail"):
            raise ValueError(
                f"on_error must be 'ignore', 'warn', or 'fail', not {on_error!r}"
            )
        self._preload_modules = modules_names
        self._preload_was_set = True
        self._preload_on_error = on_error

    def get_inherited_fds(self) -> list[int] | None:
        """Returns the descriptors that this child was given; None in the main process."""
        return spawn.inherited_fds

    def ensure_running(self) -> None:
        """Starts the server unless it runs."""
        under_lock(self._lock, self._ensure)

    def unknown(self, preparation: dict[str, Any], process_obj: Any) -> dict[str, Any]:
        """Returns what a child must be told that the server has not done already.

        Starts the server unless it runs. Most children differ in their name only, and
        each step that they are spared is a page or two that is not copied.
        """
        if getattr(self.ensure_running, "__func__", None) is not _ensure_running:
            self.ensure_running()  # The server has to be started, or told more, before.
        under_lock(self._lock, self._ensure, process_obj)
        known = self._prepared
        if known is None:
            return preparation
        return {
            key: value
            for key, value in preparation.items()
            if key not in known or known[key] != value
        }

    def start(
        self, name: str, daemon: bool, payload: _procession.Payload, fds: list[int]
    ) -> _procession.Child:
        """Returns a child that does what the payload says."""
        return under_lock(self._lock, self._start_running, name, daemon, payload, fds)

    def _start_running(
        self, name: str, daemon: bool, payload: _procession.Payload, fds: list[int]
    ) -> _procession.Child:
        """Starts a child, and the server if need be."""
        # Checked last: children have the privileges of the server.
        if not self._server.is_running():
            self._ensure(anew=True)
        try:
            return self._start(name, daemon, payload, fds)
        except ChildProcessError as error:
            if self._preload_on_error != "fail" or not self._preload_modules:
                raise
            raise _broken_by_preload(error, self._preload_modules) from error
        except BlockingIOError as error:
            if not self._preload_modules:
                raise
            # A module that the server has imported runs threads, so the server
            # cannot fork.
            self._server.stop()
            self._preload_modules = []
            self._ensure()
            child = self._start(name, daemon, payload, fds)
            if self._preload_was_set:
                _warn(f"{error}; each child will import its modules itself")
            return child

    def _start(
        self, name: str, daemon: bool, payload: _procession.Payload, fds: list[int]
    ) -> _procession.Child:
        for _ in range(_procession.ForkServer.ATTEMPTS):
            try:
                return self._server.start(name, daemon, payload, fds)
            except ProcessLookupError:
                # The server was killed after the check. If it had ended by itself, the
                # error would be another.
                self._ensure()
        return self._server.start(name, daemon, payload, fds)

    @property
    def _forkserver_pid(self) -> int | None:
        return self._server.pid()

    def _ensure(self, process_obj: Any = None, anew: bool = False) -> None:
        if self._server.pid() is not None and not anew:
            return
        if self._handle is not None:
            self._server = _procession.ForkServer(self._handle)
            self._handle = None
            if self._server.is_running():
                return
        words = spawn.helper_command_line("forkserver")
        start = _hooks.starter(words)
        self._server.ensure(
            *spawn.program_and_arguments(words),
            lambda: self._pack(process_obj, start is None),
            start,
        )

    def _pack(self, process_obj: Any, ahead: bool) -> _procession.Payload:
        preparation = spawn.get_preparation_data("ignore")
        self._note_prepared(preparation)
        # The children will use the modules of the package that this process uses.
        ours = [name for name in sys.modules if name.startswith(f"{__package__}.")]
        data = {
            **preparation,
            "preload": [*self._preload_modules],
            "on_error": self._preload_on_error,
            "defining": [*self._defining(process_obj), *ours],
            "ahead": ahead,
        }
        set_spawning_popen(self)  # The key may be told to the server, too.
        try:
            return _procession.Payload(data, None)
        finally:
            set_spawning_popen(None)

    def _defining(self, process_obj: Any) -> list[str]:
        """Returns the modules that a child must have to become this process."""
        if process_obj is None or "__main__" not in self._preload_modules:
            return []
        parts = (type(process_obj), getattr(process_obj, "_target", None))
        names: set[Any] = {getattr(part, "__module__", None) for part in parts}
        return sorted(name for name in names if _is_importable(name))

    def _note_prepared(self, preparation: dict[str, Any]) -> None:
        self._prepared = {
            key: preparation[key] for key in preparation.keys() - _EACH_CHILDS_OWN
        }

    def _after_fork(self) -> None:
        # Another thread of the parent may have been using it.
        if self._lock.locked():
            self._server = _procession.ForkServer()
            self._lock = threading.Lock()

    def _stop(self) -> None:
        """Stops the server; tests do."""
        under_lock(self._lock, self._server.stop)


def _warn(message: str) -> None:
    """Warns, at the caller's line, of what the start of a process will cost."""
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_globals.get("__package__") == __package__:
        level, frame = level + 1, frame.f_back
    try:
        warnings.warn(message, RuntimeWarning, stacklevel=level)
    except RuntimeWarning:
        # Warnings are errors here; but the process has been started.
        util.sub_warning("%s", message)


def main(argument: str) -> NoReturn:
    """Runs the server, in the process that was started as one.

    Args:
        argument: The last word of its command line, which tells where it belongs.
    """
    server = _procession.Server(argument)
    data = server.load_preparation()
    ahead = data.pop("ahead")
    _preload(data)
    _forkserver._handle = server.handle()
    # Most of what it starts is a worker or has been given some of these: each would
    # import them itself.
    from . import connection, pool, queues, synchronize  # noqa: F401

    spawn._bind_sleep()
    _end_pools_of_threads()
    util._make_empty_stdin()
    util._close_stdin()
    util._flush_std_streams()
    code = 1
    try:
        task = _serve(server, ahead)
        atexit._clear()
        atexit.register(util._exit_function)
        code = 0 if task is None else spawn._main(task)
    except SystemExit as request:
        # Raised by a handler of signals that a preloaded module has set.
        code = process._exit_code_of(request)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        atexit._run_exitfuncs()
        util._flush_std_streams()
        os._exit(code)


def _serve(server: _procession.Server, ahead: bool) -> _procession.Task | None:
    """Serves; returns in the processes that were forked, with what there is to do."""
    try:
        return server.serve(ahead)
    except OSError as error:
        # A process that waits for the server learns of it, too; one that waits for a
        # child does not.
        print(f"procession: the fork server's process ends: {error}", file=sys.stderr)
        util._flush_std_streams()
        os._exit(1)


def _preload(data: dict[str, Any]) -> None:
    """Imports what children would import otherwise, each of them."""
    modules, defining = data.pop("preload"), data.pop("defining")
    on_error = data.pop("on_error")
    _forkserver._note_prepared(data)
    # The server is not one of them.
    own = {"name", "log_to_stderr", "log_level"}
    most = {key: data[key] for key in data.keys() - own - spawn.MAIN_KEYS}
    spawn.prepare(most)
    if "__main__" in modules:
        main = {key: data[key] for key in data.keys() & spawn.MAIN_KEYS}
        _attempt("__main__", on_error, _inherit, spawn.prepare, main)
    for name in defining:
        _attempt(name, "ignore", _inherit, importlib.import_module, name)
    _handle_preload([name for name in modules if name != "__main__"], on_error=on_error)
    # Prepared again: the imports may have changed what children are not told anew.
    spawn.prepare(most)


def _handle_preload(
    preload: Sequence[str],
    main_path: str | None = None,
    sys_path: list[str] | None = None,
    sys_argv: list[str] | None = None,
    on_error: str = "ignore",
) -> None:
    """Imports modules in this process, as in `multiprocessing` of Python 3.15."""
    if sys_argv is not None:
        sys.argv[:] = sys_argv
    if sys_path is not None:
        sys.path[:] = sys_path
    if "__main__" in preload and main_path is not None:
        what = f"__main__ from {main_path!r}"
        _attempt(what, on_error, _inherit, spawn.import_main_path, main_path)
    for name in preload:
        if name != "__main__":
            _attempt(f"module {name!r}", on_error, importlib.import_module, name)
    # Text that they have printed must not be printed again by each child.
    util._flush_std_streams()


def _attempt(
    what: str, on_error: str, load: Callable[..., object], *args: object
) -> None:
    """Calls `load`; if it fails, does what `on_error` says."""
    try:
        load(*args)
    except BaseException as error:
        if on_error == "fail":
            raise
        # Otherwise the child that needs it tries again, and tells its user.
        if on_error == "warn":
            warnings.warn(
                f"Failed to preload {what}: {error}", ImportWarning, stacklevel=3
            )


def _inherit(load: Callable[..., object], *args: object) -> None:
    """Loads something as a child that becomes like its parent, and so starts nothing."""
    myself: Any = process.current_process()
    myself._inheriting = True
    try:
        load(*args)
    finally:
        del myself._inheriting


def _broken_by_preload(error: Exception, modules: Sequence[str]) -> ConnectionError:
    """Returns the error of a server that was to end where a module fails."""
    broken = ConnectionError(str(error))
    broken.add_note(
        "Forkserver process may have crashed during module preloading: it was to import"
        f" {', '.join(modules)}. Check stderr."
    )
    return broken


def _end_pools_of_threads() -> None:
    """Has libraries that keep threads, such as BLAS, end them, as they do at a fork."""
    try:
        if len(os.listdir("/proc/self/task")) == 1:
            return
    except OSError:
        pass  # Nothing says whether they have threads, so they may.
    pid = fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def _is_importable(name: Any) -> bool:
    """Returns whether a module was imported by its name, so that others can do so."""
    if name in ("__main__", "__mp_main__") or not isinstance(name, str):
        return False
    return getattr(sys.modules.get(name), "__spec__", None) is not None


_ensure_running = ForkServer.ensure_running

_forkserver = ForkServer()
ensure_running = _forkserver.ensure_running
get_inherited_fds = _forkserver.get_inherited_fds
set_forkserver_preload = _forkserver.set_forkserver_preload
