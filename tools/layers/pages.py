"""ARCHITECTURE.md names every dependency and every global."""

import re
from collections.abc import Iterator

from tree import Fault, Tree

from crates import ARROWS, dependencies

PAGE = "ARCHITECTURE.md"

# State that changes; what was imported from Python is kept in a `PyOnceLock` and is a mere cache.
_GLOBAL = re.compile(
    r"\bstatic\s+(?:mut\s+|ref\s+)?([A-Z][A-Z0-9_]*)\s*:\s*+(?!PyOnceLock)"
    r"[^=;]*(?:Mutex|Lock|Once|Atomic|Cell|Lazy)"
)


def check(tree: Tree) -> Iterator[Fault]:
    page = tree.root / PAGE
    named = set(re.findall(r"`([\w-]+)`", page.read_text())) if page.exists() else set()
    for path in tree.manifests:
        text = path.read_text()
        for _, dependency, line in dependencies(text):
            if dependency not in named | set(ARROWS):
                yield Fault(
                    tree.name(path),
                    line,
                    f"{PAGE} does not name the dependency {dependency}",
                    "add a line with its reason",
                )
    for crate in ARROWS:
        for file in tree.crate(crate):
            for match in _GLOBAL.finditer(file.shipped):
                if match[1] not in named:
                    yield Fault(
                        tree.name(file.path),
                        file.line(match.start()),
                        f"{PAGE} does not name the global {match[1]}",
                        "do without it, or add a line that says who guards it",
                    )
