"""Pools whose engine is slow to say which places there are, or cannot say it."""

import threading
import time

import procession
import pytest
from procession._test_tasks import kill_the_node, square
from procession.distributed import EngineUnavailable, NodeLost, coordinator
from procession.testing import PATIENCE, wait_until

LEASE = 1


@pytest.fixture
def context():
    context = procession.get_context(f"loopback://2?lease={LEASE}")
    yield context
    context.close()


def test_nodes_hear_of_the_program_while_the_engine_is_asked(
    context, monkeypatch
) -> None:
    asked, answered = threading.Event(), threading.Event()
    places = context._backend.places

    def places_in_the_end():
        asked.set()
        assert answered.wait(PATIENCE)
        return places()

    with context.Pool() as pool:
        monkeypatch.setattr(context._backend, "places", places_in_the_end)
        with pytest.raises(NodeLost):
            pool.apply(kill_the_node)
        assert asked.wait(PATIENCE)
        # The other node is not lost in all this time.
        assert pool.apply(time.sleep, (3 * LEASE,)) is None
        answered.set()


def test_engine_that_cannot_say_its_places_is_asked_again(context, monkeypatch) -> None:
    asked = threading.Semaphore(0)
    places = context._backend.places

    def no_places():
        asked.release()
        raise OSError("the scheduler does not answer")

    with context.Pool() as pool:
        monkeypatch.setattr(context._backend, "places", no_places)
        with pytest.raises(NodeLost):
            pool.apply(kill_the_node)
        for _ in range(2):
            assert asked.acquire(timeout=PATIENCE)
        assert pool.map(square, range(9)) == [number**2 for number in range(9)]
        monkeypatch.setattr(context._backend, "places", places)
        with pytest.raises(NodeLost):
            pool.apply(kill_the_node)
        assert pool.apply(square, (3,)) == 9


def test_last_error_says_that_the_engine_did_not_answer(context, monkeypatch) -> None:
    def no_places():
        raise OSError("the scheduler does not answer")

    with context.Pool(1) as pool:
        monkeypatch.setattr(context._backend, "places", no_places)
        with pytest.raises(NodeLost):
            pool.apply(kill_the_node)
        with pytest.raises(
            EngineUnavailable, match="no node is left: .*, and the scheduler does not"
        ):
            pool.apply(square, (3,))


class Silent:
    """A link to an agent of which nothing is heard."""

    def put(self, parcels, done) -> None: ...

    def take(self, done) -> None: ...

    def tell(self, message) -> None: ...

    def close(self, timeout) -> None: ...


def test_agent_that_does_not_start_is_lost_and_tried_again(
    context, monkeypatch
) -> None:
    agent = context._backend.agent

    def silent(place, setup, lost):
        return Silent() if place.name == "loopback-0" else agent(place, setup, lost)

    monkeypatch.setattr(coordinator, "_TO_FOLLOW", 0.1)
    monkeypatch.setattr(context._backend, "agent", silent)
    with pytest.warns(RuntimeWarning, match="loopback-0: its agent was not ready"):
        pool = context.Pool()
    with pool:
        assert pool.map(square, range(9)) == [number**2 for number in range(9)]
        assert len(pool.workers()) == 1
        monkeypatch.setattr(context._backend, "agent", agent)
        wait_until(lambda: len(pool.workers()) == 2)
        assert pool.map(square, range(9)) == [number**2 for number in range(9)]


def test_pool_of_which_no_agent_starts_is_refused(context, monkeypatch) -> None:
    monkeypatch.setattr(coordinator, "_TO_START", 0.5)
    monkeypatch.setattr(context._backend, "agent", lambda *_: Silent())
    with pytest.raises(EngineUnavailable, match="loopback-0: its agent was not ready"):
        context.Pool()
