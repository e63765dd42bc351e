"""Which tests there are, and which of them are asked for.

The standard library is asked, not the package under test: a name that is missing here
must not make tests disappear.
"""

import fnmatch
import json
import os
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from testrun import INSIDE, Unit

METHODS = ("fork", "spawn", "forkserver")

# The tests of how children find the main module are no classes of a start method but
# name theirs.
MAIN_HANDLING = "test.test_multiprocessing_main_handling"


class NoSuite(Exception):
    """The interpreter comes without its tests."""


def units(python: Path, methods: list[str]) -> list[Unit]:
    """Returns the tests of an interpreter, a class in a unit.

    Raises:
        NoSuite: The interpreter comes without its tests.
    """
    classes = _ask(python, "under_fork", required=True)
    of_main = _ask(python, MAIN_HANDLING, required=False)
    found = []
    for method in methods:
        found += [
            _unit(method, f"under_{method}", name, each)
            for name, each in classes.items()
        ]
        found += [
            _unit(method, MAIN_HANDLING, name, each)
            for name, each in of_main.items()
            if each["method"] == method
        ]
    return found


def _unit(method: str, module: str, name: str, found: dict) -> Unit:
    tests = tuple(f"{name}.{test}" for test in found["tests"])
    return Unit(method, module, name, tests)


def _ask(python: Path, module: str, *, required: bool) -> dict:
    done = subprocess.run(
        [str(python), str(INSIDE / "lister.py"), module],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ""},
        timeout=120,
        check=False,
    )
    if done.returncode == 0:
        return json.loads(done.stdout)[module]
    if not required and "ModuleNotFoundError" in done.stderr:
        return {}
    raise NoSuite(
        f"{python} has no tests of multiprocessing (some distributions have them in a "
        f"package of their own, such as libpython3-testsuite):\n{done.stderr}"
    )


def chosen(found: list[Unit], wanted: Callable[[str, str], bool]) -> list[Unit]:
    """Returns the units with the tests that are wanted, by method and name."""
    kept = []
    for unit in found:
        tests = tuple(test for test in unit.tests if wanted(unit.method, test))
        if tests:
            kept.append(replace(unit, tests=tests))
    return kept


def matches(test: str, patterns: Iterable[str]) -> bool:
    """Tells whether a test has a pattern in its name, or is described by one."""
    return any(
        fnmatch.fnmatchcase(test, pattern if "*" in pattern else f"*{pattern}*")
        for pattern in patterns
    )


def joined(found: list[Unit]) -> list[Unit]:
    """Returns the same tests with one unit for each module."""
    together: dict[tuple[str, str], list[str]] = {}
    for unit in found:
        together.setdefault((unit.method, unit.module), []).extend(unit.tests)
    return [
        Unit(method, module, module.rpartition(".")[2], tuple(tests))
        for (method, module), tests in together.items()
    ]
