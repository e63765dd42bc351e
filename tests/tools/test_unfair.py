"""The unfair scheduler: what it runs is starved now and then, and ends as it would."""

import subprocess
import sys
from pathlib import Path

UNFAIR = str(Path(__file__).parents[1] / "unfair.py")

# Ends once it has been starved, and once more has not.
PROGRAM = """
import os, sys
for wanted in (os.SCHED_IDLE, os.SCHED_OTHER):
    while os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK != wanted:
        pass
sys.exit(3)
"""


def test_command_is_starved_and_its_exit_code_is_told() -> None:
    done = subprocess.run(
        [sys.executable, UNFAIR, "--seed", "1", sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout == "unfair: seed 1\n"


def test_command_is_asked_for() -> None:
    done = subprocess.run(
        [sys.executable, UNFAIR],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 2 and "what is to be run?" in done.stderr
