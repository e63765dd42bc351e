"""Runs the ways in which pools fail on procession and on its peers, and prints who stands what.

Usage: python benches/failures [--library NAME] [--scenario NAME] [--json FILE] [--page]

Each trial is a process of its own; whatever it leaves behind is counted two seconds after its end,
and ended. What libraries leave in /dev/shm and in the folder for temporary files goes with the run. `--page` puts the table into docs/reliability.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import page
from libraries import LIBRARIES, Library
from trial import BAD, SCENARIOS, TASKS

sys.path.insert(1, str(Path(__file__).parents[2] / "tests"))

from private_names import try_to_get_private_names

TRIAL = Path(__file__).with_name("trial.py")
# Seconds after which a trial is ended: it gives up waiting well before.
HUNG = 70
# Seconds that processes have for ending after their parent.
LAST_STEPS = 2.0
# What a lock may say to the next who wants it.
TOLD = {"OwnerDied", "got it"}


@dataclass
class Verdict:
    """What one library did in one scenario."""

    passed: bool
    text: str


def main() -> int:
    options = arguments()
    try_to_get_private_names()
    libraries = [one for one in LIBRARIES if options.library in (None, one.name)]
    missing = [one.name for one in libraries if one.version() is None]
    if missing:
        print("not installed:", ", ".join(missing))
    libraries = [one for one in libraries if one.version() is not None]
    found: dict[str, dict[str, Verdict]] = {}
    for scenario in SCENARIOS:
        if options.scenario in (None, scenario):
            found[scenario] = {}
            for library in libraries:
                verdict = run(library, scenario)
                found[scenario][library.name] = verdict
                mark = "passes" if verdict.passed else "FAILS"
                print(
                    f"{scenario:<28} {library.name:<22} {mark:<7} {verdict.text}",
                    flush=True,
                )
    versions = {one.name: one.version() or "" for one in libraries}
    if options.json:
        options.json.write_text(page.report(found, versions, machine()) + "\n")
    if options.page:
        page.write(found, versions, machine())
    ours = [
        verdict
        for row in found.values()
        for name, verdict in row.items()
        if name.startswith("procession")
    ]
    print(f"procession: {sum(one.passed for one in ours)} passed of {len(ours)}")
    return 0 if all(one.passed for one in ours) else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python benches/failures", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--library", choices=[one.name for one in LIBRARIES])
    parser.add_argument("--scenario", choices=list(SCENARIOS))
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write all verdicts here too"
    )
    parser.add_argument(
        "--page", action="store_true", help="put the table into docs/reliability.md"
    )
    return parser.parse_args()


def run(library: Library, scenario: str) -> Verdict:
    """Runs one trial, and ends what it leaves behind."""
    with tempfile.TemporaryDirectory() as folder:
        busy = Path(folder, "busy")
        busy.mkdir()
        environment = {
            **os.environ,
            "TRIAL_MOMENT": str(Path(folder, "moment")),
            "TRIAL_BUSY": str(busy),
            "TMPDIR": folder,
        }
        # Not through a pipe: what a library leaves running would hold that open.
        told = Path(folder, "told")
        with told.open("w") as output:
            child = subprocess.Popen(
                [sys.executable, str(TRIAL), library.name, scenario],
                env=environment,
                stdout=output,
                stderr=subprocess.DEVNULL,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        try:
            if scenario.startswith("parent killed"):
                return kill_parent(child, busy)
            if scenario.startswith("Ctrl-C"):
                return interrupt(child, busy)
            with suppress(subprocess.TimeoutExpired):
                child.wait(HUNG)
            said: dict[str, Any] = {}
            tasks: dict[int, dict[str, Any]] = {}
            for line in told.read_text().splitlines():
                one = json.loads(line)
                tasks.update({one["task"]: one} if "task" in one else {})
                said.update(one)
            verdict = judge(tasks, said)
            if child.poll() is None:
                return Verdict(False, f"the caller hangs; {verdict.text}")
            return verdict
        finally:
            end(child)


def busy_workers(child: subprocess.Popen[bytes], busy: Path) -> list[int]:
    """Waits until two workers are busy, and returns who they are; none if they never are."""
    deadline = time.monotonic() + HUNG
    while len(workers := [int(path.name) for path in busy.iterdir()]) < 2:
        if time.monotonic() > deadline or child.poll() is not None:
            return []
        time.sleep(0.01)
    return workers


def interrupt(child: subprocess.Popen[bytes], busy: Path) -> Verdict:
    workers = busy_workers(child, busy)
    if not workers:
        return Verdict(False, "its workers did not get to work")
    begin = time.monotonic()
    # As the terminal does, all of its group.
    os.killpg(child.pid, signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        child.wait(LAST_STEPS)
    if child.poll() is None:
        return Verdict(False, f"goes on after {LAST_STEPS:.0f} s")
    while (
        alive := [pid for pid in workers if is_alive(pid)]
    ) and time.monotonic() < begin + LAST_STEPS:
        time.sleep(0.005)
    if alive:
        return Verdict(False, f"{len(alive)} of {len(workers)} orphaned")
    return Verdict(True, f"all ended after {after(time.monotonic() - begin)}")


def kill_parent(child: subprocess.Popen[bytes], busy: Path) -> Verdict:
    workers = busy_workers(child, busy)
    if not workers:
        return Verdict(False, "its workers did not get to work")
    child.kill()
    child.wait()
    deadline = time.monotonic() + LAST_STEPS
    while (
        alive := [pid for pid in workers if is_alive(pid)]
    ) and time.monotonic() < deadline:
        time.sleep(0.005)
    if alive:
        return Verdict(False, f"{len(alive)} of {len(workers)} orphaned")
    took = time.monotonic() - (deadline - LAST_STEPS)
    return Verdict(True, f"none left after {max(took, 0.001) * 1000:.0f} ms")


def judge(tasks: dict[int, dict[str, Any]], said: dict[str, Any]) -> Verdict:
    """Reads what the caller saw."""
    if "lock" in said:
        if said["lock"] == "none":
            return Verdict(True, "has no locks")
        return Verdict(
            said["lock"] in TOLD,
            {"lost": "lost for ever"}.get(said["lock"], said["lock"]),
        )
    if "ended" in said:
        if said["ended"] == "none":
            return Verdict(True, "has no such call")
        passed = said["ended"] == "done"
        return Verdict(passed, after(said["after"]) if passed else said["ended"])
    if "initializer" in said:
        what = said["initializer"]
        passed = what not in ("hangs", "unnoticed")
        return Verdict(
            passed, f"{what} after {after(said['after'])}" if passed else what
        )
    if not tasks:
        return Verdict(False, "nothing comes back")
    outcomes = [
        tasks[number]["outcome"] if number in tasks else "pending"
        for number in range(TASKS)
    ]
    good = outcomes.count("ok")
    others = sorted(
        {outcome for outcome in outcomes if outcome not in ("ok", "pending")}
    )
    parts = [f"{good} ok"]
    if others:
        parts.append(f"{TASKS - good - outcomes.count('pending')} {', '.join(others)}")
    if "pending" in outcomes:
        parts.append(f"{outcomes.count('pending')} hang")
    moment = tasks.get(BAD, {}).get("after")
    if moment is not None:
        parts.append(f"told after {after(moment)}")
    if not said.get("again"):
        parts.append("pool dead")
    passed = (
        good == TASKS - 1
        and outcomes[BAD] not in ("ok", "pending")
        and said.get("again", False)
    )
    return Verdict(passed, ", ".join(parts))


def after(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{max(seconds * 1000, 1):.0f} ms"


def is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def end(child: subprocess.Popen[bytes]) -> None:
    """Ends the trial and all of its session, and waits until they have ended."""
    while left := [pid for pid in session(child.pid) if is_alive(pid)]:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)
    child.wait()


def session(leader: int) -> list[int]:
    """Returns the processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader:
                found.append(int(stat.parent.name))
    return found


def machine() -> str:
    cores = len(os.sched_getaffinity(0))
    return f"CPython {platform.python_version()}, {cores} cores, {platform.system()} {platform.release()}"


if __name__ == "__main__":
    sys.exit(main())
