"""What the family does that test_view.py looks at."""

import procession
from library import PATIENCE


def hold_until_told(lock, held, go) -> None:
    """Takes a lock, tells so, and frees it when told to."""
    with lock:
        held.release()
        assert go.acquire(timeout=PATIENCE)


def take_and_free(lock) -> None:
    with lock:
        pass


def tell_and_wait(told, gate) -> bool:
    """Tells that it runs, and waits."""
    told.release()
    return gate.acquire(timeout=PATIENCE)


def get_one(queue, told) -> None:
    """Tells that it runs, and takes an item."""
    told.release()
    assert queue.get(timeout=PATIENCE)


def wait_with_a_child(told, go) -> None:
    """Starts a process, and waits as it does, which tells when it runs."""
    child = procession.Process(
        target=tell_and_wait, args=(told, go), name="the-grandchild"
    )
    child.start()
    assert go.acquire(timeout=PATIENCE)
    child.join(PATIENCE)
    assert child.exitcode == 0
