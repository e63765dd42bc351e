"""Pools on a dask cluster of three machines that are network namespaces, whose links are cut."""

import pickle
import subprocess
import sys
import time
from pathlib import Path

import errands
import procession
import pytest
from procession.distributed import EngineUnavailable, NodeLost
from procession.testing import PATIENCE, wait_until

pytest.importorskip("distributed")

import namespaces

pytestmark = [
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(bool(why := namespaces.why_not()), reason=why),
]

# Seconds. Long before dask itself takes note of a link that is cut, which is after thirty.
LEASE = 3
SOON = 20

CLIENTS = Path(__file__).with_name("clients.py")


@pytest.fixture(scope="module")
def machines():
    with namespaces.Machines(5) as machines:
        yield machines


@pytest.fixture(scope="module")
def one_cluster(machines, tmp_path_factory):
    cluster = namespaces.DaskCluster(machines, tmp_path_factory.mktemp("dask"))
    yield cluster
    cluster.close()


@pytest.fixture
def cluster(one_cluster):
    """Returns a cluster that is whole, and of which nothing is left but its workers."""
    one_cluster.revive()
    yield one_cluster
    for machine in (*one_cluster.nodes, one_cluster.free):
        machine.mend()
    one_cluster.free.kill()
    wait_until(lambda: not one_cluster.strays())


@pytest.fixture
def context(cluster):
    context = cluster.context(LEASE)
    yield context
    context.close()


@pytest.fixture
def ledger(tmp_path):
    return str(tmp_path / "ledger")


def runs_on(ledger, *nodes) -> list[tuple[str, int]]:
    """Returns who has run on some nodes, and in which process."""
    addresses = {node.address for node in nodes}
    return [
        (who, int(pid)) for who, at, pid in errands.lines(ledger) if at in addresses
    ]


def wait_for_runs(ledger, count, *nodes) -> set[int]:
    """Waits until so many tasks run on nodes; returns their processes."""
    wait_until(lambda: len(runs_on(ledger, *nodes)) == count)
    return {pid for _, pid in runs_on(ledger, *nodes)}


def wait_for_end_of(pids, *nodes) -> None:
    wait_until(lambda: not any(pids & node.pids() for node in nodes))


def workers_on(pool, node) -> set[int]:
    return {worker.pid for worker in pool.workers()} & node.pids()


def wait_for_work_on(pool, node) -> None:
    """Waits until tasks run on a node."""
    wait_until(lambda: node.address in pool.map(errands.where, range(30), chunksize=1))


def test_pool_works_on_all_nodes_which_share_what_the_hub_keeps(
    machines, cluster, context
) -> None:
    assert context.cpu_count() == 6
    barrier, lock, total = context.Barrier(3), context.Lock(), context.Value("i", 0)
    queue = context.Queue()
    assert lock._address[0] == machines.address
    with context.Pool(3) as pool:
        given = barrier, lock, total, queue
        results = [pool.apply_async(errands.meet, given) for _ in range(3)]
        for result in results:
            result.get(PATIENCE)
    assert total.value == 3
    came = sorted(queue.get(timeout=PATIENCE) for _ in range(3))
    assert came == [node.address for node in cluster.nodes]


def test_tasks_behind_a_cut_link_are_tried_elsewhere(cluster, context, ledger) -> None:
    node = cluster.nodes[0]
    with context.Pool(retries=1) as pool:
        workers = workers_on(pool, node)
        calls = [(ledger, number, (node.address,)) for number in range(60)]
        result = pool.starmap_async(errands.run, calls, chunksize=1)
        running = wait_for_runs(ledger, 2, node)
        assert running == workers
        node.cut()
        cut_at = time.monotonic()
        assert result.get(PATIENCE) == [number**2 for number in range(60)]
        assert time.monotonic() - cut_at < SOON
        runs = [who for who, _, _ in errands.lines(ledger)]
        stuck = {who for who, _ in runs_on(ledger, node)}
        assert all(runs.count(who) == 1 + (who in stuck) for who in runs)
        # Nobody tells the agent there, but its lease ends.
        wait_for_end_of(workers, node)
        assert time.monotonic() - cut_at < SOON
        node.mend()
        wait_for_work_on(pool, node)


def test_tasks_behind_a_cut_link_fail_alone(cluster, context, ledger) -> None:
    node = cluster.nodes[1]
    with context.Pool() as pool:
        workers = workers_on(pool, node)
        calls = [(ledger, number, (node.address,)) for number in range(60)]
        result = pool.starmap_async(errands.run, calls, 1, on_error="collect")
        wait_for_runs(ledger, 2, node)
        node.cut()
        cut_at = time.monotonic()
        outcomes = result.get(PATIENCE)
        assert time.monotonic() - cut_at < SOON
        lost = [n for n, outcome in enumerate(outcomes) if outcome != n**2]
        assert {int(who) for who, _ in runs_on(ledger, node)} <= {*lost}
        assert len(lost) <= 3  # One more than there are workers.
        for number in lost:
            assert isinstance(outcomes[number], NodeLost)
            assert node.address in outcomes[number].node
            assert f"has not answered for {LEASE} s" in str(outcomes[number])
    # It is closed while the link is cut.
    assert time.monotonic() - cut_at < SOON
    wait_for_end_of(workers, node)
    node.mend()
    with context.Pool() as pool:
        assert workers_on(pool, node)
        wait_for_work_on(pool, node)


def test_link_that_is_mended_before_the_lease_is_over_loses_nothing(
    cluster, context, ledger
) -> None:
    node = cluster.nodes[2]
    context = cluster.context(60)
    gate = context.Event()
    with context.Pool() as pool:
        calls = [(ledger, number, gate) for number in range(12)]
        result = pool.starmap_async(errands.wait_for, calls, chunksize=1)
        wait_for_runs(ledger, 6, *cluster.nodes)
        node.cut()
        gate.set()
        # The others have done all that they were given.
        wait_until(lambda: len(runs_on(ledger, *cluster.nodes[:2])) >= 8)
        node.mend()
        assert result.get(PATIENCE) == [number**2 for number in range(12)]
    assert len(errands.lines(ledger)) == 12
    context.close()


def test_lock_of_a_task_behind_a_cut_link_is_told_of_and_free(
    cluster, context, ledger
) -> None:
    lock = context.Lock()
    with context.Pool(3) as pool:
        result = pool.apply_async(errands.hold, (ledger, lock))
        wait_until(lambda: errands.lines(ledger))
        [[_, address, pid]] = errands.lines(ledger)
        [node] = [each for each in cluster.nodes if each.address == address]
        node.cut()
        cut_at = time.monotonic()
        with pytest.raises(procession.OwnerDied):
            lock.acquire()
        assert time.monotonic() - cut_at < SOON
        with lock, pytest.raises(NodeLost):
            result.get(PATIENCE)
        wait_for_end_of({int(pid)}, node)


@pytest.mark.parametrize("is_mended", [True, False])
def test_holder_behind_a_cut_link_learns_that_at_its_next_call(
    cluster, context, is_mended
) -> None:
    lock = context.Lock()
    holder = cluster.free.run(
        *(sys.executable, CLIENTS, "hold"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder.stdin as told, holder.stdout as says:
        key = bytes(procession.current_process().authkey)
        pickle.dump((key, pickle.dumps(lock)), told)
        told.flush()
        assert says.readline() == b"held\n"
        cluster.free.cut()
        cut_at = time.monotonic()
        with pytest.raises(procession.OwnerDied):
            lock.acquire()
        assert lock.acquire(timeout=0)
        lock.release()
        if is_mended:
            cluster.free.mend()
        told.write(b"release it\n")
        told.flush()
        assert says.readline() == b"unavailable\n"
        assert time.monotonic() - cut_at < SOON
        cluster.free.mend()
        told.write(b"take it anew\n")
        told.flush()
        assert says.readline() == b"held anew\n"


def test_killed_node_is_told_of_at_once_and_its_tasks_are_tried_elsewhere(
    cluster, ledger
) -> None:
    node = cluster.nodes[0]
    context = cluster.context(600)
    with context.Pool() as pool:
        calls = [(ledger, number, (node.address,)) for number in range(30)]
        result = pool.starmap_async(errands.run, calls, 1, retries=1)
        wait_for_runs(ledger, 2, node)
        node.kill()
        assert result.get(PATIENCE) == [number**2 for number in range(30)]
        cluster.start_worker(node)
        wait_for_work_on(pool, node)


def test_tasks_of_a_killed_node_fail_alone(cluster, ledger) -> None:
    node = cluster.nodes[1]
    context = cluster.context(600)
    with context.Pool() as pool:
        calls = [(ledger, number, (node.address,)) for number in range(30)]
        result = pool.starmap_async(errands.run, calls, 1, on_error="collect")
        wait_for_runs(ledger, 2, node)
        node.kill()
        outcomes = result.get(PATIENCE)
        lost = [n for n, outcome in enumerate(outcomes) if outcome != n**2]
        assert {int(who) for who, _ in runs_on(ledger, node)} <= {*lost}
        assert {type(outcomes[number]) for number in lost} == {NodeLost}


@pytest.mark.parametrize("retries", [0, 2])
def test_killed_scheduler_fails_all_that_is_out(cluster, ledger, retries) -> None:
    addresses = [node.address for node in cluster.nodes]
    context = cluster.context(LEASE)
    lock = context.Lock()
    with context.Pool(retries=retries) as pool:
        calls = [(ledger, number, addresses) for number in range(20)]
        results = [pool.apply_async(errands.run, call) for call in calls]
        running = wait_for_runs(ledger, 6, *cluster.nodes)
        cluster.scheduler.kill()
        killed_at = time.monotonic()
        for result in results:
            # What the nodes had been given was lost with them.
            with pytest.raises((EngineUnavailable, NodeLost)) as caught:
                result.get(PATIENCE)
            assert "does not answer any more" in str(caught.value)
            assert not retries or caught.type is EngineUnavailable
        with pytest.raises(EngineUnavailable, match="no node is left"):
            results[-1].get(PATIENCE)
        with pytest.raises(EngineUnavailable, match="no node is left"):
            pool.apply(errands.where, (0,))
        assert time.monotonic() - killed_at < SOON
    assert {int(who) for who, _, _ in errands.lines(ledger)} == {*range(6)}
    wait_for_end_of(running, *cluster.nodes)
    with pytest.raises(EngineUnavailable, match="the scheduler of dask at"):
        context.Pool()
    # What the program itself keeps is still there.
    with lock:
        pass
    context.close()


@pytest.mark.parametrize("is_given_up", [False, True])
def test_scheduler_that_is_back_is_used_by_the_same_context(
    cluster, context, is_given_up
) -> None:
    with context.Pool() as pool:
        assert pool.apply(errands.where, (0,))
    client = context._backend._client
    cluster.scheduler.kill()
    if is_given_up:
        wait_until(lambda: client.status == "closed")
    cluster.revive()
    assert cluster.context(LEASE) is context
    with context.Pool() as pool:
        for node in cluster.nodes:
            wait_for_work_on(pool, node)
        # It tells of workers that come.
        cluster.nodes[0].kill()
        wait_until(lambda: len(cluster.hosts()) == 2)
        assert pool.map(errands.where, range(9))
        cluster.start_worker(cluster.nodes[0])
        wait_for_work_on(pool, cluster.nodes[0])


def test_pool_is_made_without_nodes_behind_cut_links(cluster, context) -> None:
    *cut, other = cluster.nodes
    for node in cut:
        node.cut()
    began = time.monotonic()
    with pytest.warns(RuntimeWarning, match="the pool goes on without it") as caught:
        pool = context.Pool()
    said = [str(each.message) for each in caught if each.category is RuntimeWarning]
    assert all(any(node.address in text for text in said) for node in cut)
    with pool:
        assert time.monotonic() - began < SOON
        assert {*pool.map(errands.where, range(30), chunksize=1)} == {other.address}
        for node in cut:
            node.mend()
            wait_for_work_on(pool, node)


def test_nodes_are_told_of_the_client_while_the_scheduler_cannot_be_asked(
    cluster, context, ledger
) -> None:
    gate = context.Event()
    with context.Pool(retries=1) as pool:
        calls = [(ledger, number, gate) for number in range(6)]
        result = pool.starmap_async(errands.wait_for, calls, chunksize=1)
        wait_for_runs(ledger, 6, *cluster.nodes)
        cluster.scheduler.cut()
        cluster.kill_worker(cluster.nodes[0])
        # As long as the leases of the others would take to end.
        wait_until(lambda: pool._engine._no_answer)
        gate.set()
        assert result.get(PATIENCE) == [number**2 for number in range(6)]
        assert len(errands.lines(ledger)) == 8
        cluster.scheduler.mend()
        cluster.start_worker(cluster.nodes[0])
        wait_for_work_on(pool, cluster.nodes[0])


@pytest.mark.parametrize("end", ["killed", "cut"])
def test_nothing_is_left_of_a_client_that_is_gone(cluster, ledger, end) -> None:
    addresses = [node.address for node in cluster.nodes]
    client = cluster.free.run(
        *(sys.executable, CLIENTS, "run", cluster.url(LEASE), ledger, *addresses),
        stdout=subprocess.PIPE,
        text=True,
    )
    running = wait_for_runs(ledger, 6, *cluster.nodes)
    gone_at = time.monotonic()
    if end == "killed":
        cluster.free.kill()
    else:
        cluster.free.cut()
    wait_for_end_of(running, *cluster.nodes)
    assert time.monotonic() - gone_at < SOON
    if end == "cut":
        cluster.free.mend()
        said, _ = client.communicate(timeout=PATIENCE)
        assert said.split() == ["NodeLost"] * 6
    client.stdout.close()
