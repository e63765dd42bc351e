"""Reads docstrings as mkdocstrings needs them; griffe calls it (`extensions` in mkdocs.yml).

It gives members that the sources make at run time, such as the methods of a `SyncManager`, the docstrings that they have
there, and has `Example:` mean what `Examples:` means.
"""

import inspect
import re
from typing import Any

import griffe
from reference import find

_EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)
_PROMPT = re.compile(r" *(>>>|\.\.\.) ")
_POWER = re.compile(r"(?<=\d)\*\*(?=\d)")

# The classes that have such members.
MADE_AT_RUN_TIME = [
    "managers.SyncManager",
    "pool.WorkerInfo",
    "process.BaseProcess",
    "sharedctypes.Synchronized",
    "sharedctypes.SynchronizedString",
]


class Docstrings(griffe.Extension):
    """Completes what griffe has read."""

    def on_instance(self, *, obj: griffe.Object, **_options: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = _as_markdown(obj.docstring.value)

    def on_package(self, *, pkg: griffe.Module, **_options: Any) -> None:
        for name in MADE_AT_RUN_TIME:
            if pkg.path == "procession":
                self._complete(pkg[name], find(f"procession.{name}"))

    def _complete(self, shown: Any, cls: type) -> None:
        for base in cls.__mro__:
            if not base.__module__.startswith("procession"):
                continue
            for name in vars(base):
                text = inspect.getdoc(getattr(base, name))
                if name.startswith("_") or not text or self._has_docstring(shown, name):
                    continue
                if name not in shown.members:
                    is_method = callable(getattr(base, name))
                    kind = griffe.Function if is_method else griffe.Attribute
                    shown.set_member(name, kind(name, parent=shown))
                shown.members[name].docstring = griffe.Docstring(
                    _as_markdown(text), parent=shown.members[name]
                )

    def _has_docstring(self, shown: Any, name: str) -> bool:
        return name in shown.all_members and bool(shown.all_members[name].docstring)


def _as_markdown(text: str) -> str:
    """Returns a docstring in which `Example:` begins a section, and powers are not taken for emphasis."""
    text = _EXAMPLE.sub("Examples:", text)
    lines = (
        line if _PROMPT.match(line) else _POWER.sub(r"\\*\\*", line)
        for line in text.split("\n")
    )
    return "\n".join(lines)
