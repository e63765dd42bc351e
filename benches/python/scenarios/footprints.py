"""Scenarios that weigh processes in memory."""

import ctypes
import os
import platform
from multiprocessing.context import BaseContext
from pathlib import Path
from time import sleep

WORKERS = 8
# Until the pool is idle: a fork server keeps what many starts in a row have asked for for ten seconds.
IDLE_SECONDS = 12

# kcmp(2), which the C library has no function for.
SYS_KCMP = {"x86_64": 312, "aarch64": 272}[platform.machine()]
KCMP_VM = 1


def idle_memory(context: BaseContext) -> float:
    """Returns the bytes of all processes that this one has started for an idle pool of eight.

    What several processes share counts for each by its part (PSS).
    """
    with context.Pool(WORKERS) as pool:
        pool.map(abs, range(1_000), chunksize=1)
        sleep(IDLE_SECONDS)
        found = descendants(os.getpid())
        assert len(found) >= WORKERS, found
        apart = [pid for pid in found if not shares_memory(pid, os.getpid())]
        return float(sum(pss(pid) for pid in apart))


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


def shares_memory(one: int, other: int) -> bool:
    """Tells whether two processes run in the same memory, as vfork leaves them: none is copied."""
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(SYS_KCMP, one, other, KCMP_VM, 0, 0)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"cannot compare processes {one} and {other}")
    return result == 0


def pss(pid: int) -> int:
    """Returns the bytes of a process, where what it shares counts by its part."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"no Pss of process {pid}")
