"""Pools of a program that is one of Ray's clients: the tests of every engine, and the ends."""

import subprocess
import sys
import time
from pathlib import Path

import errands
import procession
import pytest
from process_tree import kill
from procession._test_tasks import square
from procession.distributed import EngineUnavailable, NodeLost
from procession.testing import PATIENCE, BackendTests, wait_until

ray = pytest.importorskip("ray")
pytest.importorskip("grpc")

import ray_heads

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.timeout(600)]

LEASE = 3
SOON = 30

CLIENTS = Path(__file__).with_name("clients.py")


@pytest.fixture(scope="module", autouse=True)
def no_other_connection():
    """Leaves the cluster that tests before these were connected to."""
    ray.shutdown()
    yield
    ray.shutdown()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Has Ray look for a server that is gone for seconds, not for half a minute."""
    monkeypatch.setenv("RAY_CLIENT_RECONNECT_GRACE_PERIOD", "5")


@pytest.fixture(scope="module")
def head():
    with ray_heads.Head() as head:
        yield head
        ray.shutdown()  # It would wait for the server, if that was gone.


class TestRayClient(BackendTests):
    @pytest.fixture
    def context(self, head):
        context = procession.get_context(head.url)
        yield context
        context.close()


def test_connection_of_the_program_is_used(head) -> None:
    assert procession.get_context(head.url).cpu_count() == 4
    with procession.get_context("ray").Pool(2) as pool:
        assert pool.map(square, range(9)) == [number**2 for number in range(9)]


def test_program_may_change_how_it_is_connected(head) -> None:
    ray.shutdown()
    options = {"include_dashboard": False, "logging_level": "ERROR"}
    for connect in (
        lambda: ray.init(num_cpus=1, log_to_driver=False, **options),
        lambda: ray.init(head.url, logging_level="ERROR"),
        lambda: ray.init(num_cpus=1, log_to_driver=False, **options),
    ):
        connect()
        context = procession.get_context("ray")
        with context.Pool(1) as pool:
            assert pool.map(square, range(9)) == [number**2 for number in range(9)]
        ray.shutdown()


def test_second_cluster_is_refused(head) -> None:
    assert procession.get_context(head.url).cpu_count() == 4
    with pytest.raises(EngineUnavailable, match="connected to another"):
        procession.get_context(f"ray://localhost:{ray_heads.free_port()}")


def test_program_that_ends_leaves_no_agent(head, tmp_path) -> None:
    ledger = str(tmp_path / "ledger")
    command = (sys.executable, CLIENTS, "wait", f"{head.url}?lease={LEASE}", ledger)
    with subprocess.Popen(command) as client:
        try:
            wait_until(lambda: len(errands.lines(ledger)) == 2)
        finally:
            client.kill()
    pids = {int(pid) for _, _, pid in errands.lines(ledger)}
    assert pids
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    wait_until(lambda: not head.pids("ray::RayAgent"))


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host"])
def test_server_that_is_not_there_is_told_at_once(host) -> None:
    ray.shutdown()
    began = time.monotonic()
    with pytest.raises(EngineUnavailable, match="no server for Ray's clients answers"):
        procession.get_context(f"ray://{host}:{ray_heads.free_port()}")
    assert time.monotonic() - began < SOON


def test_missing_client_is_told(monkeypatch) -> None:
    from procession.distributed import ray as engine

    monkeypatch.setattr(engine, "client", None)
    with pytest.raises(ImportError, match=r"pip install 'procession\[ray\]'"):
        engine.Ray().open("ray://127.0.0.1:10001")


@pytest.mark.parametrize("retries", [0, 2])
def test_killed_server_is_told_of_to_each_task_and_one_that_is_back_works(
    retries, tmp_path
) -> None:
    ray.shutdown()
    ledger = str(tmp_path / "ledger")
    with ray_heads.Head() as head:
        context = procession.get_context(f"{head.url}?lease={LEASE}")
        gate = context.Event()
        with context.Pool(2, retries=retries) as pool:
            calls = [(ledger, number, gate) for number in range(8)]
            results = [pool.apply_async(errands.wait_for, call) for call in calls]
            wait_until(lambda: len(errands.lines(ledger)) == 2)
            head.kill()
            killed_at = time.monotonic()
            for result in results:
                with pytest.raises((NodeLost, EngineUnavailable)) as caught:
                    result.get(PATIENCE)
                assert not retries or caught.type is EngineUnavailable
            with pytest.raises(EngineUnavailable, match="no node is left"):
                pool.apply(square, (3,))
        with pytest.raises(EngineUnavailable):
            context.Pool()
        assert time.monotonic() - killed_at < 90
        context.close()
    with ray_heads.Head(head.port):
        assert procession.get_context(f"{head.url}?lease={LEASE}") is context
        with context.Pool(2) as pool:
            assert pool.map(square, range(9)) == [number**2 for number in range(9)]
        ray.shutdown()


def test_killed_server_of_this_client_alone_is_told_of(head, tmp_path) -> None:
    ledger = str(tmp_path / "ledger")
    context = procession.get_context(f"{head.url}?lease={LEASE}")
    gate = context.Event()
    with context.Pool(2) as pool:
        calls = [(ledger, number, gate) for number in range(4)]
        results = [pool.apply_async(errands.wait_for, call) for call in calls]
        wait_until(lambda: len(errands.lines(ledger)) == 2)
        # The process that stands for this client in the cluster.
        kill(head.pids("--mode=specific-server"))
        for result in results:
            with pytest.raises((NodeLost, EngineUnavailable)):
                result.get(PATIENCE)
    context.close()
    with context.Pool(2) as pool:
        assert pool.map(square, range(9)) == [number**2 for number in range(9)]
