"""Random tasks on a cluster that breaks meanwhile, and an audit of what has become of each.

`PROCESSION_CHAOS_SECONDS` and `PROCESSION_CHAOS_SEED` say how long, and with which seed.
"""

import os
import random
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter

import errands
import procession
from process_tree import kill
from procession.distributed import EngineUnavailable, NodeLost
from procession.testing import PATIENCE, wait_until

SECONDS = float(os.environ.get("PROCESSION_CHAOS_SECONDS", "40"))
SEED = int(os.environ.get("PROCESSION_CHAOS_SEED", time.time_ns() % 1_000_000))

LEASE = 2


class Killer(threading.Thread, ABC):
    """Breaks things until it is told to stop.

    Args:
        ledger: Where tasks say which processes they are.
        kinds: What it breaks, by the names of its methods, and how often against the others.
        longest: At most so many seconds are between two.
    """

    def __init__(self, ledger: str, kinds: dict[str, int], longest: float = 2) -> None:
        super().__init__(daemon=True)
        self.done = Counter[str]()
        self.chance = random.Random(SEED + 1)
        self.stopped = threading.Event()
        self._ledger = ledger
        self._kinds = kinds
        self._longest = longest

    def run(self) -> None:
        while not self.stopped.wait(self.chance.uniform(0.2, self._longest)):
            (kind,) = self.chance.choices([*self._kinds], [*self._kinds.values()])
            getattr(self, kind)()
            self.done[kind] += 1

    def stop(self) -> None:
        """Has it stop, and waits."""
        self.stopped.set()
        self.join()

    def task(self) -> None:
        """Kills the process of a task that ran lately, if it is there yet."""
        ran = [int(pid) for _, _, pid in errands.lines(self._ledger)[-3:]]
        alive = self.alive()
        kill([pid for pid in ran if pid in alive][:1])

    @abstractmethod
    def alive(self) -> set[int]:
        """Returns the processes that run in the cluster."""


def each_task_is_done_or_known_to_have_failed(context, ledger: str, killer: Killer):
    """Runs tasks in pools while things break, and holds what became of them against the ledger."""
    print(f"PROCESSION_CHAOS_SEED={SEED}")
    chance = random.Random(SEED)
    signal.setitimer(signal.ITIMER_REAL, SECONDS + 2 * PATIENCE)  # The watchdog's.
    lock, total = context.Lock(), context.Value("i", 0, lock=False)
    end = time.monotonic() + SECONDS
    retries: list[int] = []
    outcomes = Counter[str]()
    killer.start()
    while time.monotonic() < end:
        try:
            pool = context.Pool()
        except EngineUnavailable as error:
            print("no pool:", error)
            outcomes["no pool"] += 1
            continue
        with pool:
            until = min(end, time.monotonic() + chance.uniform(5, 20))
            while time.monotonic() < until and pool._engine.broken() is None:
                calls = []
                for _ in range(chance.choice((1, 10, 60))):
                    number = len(retries)
                    retries.append(chance.randrange(3))
                    seconds = chance.choice((0, 0, 0.01, 0.3))
                    args = ledger, number, lock, total, seconds
                    calls.append(
                        pool.apply_async(errands.count_under, args, retries=retries[-1])
                    )
                first = len(retries) - len(calls)
                for number, call in enumerate(calls, first):
                    outcomes[_outcome_of(call, number, retries[number])] += 1
    killer.stop()
    runs = Counter(int(number) for number, _, _ in errands.lines(ledger))
    print(len(retries), "tasks:", dict(outcomes), "with", runs.total(), "runs")
    print("broken:", dict(killer.done))
    assert [n for n, count in runs.items() if count > retries[n] + 1] == []
    ran = {int(pid) for _, _, pid in errands.lines(ledger)}
    wait_until(lambda: not ran & killer.alive())
    try:
        assert lock.acquire(timeout=PATIENCE)
    except procession.OwnerDied:
        assert lock.acquire(timeout=PATIENCE)
    lock.release()
    assert outcomes["done"] > 0 and killer.done


def _outcome_of(call, number: int, retries: int) -> str:
    """Returns what has become of a task, which must be something that may."""
    try:
        assert call.get(PATIENCE) == number**2
    except procession.WorkerDied as error:
        assert error.tries == retries + 1
        assert isinstance(error, NodeLost) or error.signal == "SIGKILL"
        return type(error).__name__
    except EngineUnavailable as error:
        # No node was left, or the task was cut off from the hub.
        assert "no node is left" in str(error) or "the hub at" in str(error)
        return type(error).__name__
    return "done"
