"""Runs the worker on one operation, or the leaver at one point, and reads what it says."""

import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import script

WORKER = Path(__file__).parent / "worker.py"
LEAVER = Path(__file__).parent / "leaver.py"


def faults(method: str, operation: str, most: int, first: int = 1) -> tuple[int, list]:
    """Interrupts an operation at so many points at the most.

    Returns how many it was, and what was wrong. After a fault an interpreter may be
    spoilt: the next points are tried in another.
    """
    tried, wrong = 0, []
    while True:
        command = [sys.executable, WORKER, method, operation, str(first), str(most)]
        done = subprocess.run(
            [*map(str, command)], capture_output=True, text=True, check=False
        )
        lines = done.stdout.splitlines()
        points = [line for line in lines if line.startswith("point ")]
        tried += len(points)
        if done.returncode == 0 and lines[-1:] == ["end"]:
            return tried, wrong
        text = "\n".join([*lines[-1:], done.stderr])
        wrong.append(f"{operation} under {method}: {text}")
        if not points or len(wrong) > 5:
            return tried, wrong
        first = int(points[-1].split()[1]) + 1


def faults_at_exit(method: str, most: int) -> tuple[int, list]:
    """Interrupts the end of a program at so many points at the most.

    Returns how many it was, and what was wrong.
    """
    total = int(_leave(method, 0)[0])
    step = max(1, -(-total // most))
    tried, wrong = 0, []
    for at in range(1, total + 1, step):
        tried += 1
        out, err = _leave(method, at)
        # The last points may not be reached: what happens at an end varies.
        raised = re.findall(r"^(?:points\.)?(\w+): at point \d+", err, re.MULTILINE)
        others = re.findall(r"^\w*(?:Error|Exception|Empty)\b.*", err, re.MULTILINE)
        others = [line for line in others if not line.startswith("Exception ignored")]
        if others or not (raised or out):
            wrong.append(f"exit under {method} at point {at}: {out}\n{err}")
    return tried, wrong


def _leave(method: str, at: int) -> tuple[str, str]:
    """Runs a program to its interrupted end; it is an error if it leaves anybody."""
    _code, out, err = script.run([sys.executable, LEAVER, method, str(at)])
    return out, err
