"""Chaos: a pool on machines that are network namespaces, whose processes and links break.

Tasks count under a lock of the hub, while a thread kills tasks, agents and whole nodes, and cuts
links. Then it is audited what has become of each task, and that nobody is left.
`PROCESSION_CHAOS_SECONDS` and `PROCESSION_CHAOS_SEED` say how long, and with which seed.
"""

import os
import random
import signal
import threading
import time
from collections import Counter

import errands
import procession
import pytest
from process_tree import kill
from procession.distributed import EngineUnavailable, NodeLost
from procession.testing import PATIENCE, wait_until

pytest.importorskip("distributed")

import namespaces

SECONDS = float(os.environ.get("PROCESSION_CHAOS_SECONDS", "40"))
SEED = int(os.environ.get("PROCESSION_CHAOS_SEED", time.time_ns() % 1_000_000))

LEASE = 2

pytestmark = [
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(bool(why := namespaces.why_not()), reason=why),
    pytest.mark.timeout(SECONDS + 240),
]


@pytest.fixture
def cluster(tmp_path):
    with namespaces.Machines(5) as machines:
        cluster = namespaces.DaskCluster(machines, tmp_path)
        yield cluster
        cluster.close()


class Killer(threading.Thread):
    """Breaks things until it is told to stop.

    Args:
        cluster: Whose nodes it breaks.
        ledger: Where tasks say which processes they are.
        chance: What decides.
    """

    def __init__(self, cluster, ledger: str, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self.done = Counter[str]()
        self._cluster = cluster
        self._ledger = ledger
        self._chance = chance
        self._stopped = threading.Event()

    def run(self) -> None:
        kinds = ["task"] * 4 + ["agent", "node", "link", "link"]
        while not self._stopped.wait(self._chance.uniform(0.2, 2)):
            kind = self._chance.choice(kinds)
            node = self._chance.choice(self._cluster.nodes)
            getattr(self, f"_{kind}")(node)
            self.done[kind] += 1
            for each in self._cluster.nodes:
                self._cluster.start_worker(each)

    def stop(self) -> None:
        """Has it stop, and waits."""
        self._stopped.set()
        self.join()

    def _task(self, node) -> None:
        """Kills the process of a task."""
        ran = [
            int(pid) for _, at, pid in errands.lines(self._ledger) if at == node.address
        ]
        alive = [pid for pid in ran[-4:] if pid in node.pids()]
        kill(alive[:1])

    def _agent(self, node) -> None:
        """Kills the worker of dask; what it has started is to end by itself."""
        self._cluster.kill_worker(node)

    def _node(self, node) -> None:
        """Kills all that is there."""
        node.kill()

    def _link(self, node) -> None:
        """Cuts a link for shorter or longer than the lease."""
        node.cut()
        self._stopped.wait(self._chance.uniform(0, 2 * LEASE))
        node.mend()


def test_each_task_is_done_or_known_to_have_failed(cluster, tmp_path) -> None:
    print(f"PROCESSION_CHAOS_SEED={SEED}")
    chance = random.Random(SEED)
    signal.setitimer(signal.ITIMER_REAL, SECONDS + 2 * PATIENCE)  # The watchdog's.
    ledger = str(tmp_path / "ledger")
    context = cluster.context(LEASE)
    lock, total = context.Lock(), context.Value("i", 0, lock=False)
    killer = Killer(cluster, ledger, random.Random(SEED + 1))
    end = time.monotonic() + SECONDS
    retries: list[int] = []
    outcomes = Counter[str]()
    killer.start()
    while time.monotonic() < end:
        try:
            pool = context.Pool()
        except EngineUnavailable:
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
                    outcomes[outcome_of(call, number, retries[number])] += 1
    killer.stop()
    cluster.revive()
    print(len(retries), "tasks:", dict(outcomes), "and broken:", dict(killer.done))
    runs = Counter(int(number) for number, _, _ in errands.lines(ledger))
    assert [n for n, count in runs.items() if count > retries[n] + 1] == []
    ran = {int(pid) for _, _, pid in errands.lines(ledger)}
    wait_until(lambda: not any(ran & node.pids() for node in cluster.nodes))
    wait_until(lambda: not cluster.strays())
    try:
        assert lock.acquire(timeout=PATIENCE)
    except procession.OwnerDied:
        assert lock.acquire(timeout=PATIENCE)
    lock.release()
    with context.Pool() as pool:
        assert {*pool.map(errands.where, range(60), chunksize=1)} == {
            node.address for node in cluster.nodes
        }
    context.close()
    assert outcomes["done"] > 0 and killer.done


def outcome_of(call, number: int, retries: int) -> str:
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
