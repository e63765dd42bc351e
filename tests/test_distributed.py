"""Pools on other nodes: the tests of every engine, and what is loopback's own."""

import procession
import pytest
from procession.testing import BackendTests

pytestmark = pytest.mark.slow


class TestLoopback(BackendTests):
    @pytest.fixture
    def context(self, lib):
        context = procession.get_context("loopback://2")
        yield context
        context.close()


class TestProcesses(BackendTests):
    """The same of the pools of this machine, which say what all others are to do."""

    capabilities = BackendTests.capabilities - {"nodes"}

    @pytest.fixture
    def context(self, mp):
        return mp
