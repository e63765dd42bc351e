"""The program that is tormented: acts that use procession, until it is over.

Usage: python tests/chaos/python LEDGER UNTIL SEED ACT...

This process is the one that is never killed. Each act runs in a child, is started
again if it is killed, and has its share of every start method. At the end nothing is
to be left; what is, is noted in the ledger.
"""

import faulthandler
import gc
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(1, str(Path(__file__).parents[1]))

import ledger
import procession
from acts.actors import METHODS, any_method
from acts.play import play
from procession import _procession
from procession.connection import wait

# Seconds that the end of a process may take to be seen by others.
PATIENCE = 10


def main(until: float, seed: int, names: list[str]) -> int:
    chance = random.Random(seed)
    for method in METHODS:
        warm_up(procession.get_context(method))
    # So that this process has what it rings doorbells with, and keeps.
    wait([procession.Queue()._reader], 0)
    ledger.note("began", "root")
    before = left(Counter())
    acts: dict[str, procession.Process] = {}
    number = 0
    while time.monotonic() < until:
        for name in names:
            if name not in acts:
                number += 1
                process = start(name, number, chance, until)
                if process is not None:
                    acts[name] = process
        sentinels = {acts[name].sentinel: name for name in acts}
        timeout = max(until - time.monotonic(), 0)
        for ready in wait(list(sentinels), timeout):
            say_goodbye(acts.pop(sentinels[ready]))
    while acts:
        say_goodbye(acts.popitem()[1])
    for what, count in left(before).items():
        ledger.note("left", what.replace(" ", "_")[:40], count)
    ledger.note("over", "root")
    return 0


def start(name: str, number: int, chance: random.Random, until: float):
    method = any_method(chance)
    process = procession.get_context(method).Process(
        target=play, args=(name, f"{name}.{number}", chance.getrandbits(32), until)
    )
    try:
        process.start()
    except ProcessLookupError:
        return None  # The fork server was killed ten times in a row.
    ledger.note("stage", f"{name}.{number}", process.pid)
    return process


def say_goodbye(process) -> None:
    process.join()
    if process.exitcode:
        ledger.note("ended", process.name, process.pid, process.exitcode)
    process.close()


def warm_up(context) -> None:
    """Starts what a method keeps for as long as the program runs."""
    process = context.Process(target=time.monotonic)
    process.start()
    process.join()
    process.close()


def left(before: Counter[str]) -> Counter[str]:
    """Waits until no more is there than before; returns what is too much."""
    deadline = time.monotonic() + PATIENCE
    while True:
        gc.collect()
        procession.active_children()
        _procession.end_spares()
        after = descriptors() + objects()
        if after <= before or not before or time.monotonic() > deadline:
            return after - before
        time.sleep(0.05)


def objects() -> Counter[str]:
    """Returns how many objects of each kind the whole family has."""
    sizes = ("bytes", "blocks", "resident", "members")
    usage = _procession.usage()
    return Counter({kind: usage[kind] for kind in usage if kind not in sizes})


def descriptors() -> Counter[str]:
    """Returns what the descriptors of this process are open on."""
    found: Counter[str] = Counter()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue  # The descriptor through which the folder itself is read.
        found[target.partition("[")[0]] += 1
    return found


if __name__ == "__main__":
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    os.environ[ledger.VARIABLE] = sys.argv[1]
    left_of_wall = float(sys.argv[2]) - time.time()
    sys.exit(main(time.monotonic() + left_of_wall, int(sys.argv[3]), sys.argv[4:]))
