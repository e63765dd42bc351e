"""Puts procession in the place of `multiprocessing`, for everything that imports it.

After `install`, `import multiprocessing` gives procession, and so do its submodules,
imported in whichever way; children get the same before they import anything of the
program. What was imported from the standard library's package before stays what it is.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import ModuleSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType
    from typing import Any

__all__ = ["install", "is_installed"]

_OURS = __package__
_THEIRS = "multiprocessing"


def install() -> None:
    """Makes `multiprocessing` mean procession in this process and its children.

    Calling it again does nothing. Call it before the program imports
    `multiprocessing`: a module that has taken names from the standard library's
    package keeps them.

    Raises:
        RuntimeError: The standard library's `multiprocessing` is in use: it has
            children, locks or queues, or it started this process.
    """
    if is_installed():
        return
    _refuse_live_state()
    start_method = _chosen_start_method()
    for name in list(sys.modules):
        if name == _THEIRS or name.startswith(_THEIRS + "."):
            del sys.modules[name]
    for name in list(sys.modules):
        if name == _OURS or name.startswith(_OURS + "."):
            sys.modules[_THEIRS + name.removeprefix(_OURS)] = sys.modules[name]
    sys.meta_path.insert(0, _finder)
    if start_method is not None:
        sys.modules[_OURS].set_start_method(start_method, force=True)


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


_finder = _Finder()


def _refuse_live_state() -> None:
    reason = _live_state()
    if reason is not None:
        raise RuntimeError(
            f"procession cannot take the place of multiprocessing any more: {reason}; "
            "call procession.install() before the program uses it"
        )


def _live_state() -> str | None:
    """Returns what the standard library's package is busy with, or None."""
    process, util = _theirs("process"), _theirs("util")
    if process is not None:
        if process._children:
            return f"it has {len(process._children)} child processes"
        if process.parent_process() is not None:
            return "it has started this process"
    if util is not None:
        objects = {type(obj).__name__ for obj in util._afterfork_registry.values()}
        # Its module registers this one when it is imported.
        objects.discard("_ResourceSharer")
        if objects:
            return f"it has made objects that live ({', '.join(sorted(objects))})"
    for name, attribute in (
        ("forkserver", "_forkserver_pid"),
        ("resource_tracker", "_pid"),
    ):
        module = _theirs(name)
        if module is not None and getattr(getattr(module, f"_{name}"), attribute, None):
            return f"its {name.replace('_', ' ')} runs"
    return None


def _chosen_start_method() -> str | None:
    context = _theirs("context")
    if context is None:
        return None
    method: str | None = context._default_context.get_start_method(allow_none=True)
    return method


def _theirs(name: str) -> Any:
    return sys.modules.get(f"{_THEIRS}.{name}")
