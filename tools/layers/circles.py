"""No file uses one that uses it, by whatever way round."""

import re
from collections.abc import Iterator

from rust import RustFile
from tree import Fault, Tree

from crates import ARROWS

# Circles that are left, by crate, and why. One file may be in no other circle than its own.
KNOWN: dict[str, list[set[str]]] = {
    "procession-shm": [
        # Where memory is full, dead members are reclaimed; that repairs objects of all kinds;
        # and a repair allocates, frees and drops references. ARCHITECTURE.md tells more.
        {
            "alloc::block",
            "family",
            "member::reclaim",
            "object::hooks",
            "object::linked_pages",
            "object::shared",
            "transfer::carrier",
            "transfer::loans",
        },
    ],
}

_ROOT = re.compile(r"\bcrate\s*::")
_STEP = re.compile(r"\s*(\w+|\{|\*)\s*(::)?")
_AFTER = re.compile(r"\s*(?:as\s+\w+\s*)?([,}])")
_REEXPORT = re.compile(
    r"\bpub(?:\([^)]*\))? use (?:self::|crate::)?([\w:]+)::(?:\{([^;]*)\}|(\w+));"
)
_WORD = re.compile(r"\w+")


def check(tree: Tree) -> Iterator[Fault]:
    for crate in ARROWS:
        files = {"::".join(file.module()): file for file in tree.crate(crate)}
        known = KNOWN.get(crate, [])
        for circle in _circles(_arrows(files)):
            if not any(circle <= allowed for allowed in known):
                first = files[min(circle)]
                yield Fault(
                    tree.name(first.path),
                    1,
                    f"{', '.join(sorted(circle))} use one another",
                    "move what both sides need to a file of its own, below them",
                )


def _arrows(files: dict[str, RustFile]) -> dict[str, set[str]]:
    """Returns which files each file uses, by module paths; the crate's root uses all and is left out."""
    homes: dict[tuple[str, str], str] = {}
    for module, file in files.items():
        for match in _REEXPORT.finditer(file.shipped):
            paths = [match[1], f"{module}::{match[1]}"]
            for place in (path for path in paths if path in files):
                for name in _WORD.findall(match[2] or match[3]):
                    homes.setdefault((module, name), place)

    def home(path: list[str]) -> str | None:
        for length in range(len(path), -1, -1):
            module = "::".join(path[:length])
            if length < len(path) and (module, path[length]) in homes:
                return homes[module, path[length]]
            if length and module in files:
                return module
        return None

    arrows: dict[str, set[str]] = {}
    for module, file in files.items():
        used = arrows.setdefault(module, set())
        for match in _ROOT.finditer(file.shipped):
            for path in _paths(file.shipped, match.end())[0]:
                target = home(path)
                if target not in (None, module):
                    used.add(str(target))
    arrows.pop("", None)
    return arrows


def _paths(code: str, at: int) -> tuple[list[list[str]], int]:
    """Returns the paths of a name or of a tree of imports, and where it ends."""
    path: list[str] = []
    while step := _STEP.match(code, at):
        if step[1] == "{":
            paths, end = _group(code, step.end(1))
            return [path + below for below in paths], end
        if step[1] not in ("self", "*"):
            path.append(step[1])
        at = step.end()
        if not step[2]:
            break
    return [path], at


def _group(code: str, at: int) -> tuple[list[list[str]], int]:
    """Returns the paths of all that is between braces, the first of which is behind us."""
    found: list[list[str]] = []
    while True:
        paths, end = _paths(code, at)
        # Nothing comes after a last comma.
        found += paths if end > at else []
        at = end
        after = _AFTER.match(code, at)
        if not after:
            return found, at
        at = after.end()
        if after[1] == "}":
            return found, at


def _circles(arrows: dict[str, set[str]]) -> list[set[str]]:
    """Returns the sets of files of which each reaches each other."""
    reach = {start: _reached(arrows, start) for start in arrows}
    circles = []
    for file in arrows:
        circle = {other for other in reach[file] if file in reach.get(other, ())}
        if circle and circle not in circles:
            circles.append(circle)
    return circles


def _reached(arrows: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    todo = list(arrows.get(start, ()))
    while todo:
        file = todo.pop()
        if file not in seen:
            seen.add(file)
            todo.extend(arrows.get(file, ()))
    return seen
