"""Interrupts every operation at every point where a handler of a signal may raise.

Usage: python tests/interrupts [--method NAME] [--operation NAME] [--most POINTS]

Prints how many points each operation has, and what was wrong after which.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from operations import OPERATIONS
from runner import faults, faults_at_exit

# The end of the interpreter: each point is one of a program of its own.
EXIT = "exit"

METHODS = ("fork", "spawn", "forkserver")


def main() -> int:
    """Runs what the command line asks for; returns how many faults there were."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", choices=METHODS, action="append")
    parser.add_argument("--operation", choices=[*OPERATIONS, EXIT], action="append")
    parser.add_argument("--most", type=int, default=100_000)
    options = parser.parse_args()
    total, wrong = 0, 0
    for name in options.operation or [*OPERATIONS, EXIT]:
        methods = options.method or METHODS
        if name != EXIT and OPERATIONS[name].is_plain:
            methods = methods[:1]
        for method in methods:
            began = time.monotonic()
            if name == EXIT:
                tried, found = faults_at_exit(method, options.most)
            else:
                tried, found = faults(method, name, options.most)
            seconds = time.monotonic() - began
            print(
                f"{name:16} {method:10} {tried:5} points {seconds:6.1f} s", flush=True
            )
            for text in found:
                print(text, flush=True)
            total, wrong = total + tried, wrong + len(found)
    print(f"{total} interrupts, {wrong} faults")
    return wrong


if __name__ == "__main__":
    sys.exit(main() != 0)
