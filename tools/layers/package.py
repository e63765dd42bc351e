"""What the Python package may import: its native module in few places, the standard library's twin in one."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tree import Fault, Tree

PACKAGE = Path("python/procession")

# The modules that turn native things into the classes that users see. All others build on these.
WRAPPERS = {
    "__init__",
    "_awaiting",
    "_by_value",
    "_chunks",
    "_descriptors",
    "_event_loops",
    "_manager_server",
    "_outcome",
    "_proxies",
    "_registry",
    "_thread_lock",
    "_threads",
    "_workers",
    "actor",
    "connection",
    "context",
    "forkserver",
    "futures",
    "heap",
    "pool",
    "popen_fork",
    "popen_forkserver",
    "popen_spawn_posix",
    "process",
    "queues",
    "reduction",
    "spawn",
    "synchronize",
    "util",
}

# The modules that may touch the standard library's multiprocessing: they put procession in its place.
INSTALLERS = {"_install", "__main__"}


def check(tree: Tree) -> Iterator[Fault]:
    for path in tree.python:
        if not path.is_relative_to(tree.root / PACKAGE) or path.suffix == ".pyi":
            continue
        module = ".".join(path.relative_to(tree.root / PACKAGE).with_suffix("").parts)
        for line, imported in _imports(path, tree.root / "python"):
            if _is(imported, "procession._procession") and module not in WRAPPERS:
                yield Fault(
                    tree.name(path),
                    line,
                    f"{module} imports the native module",
                    "use the class of the module that wraps it, or make this a wrapper in tools/layers/package.py",
                )
            if _is(imported, "multiprocessing") and module not in INSTALLERS:
                yield Fault(
                    tree.name(path),
                    line,
                    f"{module} imports the standard library's {imported}",
                    f"only {', '.join(sorted(INSTALLERS))} may; procession stands on its own",
                )


def _is(imported: str, module: str) -> bool:
    return imported == module or imported.startswith(f"{module}.")


def _imports(path: Path, base: Path) -> Iterator[tuple[int, str]]:
    """Yields the absolute name of everything that a file imports, with its line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            parents = path.relative_to(base).parts[: -node.level] if node.level else ()
            module = ".".join([*parents, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}"
        elif isinstance(node, ast.Call) and node.args:
            name = (
                node.args[0].value if isinstance(node.args[0], ast.Constant) else None
            )
            importer = _name(node.func) in ("import_module", "__import__")
            if importer and isinstance(name, str):
                yield node.lineno, name


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""
