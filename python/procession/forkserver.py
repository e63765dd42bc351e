"""The fork server: a small interpreter that is copied for each child.

The first process that needs it starts it; its descendants use the same one. It imports
what `set_forkserver_preload` names, by default the program's main module, and with that
the module in which the first target is defined; then it keeps copies of itself parked.
The rest is the engine's.

Names and meaning are those of `multiprocessing.forkserver`, except that the main
module is always imported where that is asked for (older versions of CPython do not),
and that a module which cannot be imported is reported.
"""

from __future__ import annotations

import atexit
import importlib
import os
import sys
import threading
import warnings

from . import _procession, process, spawn, util
from ._spawning import set_spawning_popen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

__all__ = ["ensure_running", "get_inherited_fds", "set_forkserver_preload"]


# What of a preparation each child is told anew: the directory may be another one of the
# same name, a logger's handlers are nothing to inherit, and the server may have failed to
# import the main module.
_EACH_CHILDS_OWN = {"name", "dir", "log_to_stderr", "log_level", *spawn.MAIN_KEYS}


class ForkServer:
    """The fork server as its users see it."""

    def __init__(self) -> None:
        self._server = _procession.ForkServer()
        self._lock = threading.Lock()
        self._preload_modules: Sequence[str] = ["__main__"]
        # What it was told of the process that started it.
        self._prepared: dict[str, Any] | None = None
        # By what it is found, in one that it has forked and that has not looked yet.
        self._handle: tuple[int, int] | None = None
        os.register_at_fork(after_in_child=self._after_fork)

    def set_forkserver_preload(self, modules_names: Sequence[str]) -> None:
        """Sets what the server imports before it forks; a hint, as it always was.

        Raises:
            TypeError: A name is not text.
        """
        if not all(type(name) is str for name in modules_names):
            raise TypeError("module_names must be a list of strings")
        self._preload_modules = modules_names

    def get_inherited_fds(self) -> list[int] | None:
        """Returns the descriptors that this child was given; None in the main process."""
        return spawn.inherited_fds

    def ensure_running(self) -> None:
        """Starts the server unless it runs."""
        with self._lock:
            self._ensure()

    def unknown(self, preparation: dict[str, Any], process_obj: Any) -> dict[str, Any]:
        """Returns what a child must be told that the server has not done already.

        Starts the server unless it runs. Most children differ in their name only, and
        each step that they are spared is a page or two that is not copied.
        """
        with self._lock:
            self._ensure(process_obj)
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
        with self._lock:
            self._ensure()
            try:
                return self._start(name, daemon, payload, fds)
            except BlockingIOError as error:
                if not self._preload_modules:
                    raise
                # What it has imported runs threads, so that it cannot be forked.
                warnings.warn(
                    f"{error}; each child will import its modules itself",
                    RuntimeWarning,
                    stacklevel=6,
                )
                self._server.stop()
                self._preload_modules = []
                self._ensure()
                return self._server.start(name, daemon, payload, fds)

    def _start(
        self, name: str, daemon: bool, payload: _procession.Payload, fds: list[int]
    ) -> _procession.Child:
        for _ in range(_procession.ForkServer.ATTEMPTS):
            try:
                return self._server.start(name, daemon, payload, fds)
            except ProcessLookupError:
                # It was killed after we looked. If it ends by itself, the error is another.
                self._ensure()
        return self._server.start(name, daemon, payload, fds)

    @property
    def _forkserver_pid(self) -> int | None:
        return self._server.pid()

    def _ensure(self, process_obj: Any = None) -> None:
        if self._server.pid() is not None:
            return
        if self._handle is not None:
            self._server = _procession.ForkServer(self._handle)
            self._handle = None
            if self._server.pid() is not None:
                return
        executable, arguments = spawn.program_and_arguments(
            "from procession.forkserver import main; main()"
        )
        self._server.ensure(executable, arguments, lambda: self._pack(process_obj))

    def _pack(self, process_obj: Any) -> _procession.Payload:
        preparation = spawn.get_preparation_data("ignore")
        self._note_prepared(preparation)
        # What this process uses of the package, its children will.
        ours = [name for name in sys.modules if name.startswith(f"{__package__}.")]
        data = {
            **preparation,
            "preload": [*self._preload_modules, *ours],
            "defining": self._defining(process_obj),
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
        with self._lock:
            self._server.stop()


def main() -> NoReturn:
    """Runs the server, in the process that was started as one."""
    server = _procession.Server(sys.argv[-1])
    _preload(server.load_preparation())
    _forkserver._handle = server.handle()
    # Most of what it starts is a worker or has been given some of these: each would
    # import them itself.
    from . import connection, pool, queues, synchronize  # noqa: F401

    _end_pools_of_threads()
    util._have_empty_stdin()
    util._close_stdin()
    util._flush_std_streams()
    code = 1
    try:
        task = server.serve(os.fork)
        atexit._clear()
        atexit.register(util._exit_function)
        code = 0 if task is None else spawn._main(task)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        atexit._run_exitfuncs()
        util._flush_std_streams()
        os._exit(code)


def _preload(data: dict[str, Any]) -> None:
    """Imports what children would import otherwise, each of them."""
    modules, defining = data.pop("preload"), data.pop("defining")
    _forkserver._note_prepared(data)
    log = {"name", "log_to_stderr", "log_level"}
    data = {key: data[key] for key in data.keys() - log}
    myself: Any = process.current_process()
    myself._inheriting = True
    try:
        if "__main__" not in modules:
            data = {key: data[key] for key in data.keys() - spawn.MAIN_KEYS}
        spawn.prepare(data)
        for name in defining:
            importlib.import_module(name)
    except BaseException:
        pass  # The child that needs it tries again, and tells its user.
    finally:
        del myself._inheriting
    for name in modules:
        if name != "__main__":
            _import(name)
    # Again, for what was changed by what was imported: children are not told it.
    spawn.prepare({key: data[key] for key in data.keys() - spawn.MAIN_KEYS})


def _end_pools_of_threads() -> None:
    """Has libraries that keep threads, such as BLAS, end them, as they do at a fork."""
    if len(os.listdir("/proc/self/task")) > 1:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)


def _is_importable(name: Any) -> bool:
    """Returns whether a module was imported by its name, so that others can do so."""
    if name in ("__main__", "__mp_main__") or not isinstance(name, str):
        return False
    return getattr(sys.modules.get(name), "__spec__", None) is not None


def _import(name: str) -> None:
    try:
        importlib.import_module(name)
    except Exception as error:
        print(
            f"procession: the fork server cannot preload {name}: {error!r}",
            file=sys.stderr,
        )


_forkserver = ForkServer()
ensure_running = _forkserver.ensure_running
get_inherited_fds = _forkserver.get_inherited_fds
set_forkserver_preload = _forkserver.set_forkserver_preload
