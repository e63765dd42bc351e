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
    "_dashboard",
    "_descriptors",
    "_event_loops",
    "_manager_server",
    "_outcome",
    "_pool_stats",
    "_proxies",
    "_registry",
    "_thread_lock",
    "_threads",
    "_trace",
    "_view",
    "_workers",
    "actor",
    "connection",
    "context",
    "distributed.coordinator",
    "forkserver",
    "futures",
    "heap",
    "opentelemetry",
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

# What runs pools on other machines, and the modules that may import it: those for tests of it at their top, `context` where
# it is asked for a cluster. A program that stays on its machine does not import it.
DISTRIBUTED = "procession.distributed"
TESTS = {"_process_tests", "_sharing_tests", "testing"}
ASKED_FOR_CLUSTERS = {"context"}


def check(tree: Tree) -> Iterator[Fault]:
    for path in tree.python:
        if not path.is_relative_to(tree.root / PACKAGE) or path.suffix == ".pyi":
            continue
        module = ".".join(path.relative_to(tree.root / PACKAGE).with_suffix("").parts)
        for line, imported, at_top in _imports(path, tree.root / "python"):
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
            if _is(imported, DISTRIBUTED) and not _may_be_distributed(module, at_top):
                yield Fault(
                    tree.name(path),
                    line,
                    f"{module} imports {imported}",
                    "what is local knows nothing of other machines; only context looks there, when it is asked for a cluster",
                )


def _may_be_distributed(module: str, at_top: bool) -> bool:
    if module in ASKED_FOR_CLUSTERS:
        return not at_top
    return module in TESTS or module.partition(".")[0] == "distributed"


def _is(imported: str, module: str) -> bool:
    return imported == module or imported.startswith(f"{module}.")


def _imports(path: Path, base: Path) -> Iterator[tuple[int, str, bool]]:
    """Yields the absolute name of everything that a file imports, with its line, and whether it does so at its top."""
    tree = ast.parse(path.read_text())
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    inner = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, functions)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        at_top = id(node) not in inner
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, at_top
        elif isinstance(node, ast.ImportFrom):
            parents = path.relative_to(base).parts[: -node.level] if node.level else ()
            module = ".".join([*parents, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}", at_top
        elif isinstance(node, ast.Call) and node.args:
            name = (
                node.args[0].value if isinstance(node.args[0], ast.Constant) else None
            )
            importer = _name(node.func) in ("import_module", "__import__")
            if importer and isinstance(name, str):
                yield node.lineno, name, at_top


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""
