"""Scenarios that begin with a fresh interpreter."""

import subprocess
import sys
from multiprocessing.context import BaseContext
from pathlib import Path
from time import perf_counter

FIRST_RESULT = Path(__file__).parents[1] / "first_result.py"
TIMES = 5


def import_pool(context: BaseContext) -> float:
    """Returns the seconds of a program that imports the package, makes a pool and gets a first result."""
    package = context.Process.__module__.partition(".")[0]
    command = [sys.executable, str(FIRST_RESULT), package, context.get_start_method()]
    total = 0.0
    # The first run finds files on the disk that the others find in memory.
    for number in range(TIMES + 1):
        begin = perf_counter()
        subprocess.run(command, check=True)
        total += (perf_counter() - begin) if number else 0
    return total / TIMES
