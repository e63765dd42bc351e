"""What a test must not leave: processes, descriptors, threads, names, files.

A snapshot is taken before each test and compared after it. What exists by then
is allowed: the helpers that a library keeps for the whole program (a fork
server, a tracker of resources) were started before the first test.
"""

import gc
import importlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from process_tree import descendants, kill

# Seconds that the end of a process or thread may take to be seen by others.
PATIENCE = 30


def snapshot() -> dict[str, set[str]]:
    """Tells what there is, by kind; what may be kept of each kind is left out."""
    return {
        "process": {str(pid) for pid in descendants(os.getpid()) if not is_spare(pid)},
        "descriptor": descriptors(),
        "thread": threads(),
        "name in /dev/shm": names(),
        "temporary file": set(os.listdir(tempfile.gettempdir())),
        "of the arena": objects(),
    }


def since(before: dict[str, set[str]], reap: Callable[[], object]) -> list[str]:
    """Waits until no more is there than before; else tells what is too much.

    `reap` is called to collect children that have ended.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        gc.collect()
        reap()
        after = snapshot()
        left = [
            f"{kind} {name}{described(kind, name)}"
            for kind in before
            for name in sorted(after[kind] - before[kind])
        ]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.005)  # Whoever is about to end is a stranger: no event tells.


def kill_since(before: dict[str, set[str]]) -> None:
    """Kills the processes that were not there before, and waits until they have ended.

    One of them may be a spare that boots: whoever claimed it while it dies would get a
    process that ends at once.
    """
    kill(map(int, snapshot()["process"] - before["process"]))


def is_spare(pid: int) -> bool:
    """Tells whether a process is one that procession keeps parked until it is needed.

    Their number goes up and down as the fork server replaces those that were used.
    """
    try:
        return Path(f"/proc/{pid}/comm").read_text() == "parked spare\n"
    except (FileNotFoundError, ProcessLookupError):
        return False


def descriptors() -> set[str]:
    """Returns the open descriptors of this process with what they are open on.

    The heap from which the standard library takes its values and arrays does not
    shrink below 4 MiB; its files are not counted.
    """
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.add(f"{entry.name} -> {entry.readlink()}")
        except FileNotFoundError:
            pass  # The descriptor through which the folder itself is read.
    return {each for each in found if "-> /dev/shm/pym-" not in each}


def names() -> set[str]:
    """Returns the names in /dev/shm.

    Semaphores, and the folders of joblib, count only where the standard library is
    tested: procession has none, and strangers come and go.
    """
    found = set(os.listdir("/dev/shm"))
    if os.environ["PROCESSION_TESTED_LIBRARY"] == "stdlib":
        return found
    return {each for each in found if not each.startswith(("sem.", "joblib_"))}


def objects() -> set[str]:
    """Returns what procession's shared memory holds: each kind, and each of a kind."""
    if os.environ["PROCESSION_TESTED_LIBRARY"] == "stdlib":
        return set()
    usage = importlib.import_module("procession._procession").usage()
    # Who has told a trace something keeps its rings for the next one.
    kept = ("bytes", "blocks", "members", "resident", "trace")
    counts = {kind: count for kind, count in usage.items() if kind not in kept}
    return {f"{kind} {n}" for kind, count in counts.items() for n in range(count)}


def threads() -> set[str]:
    """Returns the threads of this process, those without Python included."""
    return set(os.listdir("/proc/self/task"))


def described(kind: str, name: str) -> str:
    """Tells more of a process or a thread than its number."""
    paths = {
        "process": f"/proc/{name}/cmdline",
        "thread": f"/proc/self/task/{name}/comm",
    }
    try:
        text = Path(paths[kind]).read_text()
    except (KeyError, OSError):
        return ""
    return f" ({text.replace(chr(0), ' ').strip()})"
