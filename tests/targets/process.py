"""What the processes of test_process.py do."""

import os
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

from library import multiprocessing

changed_by_parent = "as imported"


def pids() -> tuple[int, int]:
    return os.getpid(), multiprocessing.parent_process().pid


def arguments(*args: object, **kwargs: object) -> tuple[tuple, dict]:
    return args, kwargs


def name() -> str:
    return multiprocessing.current_process().name


def identity() -> dict[str, object]:
    """Tells what a process knows of itself and of its parent."""
    me = multiprocessing.current_process()
    parent = multiprocessing.parent_process()
    return {
        "name": me.name,
        "pid": me.pid,
        "daemon": me.daemon,
        "alive": me.is_alive(),
        "exit code": me.exitcode,
        "authkey": bytes(me.authkey),
        "parent name": parent.name,
        "parent pid": parent.pid,
        "parent alive": parent.is_alive(),
        "parent ends in a moment": parent.join(0) is not None,
    }


def attribute() -> str:
    return changed_by_parent


def change_global() -> None:
    global changed_by_parent
    changed_by_parent = "changed by the child"


def stdin_is_at_its_end() -> bool:
    return sys.stdin.read() == ""


def surroundings() -> dict[str, object]:
    return {
        "cwd": os.getcwd(),
        "environment": os.environ.get("PROCESSION_TEST_SURROUNDINGS"),
        "argv": sys.argv,
        "path": sys.path,
    }


def fail() -> NoReturn:
    raise ValueError("on purpose")


def exit_with(code: object) -> NoReturn:
    sys.exit(code)


def exit_at_once(code: int) -> NoReturn:
    os._exit(code)


def die_by(signum: int) -> None:
    os.kill(os.getpid(), signum)


def join_process_of_parent(process) -> None:
    process.join()


def start_another(target: Callable) -> object:
    """Returns what a function returns in a child of this child."""
    answers = multiprocessing.SimpleQueue()
    process = multiprocessing.Process(target=put_result, args=(answers, target))
    process.start()
    result = answers.get()
    process.join()
    return result


def put_result(answers, target: Callable) -> None:
    answers.put(target())


def count_children() -> int:
    return len(multiprocessing.active_children())


def start_thread() -> str:
    """Runs a thread to its end, as any program may."""
    said = []
    thread = threading.Thread(target=said.append, args=("from a thread",))
    thread.start()
    thread.join()
    return said[0]


class Adding:
    """A process by extension: its arguments are attributes, `run` is its work."""

    def __init__(self, answers, *numbers: int, **options: object) -> None:
        super().__init__(**options)
        self.answers = answers
        self.numbers = numbers

    def run(self) -> None:
        self.answers.put((self.name, sum(self.numbers)))


if multiprocessing is not None:

    class ForkAdding(Adding, multiprocessing.get_context("fork").Process):
        """Adds in a forked process."""

    class SpawnAdding(Adding, multiprocessing.get_context("spawn").Process):
        """Adds in a spawned process."""

    class ForkserverAdding(Adding, multiprocessing.get_context("forkserver").Process):
        """Adds in a process of the fork server."""

    ADDING = {
        "fork": ForkAdding,
        "spawn": SpawnAdding,
        "forkserver": ForkserverAdding,
    }


class Returning:
    """A callable that weak references can follow."""

    def __call__(self) -> None:
        """Returns at once."""
