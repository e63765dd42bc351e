"""Turns a fresh interpreter into a child, by a command line and a preparation.

The parent describes itself (`get_preparation_data`); the child makes itself like it
(`prepare`), imports the parent's main module under the name `__mp_main__`, and then
unpickles and runs the process. `forkserver` does the same for processes that it forks.

Names and meaning are those of `multiprocessing.spawn`. The data travel in a block of
the arena rather than a pipe, and the child learns from its command line where the block
is.
"""

from __future__ import annotations

import gc
import importlib
import io
import os
import sys
import time
import types

from . import (
    _install,
    _outcome,
    _procession,
    _registry,
    _theirs,
    context,
    process,
    util,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, NoReturn

__all__ = [
    "_main",
    "freeze_support",
    "get_command_line",
    "get_executable",
    "get_preparation_data",
    "import_main_path",
    "set_executable",
]

WINEXE = False
WINSERVICE = False

# Where this package was imported from: the child may have no other way to find it.
_PACKAGE_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

_python_exe: bytes | None = os.fsencode(sys.executable) if sys.executable else None


def set_executable(exe: str | bytes | os.PathLike[str] | None) -> None:
    """Sets the interpreter that starts children, as in `multiprocessing`."""
    global _python_exe
    _python_exe = None if exe is None else os.fsencode(exe)


def get_executable() -> bytes | None:
    """Returns the interpreter that starts children, as in `multiprocessing`."""
    return _python_exe


def is_forking(argv: Sequence[str]) -> bool:
    """Returns whether a command line is that of a child."""
    return len(argv) >= 2 and argv[1] == "--multiprocessing-fork"


def freeze_support() -> None:
    """Runs the child, if a frozen program was started as one, and exits.

    It may also be what children need: the fork server, or a resource tracker.
    """
    if not is_forking(sys.argv):
        return
    if len(sys.argv) > 3:
        # A frozen program learns from its arguments only which module to run.
        importlib.import_module(f"{__package__}.{sys.argv[2]}").main(sys.argv[-1])
        sys.exit(0)
    spawn_main()


def get_command_line(**kwds: object) -> list[Any]:
    """Returns the command line of a child, but for the last word.

    That one tells the child where it belongs, and the engine adds it.

    Args:
        **kwds: Nothing; `multiprocessing` passes descriptors here.
    """
    if getattr(sys, "frozen", False):
        return [sys.executable, "--multiprocessing-fork"]
    ahead = ", ".join(map(repr, _imported_by_main()))
    return _command_line("spawn", "spawn_main", f"({ahead})")


_get_command_line = get_command_line


def is_command_line_ours() -> bool:
    """Returns whether nobody has replaced the function that returns it."""
    return get_command_line is _get_command_line


def helper_command_line(module: str) -> list[Any]:
    """Returns the command line of what serves children, but for the last word.

    Args:
        module: The module whose `main` it calls with that word.
    """
    if getattr(sys, "frozen", False):
        return [sys.executable, "--multiprocessing-fork", module]
    return _command_line(module, "main", "(sys.argv[-1])")


def _command_line(module: str, function: str, arguments: str) -> list[Any]:
    """Returns the command line of an interpreter that calls a function of ours."""
    package = __package__
    # Added at the end of the path, for a child that would not find the package
    # otherwise.
    ready = f"import sys; sys.path.append({_PACKAGE_ROOT!r})"
    if _install.is_installed():
        # Installed before anything is unpickled, which may import `multiprocessing`.
        ready += f"; import {package}; {package}.install()"
        package = "multiprocessing"
    return [
        get_executable(),
        *util._args_from_interpreter_flags(),
        "-c",
        f"{ready}; from {package}.{module} import {function}; {function}{arguments}",
        "--multiprocessing-fork",
    ]


def program_and_arguments(words: Sequence[Any]) -> tuple[bytes, list[bytes]]:
    """Returns the interpreter to start and a command line, as the engine wants them.

    Raises:
        ValueError: No executable is set.
    """
    executable = get_executable()
    if executable is None:
        raise ValueError("no executable is set to start children with")
    return executable, [os.fsencode(word) for word in words]


# Modules of the standard library that are not imported ahead: those that do more than
# define something, and those that import `multiprocessing` before it is known which one
# that is.
_NOT_AHEAD = {
    "__main__",
    "antigravity",
    "concurrent",
    "multiprocessing",
    "readline",
    "rlcompleter",
    "this",
}

_STANDARD_LIBRARY = os.path.dirname(os.__file__)


def _imported_by_main() -> list[str]:
    """Returns what the main module has imported of the standard library.

    A child that is booted ahead can do that already, as it will run the same module.
    """
    try:
        main = list(vars(sys.modules["__main__"]).values())
    except (KeyError, RuntimeError):
        return []  # There is no main module, or another thread changes it.
    names = {value.__name__ for value in main if isinstance(value, types.ModuleType)}
    names |= {value.__module__ for value in main if isinstance(value, _DEFINED)}
    return sorted(name for name in names if _is_standard(name))


# The types of objects that may have been imported from a module by name.
_DEFINED = (type, types.FunctionType, types.BuiltinFunctionType)


def _is_standard(name: Any) -> bool:
    """Returns whether a module that was imported is the standard library's own."""
    top = name.partition(".")[0] if isinstance(name, str) else ""
    if top not in sys.stdlib_module_names or top in _NOT_AHEAD:
        return False
    spec = getattr(sys.modules.get(name), "__spec__", None)
    if spec is None:
        return False
    origin = spec.origin or ""
    return origin in ("built-in", "frozen") or (
        origin.startswith(_STANDARD_LIBRARY) and "site-packages" not in origin
    )


def spawn_main(*ahead: str, **kwds: object) -> NoReturn:
    """Runs the child that the last word of the command line describes, then exits.

    Args:
        *ahead: Modules that one which is booted ahead imports while it waits.
        **kwds: Nothing; `multiprocessing` passes descriptors here.
    """
    assert is_forking(sys.argv), "Not forking"
    # All objects that were imported until here live as long as the process: no
    # collection, those at the interpreter's end included, has to look at them.
    gc.freeze()
    task = _procession.join(sys.argv[-1], lambda: _import_ahead(ahead))
    if task is None:
        os._exit(0)
    sys.exit(_main(task))


def _bind_sleep() -> None:
    """Has this process, and what is forked from it, look up the system's sleep now.

    Else the first `time.sleep` of a child does, which takes the dynamic linker some 60
    microseconds after the interpreter's last look at its signals: an interrupt that comes
    in between goes unnoticed until the sleep is over.
    """
    time.sleep(1e-9)


def _import_ahead(names: Iterable[str]) -> None:
    """Imports what most programs need, and what this one does, in a child that has time.

    The first are modules that a child of `multiprocessing` has, too; not all of them, as
    each takes its time at the end of the interpreter.
    """
    import pickle
    import runpy
    import signal

    del pickle, runpy, signal
    _bind_sleep()
    for name in names:
        try:
            importlib.import_module(name)
        except Exception:
            pass  # An error shows in the child that imports the module for its task.
    gc.freeze()


# Descriptors that this process was started with, in the order of its parent's list.
inherited_fds: list[int] | None = None


def _main(task: _procession.Task) -> int:
    """Prepares this process like its parent, and runs the process object it was sent."""
    global inherited_fds
    inherited_fds = task.fds
    myself: Any = process.current_process()
    myself._inheriting = True
    channel = limits = None
    try:
        preparation = task.load_preparation()
        channel, limits = preparation.get("pool_channel"), preparation.get("limits")
        prepare(preparation)
        process_obj = task.load_process()
    except BaseException as error:
        if limits is not None:
            # Lifted, as the memory that is left may not be enough to report the error.
            _procession.lift_memory_limit()
        _outcome.leave_error(error)
        if channel is not None and isinstance(error, Exception):
            from . import _workers

            # Another worker would fail as this one has; so the tasks are told at once.
            task.booted()
            try:
                _workers.refuse(channel, error)
            except FileNotFoundError:
                return 1  # The worker's pool has ended, so nothing is printed.
        raise
    finally:
        del myself._inheriting
    task.booted()
    _registry.task = task
    code: int = process_obj._bootstrap()
    return code


def _check_not_importing_main() -> None:
    if getattr(process.current_process(), "_inheriting", False):
        raise RuntimeError(_NO_GUARD)


# One line, as it is the last line that a program without a guard prints.
_NO_GUARD = (
    "a process was started while its parent still imports its main module, which each "
    "child does, too: what starts processes belongs behind "
    "`if __name__ == '__main__':`, in an executable after a call of freeze_support() "
    "(see 'Safe importing of main module' in "
    "https://docs.python.org/3/library/multiprocessing.html)"
)


def get_preparation_data(name: str) -> dict[str, Any]:
    """Returns what a child must know of this process before it unpickles anything.

    Raises:
        RuntimeError: This process is itself still importing its main module.
    """
    _check_not_importing_main()
    data: dict[str, Any] = {
        "log_to_stderr": util._log_to_stderr,
        "authkey": process.current_process().authkey,
        "name": name,
        "sys_path": _portable_sys_path(),
        "sys_argv": sys.argv,
        "orig_dir": process.ORIGINAL_DIR,
        # None if no method was chosen yet: one may still be, here and in the child.
        "start_method": context._default_context.get_start_method(allow_none=True),
        "installed": _install.is_installed(),
    }
    try:
        data["dir"] = os.getcwd()
    except FileNotFoundError:
        pass  # The directory is gone. A forked child is in it all the same.
    if util._logger is not None:
        data["log_level"] = util._logger.getEffectiveLevel()
    data.update(_main_module_data())
    besides = _theirs.told_besides(name)
    if besides:
        data["besides"] = besides
    return data


def _portable_sys_path() -> list[str]:
    """Returns `sys.path` with "" replaced by the directory that it meant at first."""
    paths = sys.path.copy()
    if "" in paths and process.ORIGINAL_DIR is not None:
        paths[paths.index("")] = process.ORIGINAL_DIR
    return paths


# The keys of preparation data that tell of the main module.
MAIN_KEYS = {"init_main_from_name", "init_main_from_path", "main_folder"}


def _main_module_data() -> dict[str, str]:
    """Returns how the child finds the main module: by name, by path or not at all."""
    main = sys.modules["__main__"]
    # IPython's main module may have no `__spec__` at all.
    name = getattr(getattr(main, "__spec__", None), "name", None)
    path = getattr(main, "__file__", None)
    if name == "__main__" and path is not None:
        # Of a folder or an archive.
        folder = os.path.dirname(os.path.abspath(path))
        return {"init_main_from_name": name, "main_folder": folder}
    if name is not None:
        return {"init_main_from_name": name}
    if path is None or not _procession.main_has_file():
        return {}
    if not os.path.isabs(path) and process.ORIGINAL_DIR is not None:
        path = os.path.join(process.ORIGINAL_DIR, path)
    return {"init_main_from_path": os.path.normpath(path)}


def prepare(data: dict[str, Any]) -> None:
    """Makes this process like the one that `data` describes."""
    if "environment" in data:
        os.environ.update(data["environment"])
    if "limits" in data:
        process.confine(*data["limits"])
    if data.get("installed"):
        _install.install()
    myself = _registry.current_process()
    if "name" in data:
        myself._name = data["name"]
    if "authkey" in data:
        myself.authkey = data["authkey"]
    if data.get("log_to_stderr"):
        util.log_to_stderr()
    if "log_level" in data:
        util.get_logger().setLevel(data["log_level"])
    if "sys_path" in data:
        sys.path = data["sys_path"]
    if "sys_argv" in data:
        sys.argv = data["sys_argv"]
    if "dir" in data:
        _enter(data["dir"])
    if "orig_dir" in data:
        process.ORIGINAL_DIR = data["orig_dir"]
    if "start_method" in data:
        context._default_context.set_start_method(data["start_method"], force=True)
    if "init_main_from_name" in data:
        _fixup_main_from_name(data["init_main_from_name"])
        if _is_main_of_package(data["init_main_from_name"]):
            _import_main_on_demand(data["init_main_from_name"], data.get("main_folder"))
    elif "init_main_from_path" in data:
        _fixup_main_from_path(data["init_main_from_path"])


# The main modules that were replaced; kept because their functions may still run.
old_main_modules: list[types.ModuleType] = []


def _enter(directory: str) -> None:
    """Works in a directory from now on; where it is gone, in that of the parent."""
    try:
        if os.getcwd() == directory:
            return  # Only if it differs, as a sandbox may deny the call.
    except OSError:
        pass
    try:
        os.chdir(directory)
    except FileNotFoundError:
        pass  # A forked child would have stayed where it was, too.


def _is_main_of_package(mod_name: str) -> bool:
    """Returns whether a main module is that of a package, a folder or an archive.

    It does its work unguarded: it is not imported again, unless something of it is
    needed.
    """
    return mod_name == "__main__" or mod_name.endswith(".__main__")


def _fixup_main_from_name(mod_name: str) -> None:
    if _is_main_of_package(mod_name):
        return
    # A child of the fork server may have it already.
    if getattr(sys.modules["__main__"].__spec__, "name", None) == mod_name:
        return
    import runpy

    _replace_main(
        lambda: runpy.run_module(mod_name, run_name="__mp_main__", alter_sys=True)
    )


def _import_main_on_demand(mod_name: str, folder: str | None) -> None:
    """Has the main module of a package, folder or archive imported if it is asked for."""

    def run() -> dict[str, Any]:
        import runpy

        # As it does its work unguarded, that work fails where it starts processes.
        myself: Any = process.current_process()
        inherits = getattr(myself, "_inheriting", False)
        myself._inheriting = True
        try:
            if folder is not None:
                return runpy.run_path(folder, run_name="__mp_main__")
            return runpy.run_module(mod_name, run_name="__mp_main__", alter_sys=True)
        finally:
            if not inherits:
                del myself._inheriting

    def missing(name: str) -> Any:
        # Python and its tools look for these in any module.
        if not name.startswith("__") and main.__dict__.pop("__getattr__", None):
            _replace_main(run)
            return getattr(sys.modules["__main__"], name)
        raise AttributeError(f"module '__main__' has no attribute {name!r}")

    main: Any = sys.modules["__main__"]
    if main.__name__ == "__main__":
        main.__getattr__ = missing


def _fixup_main_from_path(main_path: str) -> None:
    # A child of the fork server may have it already.
    if getattr(sys.modules["__main__"], "__file__", None) == main_path:
        return
    # IPython's launcher has had no guard for long; it is treated as a `__main__`.
    if os.path.splitext(os.path.basename(main_path))[0] == "ipython":
        return
    if main_path.endswith(".py") and os.path.isfile(main_path):
        _run_script(main_path)
        return
    import runpy

    _replace_main(lambda: runpy.run_path(main_path, run_name="__mp_main__"))


def _run_script(path: str) -> None:
    """Makes what a script defines the main module, as `runpy.run_path` would.

    That module takes longer to import than all of this package: it is left to archives,
    folders and compiled files.
    """
    with io.open_code(path) as file:
        code = compile(file.read(), path, "exec", dont_inherit=True)
    module = types.ModuleType("__mp_main__")
    module.__dict__.update(__file__=path, __cached__=None, __package__="")
    before, argv0 = sys.modules.get("__mp_main__"), sys.argv[0]
    sys.modules["__mp_main__"], sys.argv[0] = module, path
    try:
        exec(code, module.__dict__)  # noqa: S102 -- the parent runs it, too
    except BaseException:
        sys.modules.pop("__mp_main__")
        if before is not None:
            sys.modules["__mp_main__"] = before
        raise
    finally:
        sys.argv[0] = argv0
    old_main_modules.append(sys.modules["__main__"])
    sys.modules["__main__"] = module


def _replace_main(run: Any) -> None:
    """Makes the globals that `run` returns those of the main module."""
    old_main_modules.append(sys.modules["__main__"])
    module = types.ModuleType("__mp_main__")
    module.__dict__.update(run())
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module


def import_main_path(main_path: str) -> None:
    """Makes the file at a path the main module of this process."""
    _fixup_main_from_path(main_path)
