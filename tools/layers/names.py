"""A public type name stands for one thing within a crate."""

import re
from collections import defaultdict
from collections.abc import Iterator

from tree import Fault, Tree

from crates import ARROWS

_TYPE = re.compile(
    r"^(?:pub(?:\([^)]*\))? )?(?:unsafe )?(?:struct|enum|union|trait|type) (\w+)",
    re.MULTILINE,
)
# What every module may have one of, as the standard library's do.
COMMON = {"Result"}


def check(tree: Tree) -> Iterator[Fault]:
    for crate in ARROWS:
        homes: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for file in tree.crate(crate):
            for match in _TYPE.finditer(file.shipped):
                if match[1] not in COMMON:
                    homes[match[1]].append(
                        (tree.name(file.path), file.line(match.start()))
                    )
        for name, (first, *others) in homes.items():
            for path, line in others:
                yield Fault(
                    path,
                    line,
                    f"{name} is also a type of {first[0]}",
                    "give one of them a name that says which it is",
                )
