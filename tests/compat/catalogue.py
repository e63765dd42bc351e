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

# Those of what the fork server imports ahead, from Python 3.15 on.
PRELOAD = "test.test_multiprocessing_forkserver.test_preload"

# The tests of the executors in `concurrent.futures`, which are made of what a context
# has. Only what runs processes is of interest; their classes name a start method, too.
FUTURES = "test.test_concurrent_futures"
FUTURES_PARTS = ("as_completed", "deadlock", "init", "process_pool", "shutdown", "wait")


class NoSuite(Exception):
    """The interpreter comes without its tests."""


def units(python: Path, methods: list[str]) -> list[Unit]:
    """Returns the tests of an interpreter, a class in a unit.

    Raises:
        NoSuite: The interpreter comes without its tests.
    """
    classes = _ask(python, "under_fork", required=True)
    named = [(MAIN_HANDLING, name, each) for name, each in _some(python, MAIN_HANDLING)]
    named += _of_futures(python)
    preload = _some(python, PRELOAD)
    found = []
    for method in methods:
        found += [
            _unit(method, f"under_{method}", name, each)
            for name, each in classes.items()
        ]
        if method == "forkserver":
            found += [_unit(method, PRELOAD, name, each) for name, each in preload]
        found += [
            _unit(method, module, name, each)
            for module, name, each in named
            if each["method"] == method
        ]
    return found


def on_contexts(found: list[Unit], root: Path) -> list[Unit]:
    """Returns the tests of executors once more, for a procession that is not installed.

    The executors are then those of the standard library as it is, and are given the
    contexts of the package in `root`.
    """
    return [
        replace(unit, label=f"{unit.label} on contexts", on_contexts=root)
        for unit in found
        if unit.module.startswith(FUTURES)
    ]


def _of_futures(python: Path) -> list[tuple[str, str, dict]]:
    modules = [f"{FUTURES}.test_{part}" for part in FUTURES_PARTS]
    # Before Python 3.12 all were in one.
    found = [(module, _some(python, module)) for module in (FUTURES, *modules)]
    return [
        (module, name, each)
        for module, classes in found
        for name, each in classes
        if "ProcessPool" in name
    ]


def _some(python: Path, module: str) -> list[tuple[str, dict]]:
    """Returns the classes of a module that not every version has."""
    return list(_ask(python, module, required=False).items())


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
    together: dict[Unit, list[str]] = {}
    for unit in found:
        label = unit.module.rpartition(".")[2] + " on contexts" * bool(unit.on_contexts)
        whole = replace(unit, label=label, tests=())
        together.setdefault(whole, []).extend(unit.tests)
    return [replace(whole, tests=tuple(tests)) for whole, tests in together.items()]
