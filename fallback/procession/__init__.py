"""`multiprocessing` of the standard library under the name of procession.

The engine of procession does not run on this platform. All names of `multiprocessing` are
here, and all of its modules; what only the engine can do says so when it is asked for.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import multiprocessing
import platform
import sys
import types
import warnings
from collections.abc import Sequence
from multiprocessing import *
from typing import Any

__all__ = multiprocessing.__all__ + ["install"]

_THEIRS = "multiprocessing"

# Modules of this package itself.
_OURS = ("__main__", "futures")

_WHY = (
    "the engine of procession runs under CPython on Linux, on x86-64 and aarch64; this is"
    f" {platform.python_implementation()} on {platform.system()}, {platform.machine()}"
)

try:
    __version__ = importlib.metadata.version("procession")
except importlib.metadata.PackageNotFoundError:
    __version__ = "unknown"  # It is imported from a folder and was not installed.


def install() -> None:
    """Does nothing: here `multiprocessing` is what it is."""


def __getattr__(name: str) -> Any:
    if not name.startswith("_") and hasattr(multiprocessing, name):
        return getattr(multiprocessing, name)
    raise AttributeError(
        f"{__name__!r} has no {name!r} here: it is {_THEIRS!r} under another name, as {_WHY}"
    )


class _ModuleFinder(importlib.abc.MetaPathFinder):
    """Finds each module of `multiprocessing` under the name of this package, too."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        package, _, name = fullname.partition(".")
        if package != __name__ or name in _OURS:
            return None
        try:
            module = importlib.import_module(f"{_THEIRS}.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"{_THEIRS}.{name}":
                raise
            raise ModuleNotFoundError(
                f"there is no {fullname!r} here: {__name__!r} is {_THEIRS!r} under another"
                f" name, as {_WHY}",
                name=fullname,
            ) from None
        return importlib.machinery.ModuleSpec(fullname, _SameModule(module))


class _SameModule(importlib.abc.Loader):
    """Loads a module that has been executed under another name."""

    def __init__(self, module: types.ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return self._module

    def exec_module(self, module: types.ModuleType) -> None:
        # The import system has just replaced it.
        module.__spec__ = self._spec


sys.meta_path.insert(0, _ModuleFinder())

# Said once: not by `python -m procession`, which becomes the program, and not by children
# (one that reads the main module again is marked).
if (
    sys.argv[:1] != ["-m"]
    and multiprocessing.parent_process() is None
    and not hasattr(multiprocessing.current_process(), "_inheriting")
):
    warnings.warn(
        f"{__name__!r} is {_THEIRS!r} of the standard library here: {_WHY}",
        RuntimeWarning,
        stacklevel=2,
    )
