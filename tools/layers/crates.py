"""Arrows between crates, and the outside crates that a layer may not know."""

import re
import tomllib
from collections.abc import Iterator

from tree import Fault, Tree

# Each crate of the workspace and those that it may stand on.
ARROWS: dict[str, set[str]] = {
    "procession-sys": set(),
    "procession-shm": {"procession-sys"},
    "procession-engine": {"procession-sys", "procession-shm"},
    "procession-macros": set(),
    "procession-trace": {"procession-engine"},
    "procession": {"procession-engine", "procession-macros", "procession-trace"},
    "procession-nats": {"procession"},
    "procession-top": {"procession-engine"},
    "procession-python": {"procession-engine", "procession-top", "procession-trace"},
}

VALUES = "what is under the faces knows bytes, never values; serialise in a face"
SYSTEM = "system calls live in crates/procession-sys; give it a safe function with a name of its own, and call that"
PYTHON = "only crates/procession-python knows Python"

BELOW_FACES = {
    "serde": VALUES,
    "postcard": VALUES,
    "bincode": VALUES,
    "serde_json": VALUES,
    "pyo3": PYTHON,
}
NO_SYSTEM = {"libc": SYSTEM, "rustix": SYSTEM, "nix": SYSTEM}

# Outside crates that a crate may not depend on, and why. Tests may (`dev-dependencies`).
BANNED: dict[str, dict[str, str]] = {
    "procession-sys": BELOW_FACES,
    "procession-shm": BELOW_FACES | NO_SYSTEM,
    "procession-engine": BELOW_FACES | NO_SYSTEM,
    "procession-macros": NO_SYSTEM | {"pyo3": PYTHON},
    "procession": NO_SYSTEM | {"pyo3": PYTHON},
    "procession-nats": NO_SYSTEM | {"pyo3": PYTHON},
    "procession-top": NO_SYSTEM | {"pyo3": PYTHON},
    "procession-trace": NO_SYSTEM | {"pyo3": PYTHON},
    "procession-python": {
        "rustix": SYSTEM,
        "nix": SYSTEM,
        "serde": VALUES,
        "postcard": VALUES,
    },
}


def check(tree: Tree) -> Iterator[Fault]:
    for path in tree.manifests:
        text = path.read_text()
        name = tomllib.loads(text).get("package", {}).get("name")
        if name not in ARROWS:
            continue
        for table, dependency, line in dependencies(text):
            if dependency in ARROWS and dependency not in ARROWS[name] | {name}:
                allowed = ", ".join(sorted(ARROWS[name])) or "no crate of the workspace"
                yield Fault(
                    tree.name(path),
                    line,
                    f"{name} depends on {dependency}",
                    f"it may depend on {allowed}",
                )
            if dependency in BANNED[name] and table != "dev-dependencies":
                yield Fault(
                    tree.name(path),
                    line,
                    f"{name} depends on {dependency}",
                    BANNED[name][dependency],
                )


def dependencies(text: str) -> Iterator[tuple[str, str, int]]:
    """Yields the table, the crate's own name and the line of each dependency."""
    manifest = tomllib.loads(text)
    for scope in [manifest, *manifest.get("target", {}).values()]:
        for table in ("dependencies", "build-dependencies", "dev-dependencies"):
            for name, details in scope.get(table, {}).items():
                crate = (
                    details.get("package", name) if isinstance(details, dict) else name
                )
                yield table, crate, _line(text, name)


def _line(text: str, dependency: str) -> int:
    entry = re.compile(rf"\s*\"?{re.escape(dependency)}\"?\s*[.=]")
    lines = (
        number for number, line in enumerate(text.splitlines(), 1) if entry.match(line)
    )
    return next(lines, 1)
