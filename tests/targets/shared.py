"""What is shared in test_shared.py, and what its workers do with it."""

import os

from targets import pool as pool_targets

# How often an object was unpickled in this process.
unpickled = 0


class Counting:
    """Counts how often it crosses."""

    pickled = 0

    def __init__(self, content: object = None) -> None:
        self.content = content

    def __reduce__(self) -> tuple:
        Counting.pickled += 1
        return _again, (self.content,)


def _again(content: object) -> Counting:
    global unpickled
    unpickled += 1
    return Counting(content)


def use(shared, *_: object) -> tuple[int, int, object]:
    """Returns who it is, how often objects came, and the content."""
    return os.getpid(), (shared.value and unpickled), shared.value.content


def use_in(things: dict, *_: object) -> tuple[int, int, object]:
    return use(things["shared"][0])


def not_used(shared, *_: object) -> int:
    return unpickled


def total(shared, *_: object) -> tuple[float, bool, int]:
    array = shared.value["array"]
    return (
        float(array.sum()),
        array.flags.writeable,
        array.__array_interface__["data"][0],
    )


def give_back(shared) -> object:
    return shared


def read_and_meet(shared) -> object:
    """Reads, and waits for the event that the initializer gave."""
    shared.value  # noqa: B018
    pool_targets.wait_for_given()
    return shared.value.content


def known(_: object = None) -> int:
    """Returns how many objects of others this process has."""
    from procession import _shared_object

    return len(_shared_object._given)
