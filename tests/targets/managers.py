"""What the processes of test_managers.py do."""

from library import load


def change(mapping, items, space, lock) -> None:
    """Changes what a manager keeps."""
    with lock:
        mapping["changed"] = True
        items.append("last")
        space.attribute = 5


def write(name: str, text: bytes) -> None:
    """Writes into named shared memory."""
    memory = load("shared_memory").SharedMemory(name)
    memory.buf[: len(text)] = text
    memory.close()


class Counter:
    """Counts, in the server of a manager."""

    def __init__(self, start: int = 0) -> None:
        self.number = start

    def up(self) -> int:
        self.number += 1
        return self.number


class CountingManager(load("managers").BaseManager):
    """A manager of counters, once they are registered with it."""
