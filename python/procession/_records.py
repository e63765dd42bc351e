"""Names the process in log records, if nothing else does.

`logging` asks `sys.modules["multiprocessing"]` who this process is, and says
"MainProcess" if there is no such module. A program that imports this package by its own
name has none, or the standard library's, which is told (`_theirs`) once it is there.
"""

from __future__ import annotations

import sys

from . import _registry, _theirs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

__all__ = ["name_processes", "name_this_child"]

_ASKED = "multiprocessing"

# The module `logging` whose records name the process.
named: ModuleType | None = None


def name_processes() -> None:
    """Has the records of this process, and of those that it forks, name the process."""
    global named
    named = logging = sys.modules.get("logging")
    record = getattr(logging, "LogRecord", None)
    if record is not None and "processName" not in vars(record):
        record.processName = _ProcessName()


def name_this_child() -> None:
    """As `name_processes`, and also for what this child imports later.

    The parent has made all that a forked child needs for it: each page that a child
    writes to is copied.
    """
    modules = sys.modules
    if _ASKED in modules:
        return
    if modules.get("logging") is not named:
        name_processes()
    # A parent may have put one there before, not at the first place; two do no harm.
    finders = sys.meta_path
    if not finders or finders[0] is not _awaiter:
        finders.insert(0, _awaiter)


class _ProcessName:
    """The attribute of a record: what `logging` sets, or better."""

    def __get__(self, record: Any, kind: type | None = None) -> Any:
        if record is None:
            return self
        try:
            return vars(record)["processName"]
        except KeyError:
            raise AttributeError("processName") from None

    def __set__(self, record: Any, name: str | None) -> None:
        if name == "MainProcess" and _ASKED not in sys.modules:
            name = _registry.current_process().name
        vars(record)["processName"] = name


class _Awaiter:
    """Calls a function as soon as a module was imported; other finders find the module."""

    def __init__(self, awaited: dict[str, Callable[[ModuleType], None]]) -> None:
        self._awaited = awaited

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        then = self._awaited.pop(fullname, None)
        if then is None:
            return None
        from ._after_import import find_by_others

        return find_by_others(self, fullname, path, target, then)


_awaiter = _Awaiter(
    {
        "logging": lambda _: name_processes(),
        f"{_ASKED}.process": lambda _: _theirs.become(_registry.current_process()),
    }
)
