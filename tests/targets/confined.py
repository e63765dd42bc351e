"""What the processes of test_confined.py do."""

import ctypes
import os

from library import multiprocessing

# As it was when this module was imported.
GREETING = os.environ.get("GREETING")


def surroundings(*names: str) -> tuple:
    """Returns where this process runs, and some variables, imported and now."""
    values = [os.environ.get(name) for name in names]
    return sorted(os.sched_getaffinity(0)), values, GREETING


def c_environment(name: str) -> str | None:
    """Returns a variable as the C library has it."""
    find = ctypes.CDLL(None)["getenv"]
    find.restype = ctypes.c_char_p
    value = find(name.encode())
    return None if value is None else value.decode()


def fill(mebibytes: int) -> int:
    """Has so much memory for a while."""
    return len(b"x" * (mebibytes << 20)) >> 20


def fill_bit_by_bit(mebibytes: int) -> int:
    """Has so much memory, in pieces that its frame holds to the end."""
    return len([bytes(10_000) for _ in range(mebibytes * 100)])


def use_what_was_refused(mebibytes: int) -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = [ctypes.c_size_t]
    libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    libc.memset(libc.malloc(mebibytes << 20), 1, 1)


class Greeting:
    """Reads a variable when it is unpickled."""

    def __init__(self) -> None:
        self.cpus = self.value = None

    def __getstate__(self) -> dict:
        return {}

    def __setstate__(self, state: dict) -> None:
        self.value = os.environ.get("GREETING")
        self.cpus = sorted(os.sched_getaffinity(0))


def told(greeting: Greeting) -> tuple:
    return greeting.value, greeting.cpus


def process_class(base):
    """Returns a subclass that knows nothing of what its base may be given."""

    class Old(base):
        def __init__(self, number):
            super().__init__(name="old")
            self.number = number

        def run(self):
            return self.number, self.name

    return Old


OldFork = process_class(multiprocessing.get_context("fork").Process)
OldSpawn = process_class(multiprocessing.get_context("spawn").Process)
OldForkserver = process_class(multiprocessing.get_context("forkserver").Process)
for _class, _name in (
    (OldFork, "OldFork"),
    (OldSpawn, "OldSpawn"),
    (OldForkserver, "OldForkserver"),
):
    _class.__qualname__ = _class.__name__ = _name
