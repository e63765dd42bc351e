"""What everybody did, in a file that owes nothing to procession.

Each record is one line of `SIZE` bytes, written by one call to the end of the file:
the kernel puts it there whole, in the order of the calls, whatever becomes of the
writer. As no line crosses a page, not even a kill in the middle of the call cuts it.

    what  pid  tag  number  more

`tag` names what is used (a pool, a queue, a lock), `number` the task or item.
Both faces write it, so one audit judges both.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# Bytes of a line; divides a page.
SIZE = 64

# The environment variable that tells everybody where the ledger is.
VARIABLE = "PROCESSION_CHAOS_LEDGER"

_file: int | None = None


class Record(NamedTuple):
    """One line."""

    what: str
    pid: int
    tag: str
    number: int
    more: tuple[str, ...]


def note(what: str, tag: str, number: int = 0, *more: object) -> None:
    """Appends a line."""
    global _file
    if _file is None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        _file = os.open(os.environ[VARIABLE], flags)
    line = " ".join(map(str, (what, os.getpid(), tag, number, *more)))
    os.write(_file, line[: SIZE - 1].ljust(SIZE - 1).encode() + b"\n")


def read(path: Path) -> Iterator[Record]:
    """Yields all lines."""
    with path.open(encoding="utf-8") as lines:
        yield from map(parse, lines)


def parse(line: str) -> Record:
    """Takes a line apart."""
    what, pid, tag, number, *more = line.split()
    return Record(what, int(pid), tag, int(number), tuple(more))


class Follower:
    """Reads a ledger while it is written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0

    def read(self) -> list[Record]:
        """Returns the lines that have come since the last call."""
        with self._path.open("rb") as lines:
            lines.seek(self._at)
            new = lines.read().decode()
        self._at += len(new)
        return [parse(line) for line in new.splitlines()]
