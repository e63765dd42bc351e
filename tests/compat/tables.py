"""What is known of the tests: four tables beside this file, each line with its reason.

`internal.toml` tells which tests judge the insides of the standard library, `slow.toml`
which are left to the whole run, `exceptions.toml` which do not pass here and why that
is right, `baseline/` what the standard library itself does with each.
"""

import fnmatch
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent

# How a baseline writes what becomes of a test.
LETTERS = {"passed": ".", "skipped": "s", "failed": "F"}
STATES = {letter: state for state, letter in LETTERS.items()}
ABSENT = "-"


@dataclass(frozen=True)
class Exempt:
    """A test that does not pass, and why a reader would agree.

    Its outcome is that it `fails`, that it `skips` itself, or that it `waits` for
    minutes before it fails; it is not run then, unless somebody names it.
    """

    test: str
    outcome: str
    why: str
    difference: str = ""
    methods: tuple[str, ...] = ()
    pythons: tuple[str, ...] = ()
    unstable: bool = False

    def covers(self, test: str, method: str, python: str) -> bool:
        """Tells whether it speaks of a test under a start method and a Python."""
        return (
            fnmatch.fnmatchcase(test, self.test)
            and (not self.methods or method in self.methods)
            and (not self.pythons or python in self.pythons)
        )


def exceptions() -> list[Exempt]:
    """Returns the expected exceptions."""
    return [
        Exempt(**{key: _frozen(value) for key, value in entry.items()})
        for entry in _load("exceptions.toml").get("exception", [])
    ]


def _frozen(value):
    return tuple(value) if isinstance(value, list) else value


def internal() -> dict[str, str]:
    """Returns the patterns of internal tests, with the reason."""
    return _load("internal.toml")


def is_internal(test: str) -> bool:
    """Tells whether a test judges the insides of the standard library."""
    return any(fnmatch.fnmatchcase(test, pattern) for pattern in internal())


def slow(method: str) -> dict[str, str]:
    """Returns the patterns of tests that a quick run leaves out, with the reason."""
    tables = _load("slow.toml")
    return tables["every"] | tables.get(method, {})


@cache
def _load(name: str) -> dict:
    return tomllib.loads((FOLDER / name).read_text())


def baseline(python: str) -> dict[tuple[str, str], str] | None:
    """Returns what the standard library does with each test, by method and test.

    It is None for a Python whose standard library was never asked.
    """
    path = FOLDER / "baseline" / f"{python}.txt"
    if not path.exists():
        return None
    found = {}
    methods: list[str] = []
    for line in path.read_text().splitlines():
        letters, _, test = line.partition(" ")
        if line.startswith("# methods: "):
            methods = line.removeprefix("# methods: ").split()
        elif line and not line.startswith("#"):
            for method, letter in zip(methods, letters, strict=True):
                if letter != ABSENT:
                    found[method, test] = STATES[letter]
    return found


def write_baseline(
    python: str, version: str, methods: list[str], states: dict[tuple[str, str], str]
) -> Path:
    """Writes what the standard library has done with each test."""
    path = FOLDER / "baseline" / f"{python}.txt"
    lines = [
        f"# What the standard library of CPython {version} does with its own tests.",
        "# Written by `python tests/compat --library multiprocessing --write-baseline`.",
        "# A letter for each start method: . passed, s skipped, F failed, - is not there.",
        f"# methods: {' '.join(methods)}",
    ]
    for test in sorted({test for _, test in states}):
        letters = (
            LETTERS.get(states.get((each, test), ""), ABSENT) for each in methods
        )
        lines.append(f"{''.join(letters)} {test}")
    path.write_text("\n".join(lines) + "\n")
    return path
