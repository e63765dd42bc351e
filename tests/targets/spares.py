"""What children do in the tests of spares."""

import os
import sys
import threading


def nothing() -> None:
    """Is all that a child does whose start is what matters."""


def describe() -> dict[str, object]:
    """Tells what a process finds around it."""
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "argv": sys.argv,
        "path": sys.path,
        "flags": str(sys.flags),
        "main": sys.modules["__main__"].__name__,
        "directory": os.getcwd(),
        "variable": os.environ.get("PROCESSION_TEST_VARIABLE"),
        "threads": threading.active_count(),
        "name": open("/proc/self/comm").read(),
        # Not `SigQ`, which counts what is queued for all processes of the user.
        "signals": [
            line
            for line in open("/proc/self/status")
            if line.startswith(("SigPnd", "SigBlk", "SigIgn", "SigCgt"))
        ],
        "descriptors": sorted(map(int, os.listdir("/proc/self/fd"))),
    }


def put_pid(answers) -> None:
    answers.put(os.getpid())


def send_pid(connection) -> None:
    connection.send(os.getpid())
