"""Chaos: a pool on the nodes of a Ray cluster, whose tasks, agents and nodes are killed."""

import contextlib
import os
from pathlib import Path

import chaos
import errands
import procession
import pytest
from process_tree import descendants, kill
from procession.testing import wait_until

ray = pytest.importorskip("ray")

from ray.cluster_utils import Cluster

pytestmark = [
    pytest.mark.filterwarnings("default"),
    pytest.mark.timeout(chaos.SECONDS + 240),
]

NODES = 3

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cluster(monkeypatch):
    """Makes a cluster with a head, which this process is connected by, and other nodes."""
    ray.shutdown()
    path = [str(ROOT / "python"), str(Path(__file__).parent)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    head = {"num_cpus": 1, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head, shutdown_at_exit=False)
    try:
        for _ in range(NODES):
            cluster.add_node(num_cpus=2)
        ray.init(cluster.address, logging_level="ERROR", log_to_driver=False)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def nodes() -> set[str]:
    """Returns the names of the nodes that Ray believes to be there."""
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


def agents() -> list[int]:
    """Returns the processes of agents."""
    found = []
    for pid in descendants(os.getpid()):
        with contextlib.suppress(OSError):
            if b"ray::RayAgent" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


class Killer(chaos.Killer):
    """Kills tasks, agents and nodes of a cluster; each node that is killed is replaced by another."""

    def __init__(self, cluster, ledger: str) -> None:
        # An agent takes seconds to start: Ray starts an interpreter for it.
        kinds = {"task": 4, "agent": 1, "node": 1}
        super().__init__(ledger, kinds, longest=5)
        self._cluster = cluster

    def alive(self) -> set[int]:
        return {*descendants(os.getpid())}

    def agent(self) -> None:
        """Kills the actor; what it has started is to end by itself."""
        if found := agents():
            kill([self.chance.choice(found)])

    def node(self) -> None:
        """Kills Ray's daemon of a node; what it has started is to end by itself."""
        node = self.chance.choice([*self._cluster.worker_nodes])
        self._cluster.remove_node(node, allow_graceful=False)
        self._cluster.add_node(num_cpus=2)


def test_each_task_is_done_or_known_to_have_failed(cluster, tmp_path) -> None:
    context = procession.get_context(f"ray?lease={chaos.LEASE}")
    ledger = str(tmp_path / "ledger")
    killer = Killer(cluster, ledger)
    chaos.each_task_is_done_or_known_to_have_failed(context, ledger, killer)
    wait_until(lambda: not agents())
    # Ray notices seconds later that a node is gone.
    wait_until(lambda: len(nodes()) == NODES + 1)
    with context.Pool() as pool:
        assert {*pool.map(errands.where, range(60), chunksize=1)} == nodes()
    context.close()
