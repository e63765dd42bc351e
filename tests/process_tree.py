"""The processes below one, as /proc tells: who they are, what they handle, their end."""

import ctypes
import os
import select
import signal
from collections.abc import Container, Iterable
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Makes this process the parent of what dies above its descendants."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot adopt orphans")


def reap(kept: Container[int]) -> None:
    """Collects orphans that have ended, until one that is kept for others has ended."""
    try:
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid in kept:
                return
            os.waitpid(ended.si_pid, 0)
    except ChildProcessError:
        pass  # Nobody is left.


def descendants(pid: int) -> list[int]:
    """Returns the pids of the children of a process, their children, and so on."""
    found = []
    for child in children(pid):
        found += [child, *descendants(child)]
    return found


def children(pid: int) -> list[int]:
    """Returns the pids of the children that a process has not reaped yet."""
    pids: list[int] = []
    tasks = f"/proc/{pid}/task"
    try:
        for task in os.listdir(tasks):
            with open(f"{tasks}/{task}/children", "rb") as file:
                pids += map(int, file.read().split())
    except (FileNotFoundError, ProcessLookupError):
        pass  # The process or thread has ended while we read.
    return pids


def catches(pid: int, signum: int) -> bool:
    """Tells whether a process has a handler for a signal, and would survive it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(caught >> (signum - 1) & 1)


def kill(pids: Iterable[int]) -> None:
    """Kills processes, of which some may have ended, and waits until all have."""
    for pid in pids:
        try:
            process = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            signal.pidfd_send_signal(process, signal.SIGKILL)
            ended = select.poll()
            ended.register(process, select.POLLIN)
            ended.poll()
        except ProcessLookupError:
            pass
        finally:
            os.close(process)
