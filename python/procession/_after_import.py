"""Calls a function as soon as a module was imported, for finders of `sys.meta_path`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

__all__ = ["find_by_others"]


def find_by_others(
    finder: object,
    fullname: str,
    path: Sequence[str] | None,
    target: ModuleType | None,
    then: Callable[[ModuleType], None],
) -> ModuleSpec | None:
    """Has the other finders find a module, and a function called once it is loaded."""
    for other in sys.meta_path:
        find: Any = getattr(other, "find_spec", None)
        spec: Any = find and other is not finder and find(fullname, path, target)
        if spec:
            if spec.loader is not None:
                spec.loader = _Then(spec.loader, then)
            return spec  # type: ignore[no-any-return]
    return None


class _Then:
    """A module's loader, and what is to be done once it is loaded."""

    def __init__(self, loader: Any, then: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self._then = then

    def __getattr__(self, name: str) -> Any:
        # A tool that looks for a module's source asks the loader.
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: Any) -> None:
        # From here on the module has its own loader again.
        module.__loader__ = module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._then(module)
