"""ARCHITECTURE.md names every dependency, global and folder, and nothing that does not exist.

Nor does the glossary name a file that does not exist.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tree import Fault, Tree

from crates import ARROWS, dependencies

PAGE = "ARCHITECTURE.md"
GLOSSARY = Path("docs/glossary.md")
PACKAGE = Path("python/procession")

# State that changes; what was imported from Python is kept in a `PyOnce` and is a mere cache.
_GLOBAL = re.compile(
    r"\bstatic\s+(?:mut\s+|ref\s+)?([A-Z][A-Z0-9_]*)\s*:\s*+(?!PyOnce)"
    r"[^=;]*(?:Mutex|Lock|Once|Atomic|Cell|Lazy)"
)
_NAME = re.compile(r"`([^`\n]+)`")
# A name of a file, or of a folder, which ends with a slash or has one inside.
_PATH = re.compile(r"[\w.*-]+(?:/[\w.*-]+)*/?")
_COMMENT = re.compile(r"//.*")
# A source file that a text names.
_SOURCE = re.compile(r"`([\w/-]+\.rs)`")
_FILE = re.compile(r"\w\.(?:rs|py|pyi|md|toml)$")


def check(tree: Tree) -> Iterator[Fault]:
    page = tree.root / PAGE
    text = page.read_text() if page.exists() else ""
    yield from _dependencies(tree, set(_NAME.findall(text)))
    yield from _rust_globals(tree, text)
    yield from _python_globals(tree, text)
    yield from _folders(tree, text)
    yield from _paths(tree, text)
    yield from _files_beside_sources(tree)
    yield from _homes(tree)


def _dependencies(tree: Tree, named: set[str]) -> Iterator[Fault]:
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


def _rust_globals(tree: Tree, text: str) -> Iterator[Fault]:
    for crate in ARROWS:
        for file in tree.crate(crate):
            below = file.path.relative_to(tree.root / "crates" / crate / "src")
            for match in _GLOBAL.finditer(file.shipped):
                if not _row(text, match[1], below.as_posix()):
                    yield _unknown_global(
                        tree.name(file.path), file.line(match.start()), match[1]
                    )


def _python_globals(tree: Tree, text: str) -> Iterator[Fault]:
    """Finds the names that functions of the package assign to in their module."""
    for path in tree.python:
        if not path.is_relative_to(tree.root / PACKAGE) or path.suffix == ".pyi":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Global):
                for name in node.names:
                    if not _row(text, name, path.name):
                        yield _unknown_global(tree.name(path), node.lineno, name)


def _unknown_global(path: str, line: int, name: str) -> Fault:
    return Fault(
        path,
        line,
        f"{PAGE} does not name the global {name}",
        "do without it, or add a line that says where it is and who guards it",
    )


def _row(text: str, *names: str) -> bool:
    """Tells whether one line of the page has all these names."""
    return any(all(f"`{name}`" in line for name in names) for line in text.splitlines())


def _folders(tree: Tree, text: str) -> Iterator[Fault]:
    named = {name.rstrip("/") for name in _NAME.findall(text)}
    sources = [file.path for file in tree.rust] + tree.python
    for folder in sorted({path.parent.relative_to(tree.root) for path in sources}):
        names = {parent.as_posix() for parent in [folder, *folder.parents[:-2]]}
        if folder.match("crates/*/src/*") or folder.match("crates/*/src/*/*"):
            names = {Path(*folder.parts[3:]).as_posix(), folder.parts[3]}
        elif folder.match("crates/*/tests") or folder.match("crates/*/tests/*"):
            names = {"crates/*/tests"}
        elif folder.match("crates/*/src"):
            names = {folder.parent.as_posix()}
        if not names & named:
            yield Fault(
                folder.as_posix(),
                1,
                f"{PAGE} does not name this folder",
                "add a line that says what it holds",
            )


def _paths(tree: Tree, text: str) -> Iterator[Fault]:
    roots = [tree.root, tree.root / PACKAGE]
    roots += [tree.root / "crates" / crate / "src" for crate in ARROWS]
    for number, line in enumerate(text.splitlines(), 1):
        for name in _NAME.findall(line):
            if not _PATH.fullmatch(name) or not ("/" in name or _FILE.search(name)):
                continue
            if not any(any(root.glob(name.rstrip("/"))) for root in roots):
                yield Fault(
                    PAGE,
                    number,
                    f"there is no {name}",
                    "say what is there today",
                )


def _files_beside_sources(tree: Tree) -> Iterator[Fault]:
    """Finds files that a README or a comment beside the sources names, and that are not there."""
    crates = tree.root / "crates"
    for crate in ARROWS:
        sources = crates / crate / "src"
        readmes = [(path, path.read_text()) for path in sources.rglob("README.md")]
        comments = [
            (file.path, "\n".join(_COMMENT.findall(file.text)))
            for file in tree.crate(crate)
        ]
        for path, text in readmes + comments:
            near = [path.parent, path.with_suffix(""), sources, crates, tree.root]
            for name in _SOURCE.findall(text):
                if not any((root / name).exists() for root in near):
                    yield Fault(
                        tree.name(path),
                        1,
                        f"there is no {name}",
                        "name the file that is meant today",
                    )


def _homes(tree: Tree) -> Iterator[Fault]:
    """Finds files that the last column of the glossary names, and that are not there."""
    page = tree.root / GLOSSARY
    for number, line in enumerate(_lines(page), 1):
        # A name without a folder is that of a file beside, or above, the one before it.
        near = [tree.root / "crates", tree.root]
        for name in _NAME.findall(line.rstrip(" |").rpartition("|")[2]):
            found = next((root / name for root in near if (root / name).exists()), None)
            if found:
                near = [*found.parents[:2], *near]
            elif _FILE.search(name):
                yield Fault(
                    GLOSSARY.as_posix(),
                    number,
                    f"there is no {name}",
                    "name the file that has it today",
                )


def _lines(page: Path) -> list[str]:
    rows = page.read_text().splitlines() if page.exists() else []
    return [row if row.startswith("|") else "" for row in rows]
