"""Scenarios that weigh processes in memory."""

import os
from multiprocessing.context import BaseContext
from pathlib import Path
from time import sleep

WORKERS = 8
# Until the pool is idle: a fork server has made what it keeps ready by then.
IDLE_SECONDS = 1


def idle_memory(context: BaseContext) -> float:
    """Returns the bytes of all processes that this one has started for an idle pool of eight.

    What several processes share counts for each by its part (PSS).
    """
    with context.Pool(WORKERS) as pool:
        pool.map(abs, range(1_000), chunksize=1)
        sleep(IDLE_SECONDS)
        found = descendants(os.getpid())
        assert len(found) >= WORKERS, found
        return float(sum(pss(pid) for pid in found))


def descendants(root: int) -> list[int]:
    """Returns the processes that one has started, and those that these have."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # Behind the name, which may have blanks: state, parent.
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue  # It has ended meanwhile, and is none of ours.
            children.setdefault(int(stat[1]), []).append(int(entry.name))
    found = []
    left = [root]
    while left:
        begun = children.get(left.pop(), [])
        found += begun
        left += begun
    return found


def pss(pid: int) -> int:
    """Returns the bytes of a process, where what it shares counts by its part."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"no Pss of process {pid}")
