"""Chaos: programs under random kills, and an audit of what became of their work.

Usage: python tests/chaos [--face python|rust] [--seed N] [--seconds S | --kills N]

The run is cut into episodes. In each, a program runs acts (pools, queues, locks, pipes,
processes of processes) for some seconds, while this process kills, terminates and stops
whoever runs below it. Then the ledger is audited, and nobody may be left. `README.md`
says what is promised. The seed settles what is done and to whom in what order; when
exactly is the machine's affair.

It uses the standard library alone, so that it owes nothing to what it judges.
"""

import argparse
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(1, str(Path(__file__).parents[1]))

import killer
import ledger
from audit import Audit
from private_names import try_to_get_private_names
from process_tree import adopt_orphans, catches, descendants, kill, reap

HERE = Path(__file__).parent

ACTS = ("locks", "nests", "pipes", "pools", "queues")

# Of Python alone.
FACES_OWN = {"python": ("clusters", "hubs"), "rust": ()}

# Seconds that a program has for its end when nobody is killed any more.
PATIENCE = 120

# Seconds of an episode.
EPISODE = 15


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python tests/chaos", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--face", choices=["python", "rust"], default="python")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    end = parser.add_mutually_exclusive_group()
    end.add_argument("--seconds", type=float, default=60)
    end.add_argument("--kills", type=int, help="so many, however long it takes")
    parser.add_argument(
        "--rate", type=float, default=80, help="most signals in a second"
    )
    parser.add_argument("--acts", nargs="+", help="which; all by default")
    parser.add_argument(
        "--program",
        default=HERE.parents[1] / "target/release/procession-chaos",
        help="of the Rust face: the built program",
    )
    parser.add_argument("--keep", type=Path, help="where to leave the ledgers")
    options = parser.parse_args()
    acts = ACTS + FACES_OWN[options.face]
    options.acts = options.acts or acts
    if unknown := {*options.acts} - {*acts}:
        parser.error(f"--acts: no {', '.join(unknown)}, but {', '.join(acts)}")
    print(f"chaos: face {options.face}, seed {options.seed}", flush=True)
    adopt_orphans()
    try_to_get_private_names()
    chance = random.Random(options.seed)
    began = time.monotonic()
    over = began + (math.inf if options.kills else options.seconds)
    total: Counter[str] = Counter()
    number = 0
    # A second of an episode is for its end.
    while time.monotonic() < over - 1 and total["kill"] < (options.kills or math.inf):
        number += 1
        until = min(time.monotonic() + EPISODE, over)
        seed = chance.getrandbits(32)
        with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
            faults, counts = episode(Path(folder), seed, until, options)
            total += counts
            tell = f"episode {number}: {counts['kill']} kills, {counts['done']} tasks"
            print(f"{tell}, {counts['get']} items, {counts['have']} holds", flush=True)
            if faults:
                report(faults, Path(folder), options)
                print(f"chaos: seed {options.seed} failed in episode {number}")
                return 1
    told = ", ".join(f"{total[what]} {word}" for what, word in TOLD.items())
    seconds = f"{time.monotonic() - began:.0f} seconds"
    print(f"chaos: face {options.face}, seed {options.seed}, {seconds}: {told}")
    return 0


TOLD = {
    "kill": "kills",
    "busy": "of them of processes at work",
    "stop": "stops",
    "done": "tasks done",
    "died": "tasks that died with their worker",
    "lost": "tasks that were lost with their node",
    "gone": "tasks of pools that ended",
    "get": "items",
    "recv": "messages",
    "have": "holds",
    "orphaned": "holders that died",
}


def episode(
    folder: Path, seed: int, until: float, options: argparse.Namespace
) -> tuple[list[str], Counter[str]]:
    """Torments one program; returns what was wrong, and what was done."""
    book = folder / "ledger"
    book.touch()
    chance = random.Random(seed)
    command = programs(options)[options.face]
    # The wall's clock, which is the same for all.
    over = time.time() + until - 1 - time.monotonic()
    arguments = [book, over, seed, *chance.sample(options.acts, len(options.acts))]
    names = {*os.listdir("/dev/shm"), "ledger", "errors"}
    with (folder / "errors").open("wb") as errors:
        program = subprocess.Popen(
            [*command, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stderr=errors,
            env=os.environ | {"TMPDIR": str(folder), ledger.VARIABLE: str(book)},
            start_new_session=True,
        )
    killer.kept.add(program.pid)
    torment = killer.Killer(chance, options.rate, program.pid, book)
    faults = []
    while not book.stat().st_size and program.poll() is None:
        time.sleep(0.01)
    torment.work(until - 1)
    try:
        code = program.wait(PATIENCE)
        if code:
            faults.append(f"the program ended with {code}")
    except subprocess.TimeoutExpired:
        faults.append("the program hangs")
        show_stacks()
    faults += still_there()
    killer.kept.discard(program.pid)
    end_all(program)
    faults += [
        f"left in /dev/shm: {name}" for name in set(os.listdir("/dev/shm")) - names
    ]
    audit = Audit(ledger.read(book), torment.sent)
    audit.counts["kill"] = torment.sent.total()
    audit.counts["busy"] = torment.busy
    audit.counts["stop"] = torment.stops
    return faults + audit.faults, audit.counts


def programs(options: argparse.Namespace) -> dict[str, list[str]]:
    """Returns the commands that run the program in each face."""
    return {
        "python": [sys.executable, str(HERE / "python")],
        "rust": [str(options.program)],
    }


def still_there() -> list[str]:
    """Waits for the end of all that a program started; tells who does not end."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        reap(killer.kept)
        left = [pid for pid in descendants(os.getpid()) if pid not in killer.kept]
        if not left:
            return []
        time.sleep(0.02)
    return [f"left behind: {describe(pid)}" for pid in left]


def show_stacks() -> None:
    """Has everybody who can show where it is."""
    for pid in descendants(os.getpid()):
        print(describe(pid), file=sys.stderr)
        if catches(pid, signal.SIGUSR1):
            os.kill(pid, signal.SIGUSR1)
            time.sleep(0.05)


def describe(pid: int) -> str:
    """Tells what a process is and where it waits."""
    told = [str(pid), killer.name_of(pid), *map(str, killer.stat_of(pid))]
    for name in ("cmdline", "wchan", "syscall"):
        try:
            text = Path(f"/proc/{pid}/{name}").read_text().replace("\0", " ")
        except OSError as error:
            text = str(error)
        told.append(f"{name}: {text.strip()[:200]}")
    return "  ".join(told)


def end_all(program: subprocess.Popen) -> None:
    """Ends what is left of an episode."""
    while left := descendants(os.getpid()):
        kill(left)
        program.poll()
        reap(killer.kept)


def report(faults: list[str], folder: Path, options: argparse.Namespace) -> None:
    """Shows what went wrong, and leaves the ledger where it was asked for."""
    text = (folder / "errors").read_text(errors="replace")
    print(text[-20_000:], file=sys.stderr)
    for fault in faults[:50]:
        print(f"fault: {fault}", file=sys.stderr)
    if options.keep:
        shutil.copytree(folder, options.keep, dirs_exist_ok=True)


if __name__ == "__main__":
    sys.exit(main())
