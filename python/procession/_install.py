"""Puts procession in the place of `multiprocessing`, for everything that imports it.

`ProcessPoolExecutor` in `concurrent.futures`, which is made of it, is ours then, too.

After `install`, `import multiprocessing` gives procession, and so do its submodules,
imported in whichever way; children get the same before they import anything of the
program. A name that was imported from the standard library's package before stays as it
is.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import ModuleSpec

from . import _theirs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType
    from typing import Any

__all__ = ["install", "is_installed"]

_OURS = __package__
_THEIRS = "multiprocessing"

# The module that `concurrent.futures` imports when it is first asked for the executor.
_EXECUTORS = "concurrent.futures.process"


def install() -> None:
    """Makes `multiprocessing` mean procession in this process and its children.

    Calling it again does nothing. Call it before the program imports
    `multiprocessing`: a module that has taken names from the standard library's
    package keeps them.

    Raises:
        RuntimeError: The standard library's `multiprocessing` is in use: it has
            children, locks or queues, or it started this process.

    Example:
        >>> import procession
        >>> procession.install()
        >>> import multiprocessing
        >>> multiprocessing is procession
        True
    """
    if is_installed():
        return
    _refuse_live_state()
    start_method = _chosen_start_method()
    for name in list(sys.modules):
        if name == _THEIRS or name.startswith(_THEIRS + "."):
            _theirs.replaced[name] = sys.modules.pop(name)
    for name in list(sys.modules):
        if name == _OURS or name.startswith(_OURS + "."):
            sys.modules[_THEIRS + name.removeprefix(_OURS)] = sys.modules[name]
    sys.meta_path.insert(0, _finder)
    if start_method is not None:
        sys.modules[_OURS].set_start_method(start_method, force=True)
    _take_over_executors()


def _take_over_executors() -> None:
    """Has the module of executors have ours, if it was imported already."""
    executors = sys.modules.get(_EXECUTORS)
    if executors is None:
        return
    if getattr(executors.__spec__, "_initializing", False):
        # It is importing this package now, and would define its own class after this.
        del sys.modules[_EXECUTORS]
        importlib.import_module(_EXECUTORS)
    else:
        _replace_executor(executors)


def is_installed() -> bool:
    """Returns whether `multiprocessing` means procession in this process."""
    return _finder in sys.meta_path and sys.modules.get(_THEIRS) is sys.modules[_OURS]


class _Finder:
    """Finds the modules of `multiprocessing` in procession."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if fullname == _EXECUTORS:
            from ._after_import import find_by_others

            return find_by_others(self, fullname, path, target, _replace_executor)
        if fullname != _THEIRS and not fullname.startswith(_THEIRS + "."):
            return None
        return ModuleSpec(fullname, _Alias())  # type: ignore[arg-type]


class _Alias:
    """Loads a module of `multiprocessing` by importing the one of procession."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(_OURS + spec.name.removeprefix(_THEIRS))
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The module is ready; importlib has only overwritten what it says of itself.
        module.__spec__ = self._spec


def _replace_executor(module: Any) -> None:
    """Puts our executor into the module, and into the package if it has theirs."""
    from . import _errors, futures

    module.ProcessPoolExecutor = futures.ProcessPoolExecutor
    # By this, programs know the cause of an error that came from a worker.
    module._RemoteTraceback = _errors.RemoteTraceback
    package: Any = sys.modules["concurrent.futures"]
    if "ProcessPoolExecutor" in vars(package):
        package.ProcessPoolExecutor = futures.ProcessPoolExecutor


_finder = _Finder()


def _refuse_live_state() -> None:
    reason = _live_state()
    if reason is not None:
        raise RuntimeError(
            f"procession cannot take the place of multiprocessing any more: {reason}; "
            "call procession.install() before the program uses it"
        )


def _live_state() -> str | None:
    """Returns what is in use of the standard library's package, or None."""
    process, util = _module("process"), _module("util")
    if process is not None:
        if process._children:
            return f"it has {len(process._children)} child processes"
        if process.parent_process() is not None:
            return "it has started this process"
    if util is not None:
        kinds = {type(obj) for obj in util._afterfork_registry.values()}
        # Objects of other classes only want to be told of a fork, and are told by us,
        # too.
        objects = {kind.__name__ for kind in kinds if _is_theirs(kind)}
        # Its module registers this one when it is imported.
        objects.discard("_ResourceSharer")
        if objects:
            return f"it has made objects that live ({', '.join(sorted(objects))})"
    for name, attribute in (
        ("forkserver", "_forkserver_pid"),
        ("resource_tracker", "_pid"),
    ):
        module = _module(name)
        if module is not None and getattr(getattr(module, f"_{name}"), attribute, None):
            return f"its {name.replace('_', ' ')} runs"
    return None


def _chosen_start_method() -> str | None:
    context = _module("context")
    if context is None:
        return None
    method: str | None = context._default_context.get_start_method(allow_none=True)
    return method


def _is_theirs(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == _THEIRS


def _module(name: str) -> Any:
    return sys.modules.get(f"{_THEIRS}.{name}")
