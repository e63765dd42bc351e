"""Chaos: a pool on machines that are network namespaces, whose processes and links break."""

import chaos
import errands
import pytest
from procession.testing import wait_until

pytest.importorskip("distributed")

import namespaces

pytestmark = [
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(bool(why := namespaces.why_not()), reason=why),
    pytest.mark.timeout(chaos.SECONDS + 240),
]


@pytest.fixture
def cluster(tmp_path):
    with namespaces.Machines(5) as machines:
        cluster = namespaces.DaskCluster(machines, tmp_path)
        yield cluster
        cluster.close()


class Killer(chaos.Killer):
    """Breaks tasks, agents, nodes and links of a cluster, and starts again what has ended."""

    def __init__(self, cluster, ledger: str) -> None:
        super().__init__(ledger, {"task": 4, "agent": 1, "node": 1, "link": 2})
        self._cluster = cluster

    def alive(self) -> set[int]:
        return {pid for node in self._cluster.nodes for pid in node.pids()}

    def agent(self) -> None:
        """Kills the worker of dask; what it has started is to end by itself."""
        node = self.chance.choice(self._cluster.nodes)
        self._cluster.kill_worker(node)
        self._cluster.start_worker(node)

    def node(self) -> None:
        """Kills all that is there."""
        node = self.chance.choice(self._cluster.nodes)
        node.kill()
        self._cluster.start_worker(node)

    def link(self) -> None:
        """Cuts a link for shorter or longer than the lease."""
        node = self.chance.choice(self._cluster.nodes)
        node.cut()
        self.stopped.wait(self.chance.uniform(0, 2 * chaos.LEASE))
        node.mend()
        for each in self._cluster.nodes:  # A worker may have given up.
            self._cluster.start_worker(each)


def test_each_task_is_done_or_known_to_have_failed(cluster, tmp_path) -> None:
    context = cluster.context(chaos.LEASE)
    ledger = str(tmp_path / "ledger")
    killer = Killer(cluster, ledger)
    chaos.each_task_is_done_or_known_to_have_failed(context, ledger, killer)
    cluster.revive()
    wait_until(lambda: not cluster.strays())
    with context.Pool() as pool:
        assert {*pool.map(errands.where, range(60), chunksize=1)} == {
            node.address for node in cluster.nodes
        }
    context.close()
