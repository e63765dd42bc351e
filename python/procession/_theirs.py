"""The standard library's own package, where that is in use beside this one.

It is there when a program has imported it and this package by its own name, or before
`install`. Its state of the process must be true in our children, too, and functions
that were registered with it must run there. Tools that measure or trace programs
replace steps of that package, and expect that all processes go through these steps.
"""

from __future__ import annotations

import sys

from . import _registry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

__all__ = ["after_fork", "become", "boot", "end", "is_used", "module", "told_besides"]

_NAME = "multiprocessing"
_PROCESS = f"{_NAME}.process"

# Its modules that `install` has put this package's in the place of.
replaced: dict[str, ModuleType] = {}


def is_used() -> bool:
    """Returns whether the package was imported: then its `process` was, too.

    A child asks that, and nothing more where it is not so: each function that it calls
    for the first time costs it copies of pages.
    """
    found = sys.modules.get(_PROCESS)
    if found is not None and found.__name__ == _PROCESS:
        return True
    return bool(replaced)


def module(name: str) -> Any:
    """Returns a module of the standard library's package, if it was imported."""
    full = f"{_NAME}.{name}"
    found = sys.modules.get(full)
    if found is not None and found.__name__ == full:
        return found
    return replaced.get(full) if replaced else None


def is_own(function: Any, home: Any) -> bool:
    """Returns whether a module's function is the one that it was imported with."""
    return getattr(function, "__globals__", None) is vars(home)


def told_besides(name: str) -> dict[str, Any]:
    """Returns what other code adds to what that package tells its children.

    Unpickling it is what counts: it puts things in a child in the way they are here.
    """
    spawn = module("spawn")
    if spawn is None or is_own(spawn.get_preparation_data, spawn):
        return {}
    told: dict[str, Any] = spawn.get_preparation_data(name)
    return {key: value for key, value in told.items() if key not in _TOLD}


# The entries that the package itself hands to a child.
_TOLD = {
    "authkey",
    "dir",
    "init_main_from_name",
    "init_main_from_path",
    "log_level",
    "log_to_stderr",
    "name",
    "orig_dir",
    "start_method",
    "sys_argv",
    "sys_path",
}


def boot(ours: Any, parent_sentinel: int | None) -> int:
    """Runs a process of ours to its end, in the child, by the steps that were replaced."""
    theirs = module("process")
    if theirs is None or is_own(theirs.BaseProcess._bootstrap, theirs):
        code: int = ours._boot(parent_sentinel)
        return code
    twin = _twin_class(theirs, ours).__new__(_twin_class(theirs, ours))
    twin.__dict__ = ours.__dict__
    code = twin._bootstrap(parent_sentinel)
    return code


def _twin_class(theirs: Any, ours: Any) -> Any:
    """Returns a class of theirs whose process does what one of ours does."""

    def run(self: Any) -> None:
        code = ours._boot(None)
        if code:
            raise SystemExit(code)

    members = {"run": run, "_start_method": None, "_after_fork": staticmethod(_nothing)}
    return type(type(ours).__name__, (theirs.BaseProcess,), members)


def _nothing() -> None:
    pass


def authkey() -> bytes | None:
    """Returns the key that this process has there; None if the package is not used."""
    theirs = module("process")
    return None if theirs is None else bytes(theirs._current_process.authkey)


def started_process() -> Any:
    """Returns what this process is there, if the package has started it, or None."""
    theirs = module("process")
    if theirs is None or theirs._parent_process is None:
        return None
    # It shares its dictionary with ours, if it is a twin of ours.
    return theirs._current_process


def become(ours: Any) -> None:
    """Makes that package tell the same of this child as ours does."""
    theirs = module("process")
    if theirs is None:
        return
    twin = theirs.BaseProcess.__new__(theirs.BaseProcess)
    # Both share one dictionary: a change of one is a change of both.
    twin.__dict__ = ours.__dict__
    theirs._current_process = twin
    theirs._parent_process = _registry.parent
    theirs._process_counter = type(theirs._process_counter)(1)
    theirs._children = set()


def after_fork() -> None:
    """Renews the state of that package, in a forked child."""
    util = module("util")
    if util is not None:
        util._finalizer_registry.clear()
        util._run_after_forkers()


def end() -> None:
    """Ends what that package has in this child."""
    util, theirs = module("util"), module("process")
    if util is not None and (
        util._finalizer_registry or (theirs is not None and theirs._children)
    ):
        util._exit_function()
