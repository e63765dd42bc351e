"""What the tasks of `BackendTests` run: importable on every node, which may not have pytest."""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import time

import procession

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "Buffer",
    "Unlucky",
    "add_in_turn",
    "add_to",
    "bytes_of",
    "come",
    "count_in_state",
    "die_if",
    "die_once",
    "die_with",
    "die_with_items",
    "divide",
    "divide_ten_by",
    "fail_if",
    "fail_to_set_up",
    "fill_managed",
    "get_and_note",
    "get_variable",
    "getpid",
    "hold",
    "kill_itself_in_the_action",
    "kill_the_node",
    "kill_the_node_if_asked",
    "kill_the_node_if_there",
    "kill_the_node_once",
    "kill_the_node_with",
    "leave",
    "mark",
    "move_items",
    "name_and_double",
    "note_and_kill_the_node_once",
    "notify",
    "put_and_wait_for",
    "raise_key_error",
    "raise_unlucky",
    "read_all",
    "run_until_asked",
    "set_variable",
    "square",
    "stop_softly",
    "take_memory",
    "terminate_softly",
    "wait_at",
]


class Size(ctypes.Structure):
    """A structure inside of another."""

    _fields_ = (("unit", ctypes.c_char), ("sides", ctypes.c_double * 2))


class Parcel(ctypes.Structure):
    """A structure to share."""

    _fields_ = (("number", ctypes.c_int), ("to", ctypes.c_char * 8), ("size", Size))


def mark(one: Any, several: Any) -> None:
    """Changes a structure, and those of an array."""
    with one.get_lock():
        one.number += 1
        one.to = b"Rome"
        one.size.sides[1] *= 2
    for each in several:
        each.number += 10
        each.size.unit = b"m"


class Buffer:
    """Bytes that are pickled beside everything else."""

    def __init__(self, data: bytearray | memoryview) -> None:
        self.data = data

    def __reduce_ex__(self, protocol: object) -> tuple[object, ...]:
        return Buffer, (pickle.PickleBuffer(self.data),)


def bytes_of(buffer: Buffer) -> bytes:
    """Returns a buffer's bytes."""
    return bytes(buffer.data)


def square(number: int) -> int:
    return number * number


def divide(dividend: float, divisor: float = 2) -> float:
    return dividend / divisor


def fail_if(number: int, bad: int) -> int:
    if number == bad:
        raise KeyError(number)
    return number


def die_if(number: int, bad: int, signum: int = signal.SIGKILL) -> int:
    if number == bad:
        os.kill(os.getpid(), signum)
    return number


def die_once(path: str) -> int:
    """Kills its worker, unless a file is there that it leaves."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return os.getpid()
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def kill_the_node() -> None:
    os.kill(int(os.environ["PROCESSION_NODE_PID"]), signal.SIGKILL)
    signal.pause()


def kill_the_node_if_asked() -> None:
    """Kills the agent of its node when its process is asked to stop."""
    procession.current_process().wait_for_stop()
    kill_the_node()


def kill_the_node_if_there(path: str) -> None:
    """Kills the agent of its node, if there is a file."""
    if os.path.exists(path):
        kill_the_node()


def kill_the_node_once(path: str) -> str:
    """Kills the agent of its node, unless a file is there that it leaves."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return os.environ["PROCESSION_NODE"]
    kill_the_node()
    return ""


def kill_the_node_with(lock: Any) -> None:
    """Kills the agent of its node while it holds a lock."""
    lock.acquire()
    kill_the_node()


def die_with(condition: Any) -> None:
    """Notifies those that wait at a condition, and kills its process while it has the lock."""
    condition.acquire()
    condition.notify_all()
    os.kill(os.getpid(), signal.SIGKILL)


def leave(path: str) -> None:
    """Leaves a line in a file, so that runs can be counted."""
    with open(path, "a") as file:
        file.write("x")


def note_and_kill_the_node_once(path: str, number: int) -> int:
    with open(f"{path}-{number}", "a") as file:
        file.write("x")
    if number == 7:
        kill_the_node_once(path)
    return number


def set_variable(value: str) -> None:
    os.environ["PROCESSION_TEST_SETUP"] = value


def get_variable(_: object = None) -> str:
    return os.environ["PROCESSION_TEST_SETUP"]


def fail_to_set_up() -> None:
    raise LookupError("no such database")


def take_memory(count: int) -> int:
    return len(bytearray(count))


def count_in_state() -> int:
    state: Any = procession.current_process().worker_state
    state.append(None)
    return len(state)


def stop_softly() -> str:
    try:
        signal.pause()
    except procession.SoftTimeout as error:
        return str(error.task)
    return "?"


class Unlucky(Exception):
    """An error that cannot be unpickled."""

    def __reduce__(self) -> tuple[type[int], tuple[str]]:
        return int, ("no number",)


def raise_unlucky() -> None:
    raise Unlucky("out of luck")


def divide_ten_by(number: int) -> float:
    return 10 / number


def read_all(path: str) -> str:
    with open(path) as file:
        return file.read()


def getpid(_: object) -> int:
    return os.getpid()


def hold(lock: Any, held: Any) -> None:
    """Takes a lock and keeps it until its process is killed."""
    lock.acquire()
    held.set()
    time.sleep(600)


def move_items(items: Any, moved: Any) -> int:
    """Gets items up to None, and puts them elsewhere; returns how many it was."""
    count = 0
    for item in iter(items.get, None):
        moved.put(item)
        items.task_done()
        count += 1
    items.task_done()
    return count


def put_and_wait_for(items: Any, item: object, event: Any) -> bool:
    items.put(item)
    return bool(event.wait(60))


def get_and_note(items: Any, waits: Any) -> object:
    """Says that it is about to wait for an item."""
    waits.set()
    return items.get()


def die_with_items(items: Any, count: int) -> None:
    """Dies with some items in its hands."""
    for _ in range(count):
        items.get()
    os.kill(os.getpid(), signal.SIGKILL)


def add_in_turn(lock: Any, total: Any, times: int) -> None:
    """Reads and writes a value that has no lock of its own, under another."""
    for _ in range(times):
        with lock:
            total.value += 1


def add_to(total: Any, row: Any, times: int) -> None:
    """Counts what it does in a value, and in an array by the lock of that."""
    for _ in range(times):
        with total.get_lock():
            total.value += 1
        with row.get_lock():
            row[0], row[1] = row[1] + 1, row[0] + 1


def wait_at(condition: Any, shelf: Any) -> bool:
    """Waits at a condition, and says before that it holds its lock."""
    with condition:
        shelf.put(os.getpid())
        return bool(condition.wait(60))


def notify(condition: Any) -> None:
    with condition:
        condition.notify()


def come(barrier: Any) -> int:
    return int(barrier.wait(60))


def kill_itself_in_the_action() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fill_managed(numbers: Any, inner: Any) -> int:
    """Changes what a manager keeps; returns an item of a list within a list."""
    numbers["node"] = os.getpid()
    inner[0].append(3)
    return int(inner[0][1])


def name_and_double(names: Any, number: int) -> int:
    """Says what its process is called, and where it is."""
    me = procession.current_process()
    names.put((me.name, os.getpid(), os.environ.get("PROCESSION_NODE")))
    return 2 * number


def raise_key_error(key: str) -> None:
    raise KeyError(key)


def run_until_asked(running: Any) -> str:
    """Runs until its process is asked to stop."""
    running.set()
    procession.current_process().wait_for_stop()
    return "as you wish"


def terminate_softly(running: Any, ended: Any) -> None:
    """Ends on SIGTERM with an exit code of its own."""

    def end(signum: int, frame: object) -> None:
        ended.put("tidied up")
        raise SystemExit(7)

    signal.signal(signal.SIGTERM, end)
    running.set()
    time.sleep(600)
