"""Arrows between the modules of the engine: each knows only what is under it."""

import re
from collections.abc import Iterator

from tree import Fault, Tree

# From the ground up. Modules of one level may use one another, but not in both directions.
LEVELS: list[set[str]] = [
    {"trace"},
    {"sync", "channel"},
    {"process", "launch", "standby"},
    {"pool"},
    {"observe"},
]
LEVEL = {module: level for level, modules in enumerate(LEVELS) for module in modules}

_REEXPORT = re.compile(r"\bpub use (?:self::|crate::)?(\w+)::([^;]*);")


def check(tree: Tree) -> Iterator[Fault]:
    files = tree.crate("procession-engine")
    homes = {}
    for file in files:
        if not file.module():
            for match in _REEXPORT.finditer(file.shipped):
                homes.update(dict.fromkeys(re.findall(r"\w+", match[2]), match[1]))
    siblings: dict[tuple[str, str], tuple[str, int]] = {}
    for file in files:
        if not file.module():
            continue  # lib.rs names every module
        user = file.module()[0]
        if user not in LEVEL:
            known = ", ".join(LEVEL)
            yield Fault(
                tree.name(file.path),
                1,
                f"{user} is on no level",
                f"give it one in tools/layers/engine.py ({known})",
            )
            continue
        for position, name in file.root_names():
            used = homes.get(name, name)
            where = tree.name(file.path), file.line(position)
            if used == user or used not in LEVEL:
                continue
            if LEVEL[used] > LEVEL[user]:
                yield Fault(
                    *where,
                    f"{user} uses {used}, which is above it",
                    f"move what it needs down, or pass it in from {used}",
                )
            elif LEVEL[used] == LEVEL[user]:
                siblings.setdefault((user, used), where)
    for (user, used), where in siblings.items():
        if (used, user) in siblings:
            yield Fault(
                *where,
                f"{user} and {used} use one another",
                "turn one of the two arrows round",
            )
