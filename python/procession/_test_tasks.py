"""What the tasks of `BackendTests` run: importable on every node, which may not have pytest."""

from __future__ import annotations

import os
import signal

import procession

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "Unlucky",
    "count_in_state",
    "die_if",
    "die_once",
    "divide",
    "divide_ten_by",
    "fail_if",
    "fail_to_set_up",
    "get_variable",
    "getpid",
    "kill_the_node",
    "kill_the_node_if_there",
    "kill_the_node_once",
    "leave",
    "note_and_kill_the_node_once",
    "raise_unlucky",
    "read_all",
    "set_variable",
    "square",
    "stop_softly",
    "take_memory",
]


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

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)


def raise_unlucky() -> None:
    raise Unlucky(3, "out of luck")


def divide_ten_by(number: int) -> float:
    return 10 / number


def read_all(path: str) -> str:
    with open(path) as file:
        return file.read()


def getpid(_: object) -> int:
    return os.getpid()
