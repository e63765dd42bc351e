"""Runs a command while the scheduler is unfair to it: `make unfair`.

Usage: python tests/unfair.py [--seed N] COMMAND...

Threads of its processes, chosen at random, get hardly any processor for a while: they are
made idle ones (SCHED_IDLE), beside busy loops. So what comes first by habit comes last now
and then, and a test that counts on it fails in minutes, not once in a hundred runs. What
fails only because it is late, by a limit of seconds, is to be told from that.
"""

import argparse
import os
import random
import subprocess
import sys
import time

from process_tree import adopt_orphans, descendants, reap

# How likely a thread is to be chosen at each look.
CHANCE = 0.12

# Seconds between two looks, and for which a thread that was chosen is starved.
LOOKS = (0.002, 0.01, 0.03)
STARVED = (0.02, 0.05, 0.1, 0.2, 0.3)

# How nice the busy loops are to what is not starved.
NICE = 12

BUSY = [sys.executable, "-c", f"import os; os.nice({NICE})\nwhile True: pass"]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python tests/unfair.py", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if not options.command:
        parser.error("what is to be run?")
    print(f"unfair: seed {options.seed}", flush=True)
    # What outlives its parent is still below this process.
    adopt_orphans()
    busy = [subprocess.Popen(BUSY) for _ in range(os.cpu_count() or 1)]
    command = subprocess.Popen(options.command)
    kept = {command.pid, *(each.pid for each in busy)}
    starve(random.Random(options.seed), command, {each.pid for each in busy}, kept)
    for each in busy:
        each.kill()
        each.wait()
    return command.returncode


def starve(
    chance: random.Random, command: subprocess.Popen, spared: set[int], kept: set[int]
) -> None:
    """Starves threads until the command has ended."""
    until: dict[int, float] = {}
    while command.poll() is None:
        now = time.monotonic()
        for thread in [each for each, end in until.items() if end <= now]:
            del until[thread]
            schedule(thread, os.SCHED_OTHER)
        for pid in descendants(os.getpid()):
            for thread in () if pid in spared else threads(pid):
                if thread not in until and chance.random() < CHANCE:
                    # What it starts meanwhile is not starved.
                    schedule(thread, os.SCHED_IDLE | os.SCHED_RESET_ON_FORK)
                    until[thread] = now + chance.choice(STARVED)
        reap(kept)
        time.sleep(chance.choice(LOOKS))


def schedule(thread: int, policy: int) -> None:
    """Changes how a thread is scheduled, if it has not ended."""
    try:
        os.sched_setscheduler(thread, policy, os.sched_param(0))
    except (ProcessLookupError, PermissionError):
        pass  # It may be another user's, too, as some tests change theirs.


def threads(pid: int) -> list[int]:
    """Returns the ids of the threads of a process."""
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except (FileNotFoundError, ProcessLookupError):
        return []


if __name__ == "__main__":
    sys.exit(main())
