"""Pools on a dask cluster: the tests of every engine, on two workers of this machine."""

import procession
import pytest
from procession.distributed import EngineUnavailable
from procession.testing import BackendTests

distributed = pytest.importorskip("distributed")

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def cluster():
    """Returns a cluster of two workers, each with room for two."""
    options = {"n_workers": 2, "threads_per_worker": 2, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster:
        yield cluster


class TestDask(BackendTests):
    @pytest.fixture
    def context(self, cluster):
        # A test before this one may have killed a worker, which the cluster replaces.
        with distributed.Client(cluster, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
        address = cluster.scheduler_address.replace("tcp", "dask")
        context = procession.get_context(address)
        yield context
        context.close()


def test_cluster_of_the_programs_own_client_is_found(cluster) -> None:
    with distributed.Client(cluster):
        context = procession.get_context("dask")
        with context.Pool(2) as pool:
            assert pool.map(abs, [-1, -2]) == [1, 2]


@pytest.mark.parametrize("url", ["dask://127.0.0.1:1", "dask://no-such-host:8786"])
def test_scheduler_that_is_not_there_is_told(url) -> None:
    with pytest.raises(EngineUnavailable, match="no scheduler of dask answers"):
        procession.get_context(url)


def test_no_cluster_is_started_silently() -> None:
    from procession.distributed.dask import Dask

    with pytest.raises(EngineUnavailable, match="'dask://host:8786'"):
        Dask().open("dask")
