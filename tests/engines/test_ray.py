"""Pools on a Ray cluster: the tests of every engine, on one node of this machine."""

import procession
import pytest
from procession.distributed import EngineUnavailable
from procession.testing import BackendTests

ray = pytest.importorskip("ray")

pytestmark = pytest.mark.filterwarnings("default")


def test_no_cluster_is_started_silently() -> None:
    from procession.distributed.ray import Ray

    assert not ray.is_initialized()
    with pytest.raises(EngineUnavailable, match="none is started"):
        Ray().open("ray")


@pytest.fixture(scope="module")
def cluster():
    """Connects to a cluster that is started for these tests."""
    ray.init(
        num_cpus=4, include_dashboard=False, logging_level="ERROR", log_to_driver=False
    )
    yield
    ray.shutdown()


class TestRay(BackendTests):
    @pytest.fixture
    def context(self, cluster):
        context = procession.get_context("ray")
        yield context
        context.close()
