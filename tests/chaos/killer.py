"""Sends signals to whoever runs below a process, at random, and notes to whom.

The process that runs this adopts orphans (`PR_SET_CHILD_SUBREAPER`), so whatever a
program starts stays below it, whoever dies in between.
"""

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import ledger
from process_tree import descendants, reap

# Signals, and out of how many signals one is of this kind.
SIGNALS = {signal.SIGKILL: 75, signal.SIGTERM: 15, signal.SIGSTOP: 10}

# Chances of being chosen, by what a process is, against 1 of those who have noted
# something: most kills are to hit whoever is at work. One that has not boots, or waits
# to be given work.
SPARE, SERVER, STAGE, SILENT, AGENT = 0.03, 0.03, 0.01, 0.03, 0.1

# Seconds that a process at work lives at least, on the average: where fewer would be left
# than are needed to go on, there are fewer kills.
LIFE = 0.2

# Seconds that a stopped process sleeps at most.
LONGEST_STOP = 0.05

# How nice those at work are to those who boot.
NICER = 10

# Seconds after which those who live are looked for again.
OUTDATED = 0.1

# Seconds of strikes that are made up for when there was no time for them.
ARREARS = 0.2


class Killer:
    """Signals the descendants of this process, but not `spared`."""

    def __init__(
        self, chance: random.Random, rate: float, spared: int, book: Path
    ) -> None:
        self.chance = chance
        self.rate = rate
        self.spared = spared
        self.sent: Counter[tuple[int, int]] = Counter()
        # How many of those that were killed had noted something.
        self.busy = 0
        self.stops = 0
        self._notes = ledger.Follower(book)
        self._stages: set[int] = set()
        self._at_work: set[int] = set()
        self._stopped: list[tuple[float, int]] = []
        self._chances: dict[int, float] = {}
        self._looked = 0.0

    def work(self, until: float) -> None:
        """Kills until a time, at the mean rate, sometimes several at once."""
        due = time.monotonic()
        while (now := time.monotonic()) < until:
            reap(kept)
            if now - self._looked > OUTDATED:
                self._look()
            for _ in range(self.chance.choice((1, 1, 1, 1, 1, 1, 2, 4))):
                self._strike()
            # What was due while this process did not come to run is still due.
            due = max(due, now - ARREARS)
            due += min(self.chance.expovariate(self.rate / 1.5), 0.5)
            time.sleep(max(min(due, until) - time.monotonic(), 0))
            self._wake(time.monotonic())
        self._wake(float("inf"))

    def _look(self) -> None:
        for note in self._notes.read():
            if note.what == "stage":
                self._stages.add(note.number)
            if note.pid not in self._at_work:
                self._at_work.add(note.pid)
                self._give_way(note.pid)
        pids = set(descendants(os.getpid())) - {self.spared}
        self._chances = {pid: 1 if pid in self._at_work else SILENT for pid in pids}
        self._chances.update(dict.fromkeys(pids & self._stages, STAGE))
        for pid in pids - self._at_work - self._stages:
            if name_of(pid) == "parked spare":
                self._chances[pid] = SPARE
                # The fork server, or, if it booted the spare ahead, any other process.
                keeper = stat_of(pid)[1]
                if keeper in pids and keeper not in self._stages:
                    self._chances[keeper] = SERVER
            elif "distributed.loopback" in command_of(pid):
                # A node's agent is not at work itself, but others are by it.
                self._chances[pid] = AGENT
            elif "forkserver" in command_of(pid):
                self._chances[pid] = SERVER
        self._looked = time.monotonic()

    def _give_way(self, pid: int) -> None:
        """Lets those who boot come before one at work, else few get to work at all."""
        if (
            pid != self.spared
            and pid not in self._stages
            and is_below(pid, os.getpid())
        ):
            try:
                os.setpriority(os.PRIO_PROCESS, pid, NICER)
            except ProcessLookupError:
                pass

    def _strike(self) -> None:
        if not self._chances:
            return
        pids, chances = zip(*self._chances.items(), strict=True)
        if self.chance.random() > sum(chances) / LIFE / self.rate:
            return
        [pid] = self.chance.choices(pids, chances)
        [signum] = self.chance.choices(list(SIGNALS), SIGNALS.values())
        # A pid may have passed to another process by now, which must be one of ours.
        if not is_below(pid, os.getpid()):
            self._chances.pop(pid)
            return
        try:
            os.kill(pid, signum)
        except ProcessLookupError:
            self._chances.pop(pid)
            return
        if signum == signal.SIGSTOP:
            wake_at = time.monotonic() + self.chance.uniform(0, LONGEST_STOP)
            self._stopped.append((wake_at, pid))
            self.stops += 1
        else:
            self.sent[pid, signum] += 1
            self.busy += pid in self._at_work
            self._chances.pop(pid)

    def _wake(self, now: float) -> None:
        for when, pid in self._stopped:
            if when <= now:
                try:
                    os.kill(pid, signal.SIGCONT)
                except ProcessLookupError:
                    pass
        self._stopped = [(when, pid) for when, pid in self._stopped if when > now]


# Children whose exit status somebody here will ask for.
kept: set[int] = set()


def is_below(pid: int, ancestor: int) -> bool:
    """Tells whether a process that lives descends from another."""
    while pid > 1:
        state, parent = stat_of(pid)
        if state in "ZX" or parent == 0:
            return False
        if parent == ancestor:
            return True
        pid = parent
    return False


def state_of(pid: int) -> str:
    """Returns the letter of a process's state, `X` once it is gone."""
    return stat_of(pid)[0]


def stat_of(pid: int) -> tuple[str, int]:
    """Returns state and parent of a process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return "X", 0
    state, parent = stat.rpartition(")")[2].split()[:2]
    return state, int(parent)


def command_of(pid: int) -> str:
    """Returns the command line of a process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def name_of(pid: int) -> str:
    """Returns the name that a process gave itself."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""
