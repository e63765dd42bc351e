"""What a process may still do that held a lock of the hub when its connections broke."""

import signal
import socket

import procession
import pytest
from procession.distributed import EngineUnavailable, _session
from procession.testing import PATIENCE


@pytest.fixture
def context():
    context = procession.get_context("loopback://1?slots=2")
    yield context
    context.close()


def take(lock, taken) -> None:
    """Takes a lock, and keeps it until its process is killed."""
    try:
        lock.acquire()
    except procession.OwnerDied:
        lock.acquire()
    taken.set()
    signal.pause()


def cut(lock) -> None:
    """Breaks the connections of this process to the hub, which frees what it held."""
    session = _session.session_of(lock._address)
    for line in [*session._all]:
        line._sock.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore", "BoundedSemaphore"])
def test_former_holder_does_not_free_what_another_has(context, kind) -> None:
    lock, taken = getattr(context, kind)(), context.Event()
    with context.Pool(1) as pool:
        with pytest.raises(EngineUnavailable, match="was set free"), lock:
            result = pool.apply_async(take, (lock, taken))
            cut(lock)
            with pytest.raises(EngineUnavailable, match="does not answer any more"):
                taken.is_set()
            assert taken.wait(PATIENCE)
        assert not lock.acquire(block=False)
        assert not result.ready()
        # It goes on as a process that holds nothing.
        result.cancel(kill=True)
        if kind.endswith("Lock"):
            with pytest.raises(procession.OwnerDied):
                lock.acquire()
        with lock:
            assert not lock.acquire(block=False) or kind == "RLock"


def test_what_was_taken_anew_is_released(context) -> None:
    lock = context.Lock()
    lock.acquire()
    cut(lock)
    with pytest.raises(EngineUnavailable):
        lock.locked()
    with pytest.raises(procession.OwnerDied):
        lock.acquire()
    with lock:
        pass
    assert not lock.locked()
