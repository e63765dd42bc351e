"""Soak: full load for a long time, and a table that shows whether anything grows.

Usage: python tests/soak [--seconds S]

A row is the state at the end of a twentieth of the time. After a third of it all is
warm; from then on descriptors, threads, processes and objects of the arena must not
become more, and memory and latency must stay what they were but for noise: the run fails
if the last third is above the second by more than the limits below. Latency is judged
by the quickest twentieth of the calls, which other users of the machine do not slow
down; the median and the slowest are shown.
"""

import argparse
import gc
import os
import statistics
import sys
import time
from pathlib import Path
from typing import NamedTuple

from load import Load
from procession import _procession

ROWS = 20

# By how much the last third may exceed the second: a part, and so many more.
LIMITS = {
    "memory": (0.05, 4.0),
    "arena": (0.10, 8.0),
    "descriptors": (0, 0),
    "threads": (0, 0),
    "objects": (0, 0),
    "quick": (0.30, 20.0),
}


class Row(NamedTuple):
    """What there was at one time."""

    seconds: float
    tasks: int
    items: int
    starts: int
    memory: float
    arena: float
    descriptors: int
    threads: int
    objects: int
    quick: float
    median: float
    worst: float


HEADS = (
    "seconds",
    "tasks",
    "items",
    "starts",
    "own MiB",
    "arena MiB",
    "fds",
    "threads",
    "objects",
    "5 % us",
    "50 % us",
    "99 % us",
)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python tests/soak", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--seconds", type=float, default=1800)
    seconds = parser.parse_args().seconds
    print(" ".join(f"{head:>9}" for head in HEADS), flush=True)
    load, began = Load(), time.monotonic()
    rows: list[Row] = []
    for number in range(1, ROWS + 1):
        times = []
        while not times or time.monotonic() < began + seconds * number / ROWS:
            times += load.work()
        rows.append(look(load, time.monotonic() - began, times))
        print(" ".join(f"{value:9.0f}" for value in rows[-1]), flush=True)
    load.end()
    faults = list(grown(rows))
    for fault in faults:
        print(f"soak: {fault}", file=sys.stderr)
    print("soak: something grows" if faults else "soak: nothing grows")
    return 1 if faults else 0


def look(load: Load, seconds: float, times: list[float]) -> Row:
    gc.collect()
    # Interpreters that are booted ahead, and the thread that does it, come and go.
    _procession.end_spares()
    usage = _procession.usage()
    sizes = ("bytes", "blocks", "members", "resident")
    micros = sorted(1e6 * each for each in times)
    return Row(
        seconds=seconds,
        tasks=load.tasks,
        items=load.items,
        starts=load.starts,
        memory=resident() / 2**20,
        arena=usage["resident"] / 2**20,
        descriptors=len(os.listdir("/proc/self/fd")) - 1,
        threads=len(os.listdir("/proc/self/task")),
        objects=sum(usage[kind] for kind in usage if kind not in sizes),
        quick=micros[len(micros) // 20],
        median=statistics.median(micros),
        worst=micros[len(micros) * 99 // 100],
    )


def resident() -> int:
    """Returns the bytes of memory that are this process's alone."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("RssAnon:")[2].split()[0])


def grown(rows: list[Row]):
    """Tells what is more in the last third than in the second."""
    third = len(rows) // 3
    for name, (part, more) in LIMITS.items():
        before, after = (
            statistics.median(getattr(row, name) for row in some)
            for some in (rows[third : 2 * third], rows[-third:])
        )
        if after > before * (1 + part) + more:
            yield f"{name} went from {before:.1f} to {after:.1f}"


if __name__ == "__main__":
    sys.exit(main())
