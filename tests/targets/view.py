"""What the family does that test_view.py looks at."""

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
