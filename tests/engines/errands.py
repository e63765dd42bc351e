"""What tasks on nodes do in `test_namespaces`: importable there, without pytest.

A ledger is a file of the machine that all namespaces share. Each line of it is written at once.
"""

import os
import signal

import procession


def note(ledger: str, *words: object) -> None:
    """Appends a line."""
    file = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, (" ".join(map(str, words)) + "\n").encode())
    os.close(file)


def lines(ledger) -> list[list[str]]:
    """Returns what has been noted, as words."""
    try:
        with open(ledger) as file:
            return [line.split() for line in file]
    except FileNotFoundError:
        return []


def node() -> str:
    """Returns the address of the node, or its name if that is none of an address."""
    name = os.environ["PROCESSION_NODE"].rpartition("/")[2]
    return name.rpartition(":")[0] or name


def run(ledger: str, number: int, stuck_on: tuple[str, ...] = ()) -> int:
    """Notes that it runs; on some nodes it comes to no end. Returns the square."""
    note(ledger, number, node(), os.getpid())
    while node() in stuck_on:
        signal.pause()
    return number * number


def wait_for(ledger: str, number: int, gate) -> int:
    """Notes that it runs, and does until a gate opens."""
    note(ledger, number, node(), os.getpid())
    gate.wait()
    return number * number


def where(_: object) -> str:
    """Returns the address of the node."""
    return node()


def meet(barrier, lock, total, queue) -> None:
    """Meets the tasks of the other nodes, counts itself under a lock, and says where it is."""
    barrier.wait()
    with lock:
        total.value += 1
    queue.put(node())


def hold(ledger: str, lock) -> None:
    """Takes a lock, and keeps it."""
    lock.acquire()
    note(ledger, "held", node(), os.getpid())
    while True:
        signal.pause()


def count_under(ledger: str, number: int, lock, total, seconds: float) -> int:
    """Notes that it runs, and counts under a lock of the hub. Returns the square."""
    note(ledger, number, node(), os.getpid())
    try:
        with lock:
            total.value += 1
    except procession.OwnerDied:
        pass
    if seconds:
        signal.sigtimedwait((), seconds)
    return number * number
