"""Processes that belong to a run, told by a mark in their environment.

A session would not do: some tests start sessions of their own, and the children of a
process that has ended belong to nobody.
"""

import os
import select
import signal
import time
from pathlib import Path

VARIABLE = "PROCESSION_COMPAT_RUN"


def marked(mark: str) -> list[int]:
    """Returns the processes that carry a mark and have not ended."""
    wanted = f"{VARIABLE}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and wanted in (
                (entry / "environ").read_bytes().split(b"\0")
            ):
                found.append(int(entry.name))
        except OSError:
            pass  # It has ended, or is another user's.
    return found


def wait_until_gone(mark: str, seconds: float) -> list[int]:
    """Waits until all that carry a mark have ended; returns those that have not."""
    deadline = time.monotonic() + seconds
    while pids := marked(mark):
        left = deadline - time.monotonic()
        if left <= 0:
            break
        _wait_for_end(pids[0], left)
    return pids


def kill(mark: str) -> None:
    """Kills all that carry a mark, and what they start meanwhile."""
    while pids := marked(mark):
        for pid in pids:
            send(pid, signal.SIGKILL)
        _wait_for_end(pids[0], 1)


def send(pid: int, signum: int) -> None:
    """Sends a signal to a process that may have ended."""
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        pass


def command_line(pid: int) -> str:
    """Returns what a process runs, as far as it can be told."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return "ended"
    return b" ".join(words).decode(errors="replace").strip()[:160]


def _wait_for_end(pid: int, seconds: float) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        select.select([descriptor], [], [], seconds)
    finally:
        os.close(descriptor)
