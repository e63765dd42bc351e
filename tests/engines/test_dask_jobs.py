"""Pools on clusters of dask whose workers are jobs: dask-jobqueue's scripts, run by bash here."""

import os
import subprocess
from pathlib import Path

import procession
import pytest
from procession._test_tasks import square
from procession.testing import wait_until

pytest.importorskip("distributed")
jobqueue = pytest.importorskip("dask_jobqueue")

from dask_jobqueue.local import LocalCluster
from distributed import Client

pytestmark = [pytest.mark.filterwarnings("default")]

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def modules(monkeypatch):
    """Has jobs find procession and these tests."""
    path = [str(ROOT / "python"), str(Path(__file__).parent)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))


def options(folder) -> dict:
    """Returns what jobs are made of: each is one worker with room for two."""
    return {
        "cores": 2,
        "processes": 1,
        "memory": "2GB",
        "local_directory": str(folder),
        "log_directory": str(folder),
        "scheduler_options": {"dashboard_address": None},
    }


@pytest.fixture
def cluster(tmp_path):
    with LocalCluster(**options(tmp_path)) as cluster:
        yield cluster


def workers(cluster) -> int:
    return len(cluster.scheduler.workers)


def context_of(cluster):
    return procession.get_context(cluster.scheduler_address.replace("tcp", "dask"))


def test_script_of_a_slurm_job_starts_a_node(tmp_path) -> None:
    with jobqueue.SLURMCluster(queue="any", **options(tmp_path)) as cluster:
        script = tmp_path / "job.sh"
        script.write_text(cluster.job_script())
        assert "#SBATCH --cpus-per-task=2" in script.read_text()
        with subprocess.Popen(("bash", script)) as job:
            try:
                wait_until(lambda: workers(cluster) == 1)
                context = context_of(cluster)
                assert context.cpu_count() == 2
                with context.Pool() as pool:
                    assert pool.map(square, range(9)) == [n * n for n in range(9)]
                context.close()
            finally:
                job.terminate()


def test_pool_runs_on_a_cluster_that_scales_by_itself(cluster) -> None:
    cluster.adapt(minimum_jobs=1, maximum_jobs=2, interval="100ms")
    wait_until(lambda: workers(cluster) >= 1)
    context = context_of(cluster)
    with (
        context.Pool(retries=1) as pool,
        Client(cluster, set_as_default=False) as client,
    ):
        # Dask has work of its own, for which it takes more workers, and lets them go again.
        client.gather(client.map(square, range(100)))
        assert pool.map(square, range(99), 1) == [number**2 for number in range(99)]
    context.close()


def test_pool_follows_jobs_that_end_and_come(cluster) -> None:
    def nodes(pool) -> set[str]:
        return {*pool.map(os.getenv, ["PROCESSION_NODE"] * 40, chunksize=1)}

    cluster.scale(jobs=2)
    wait_until(lambda: workers(cluster) == 2)
    context = context_of(cluster)
    with context.Pool(retries=1) as pool:
        at_first = nodes(pool)
        assert len(at_first) == 2
        cluster.scale(jobs=1)
        wait_until(lambda: workers(cluster) == 1)
        wait_until(lambda: len(nodes(pool)) == 1)
        cluster.scale(jobs=2)
        wait_until(lambda: workers(cluster) == 2)
        wait_until(lambda: len(nodes(pool)) == 2)
        assert len(nodes(pool) - at_first) == 1
    context.close()
