"""The library under test: procession, or the standard library to test the tests.

The choice is made once, by `--library`, and reaches every child through the
environment. Children import this module too, so it imports little.
"""

import faulthandler
import importlib
import os
import signal
import time
import types
from collections.abc import Callable

# The environment variable that tells children which library is under test.
VARIABLE = "PROCESSION_TESTED_LIBRARY"

# Seconds after which a wait that must succeed has failed.
PATIENCE = 30

# Seconds of a wait that must fail; what is promised is that it takes no less.
MOMENT = 0.05

# The signal on which a child shows its stacks, for the watchdog.
SHOW_STACKS = signal.SIGUSR1

name = {"stdlib": "multiprocessing"}.get(
    os.environ.get(VARIABLE, "procession"), "procession"
)

faulthandler.register(SHOW_STACKS, all_threads=True)


def load(module: str) -> types.ModuleType:
    """Imports a public module of the library, as in `load("connection")`."""
    return importlib.import_module(f"{name}.{module}")


def end_spares() -> None:
    """Ends the interpreters that procession has booted ahead for this process."""
    if name == "procession":
        importlib.import_module("procession._procession").end_spares()


def comes_below(measure: Callable[[], float], seconds: float) -> bool:
    """Measures until it was less: others use this machine, too."""
    deadline = time.monotonic() + 2 * PATIENCE
    while measure() >= seconds:
        if time.monotonic() > deadline:
            return False
    return True


try:
    multiprocessing = importlib.import_module(name)
    absent = None
except ModuleNotFoundError as error:
    if error.name != name:
        raise
    multiprocessing = None  # The fixtures skip all that would need it.
    absent = f"{name} is not installed"


def kill(process) -> None:
    """Kills a process, and waits until it is dead."""
    process.kill()
    process.join(PATIENCE)
    assert process.exitcode == -signal.SIGKILL


def gone(pid: int) -> bool:
    """Tells whether a process has ended and was reaped."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def wait_until(condition: Callable[[], bool]) -> None:
    """Waits for what has no event, such as that a stranger is reaped."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
