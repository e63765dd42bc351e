"""The objects of test_actor.py, and what they do."""

import os
import signal
import time
from typing import NoReturn, Self

from library import multiprocessing


class Counter:
    """Counts; what it is told to wait for is in its arguments."""

    def __init__(self, start: int = 0, ended=None) -> None:
        self.value = start
        self.ended = ended

    def add(self, number: int) -> int:
        self.value += number
        return self.value

    def where(self) -> tuple[int, str]:
        return os.getpid(), multiprocessing.current_process().name

    def fail(self, message: str) -> NoReturn:
        raise ValueError(message)

    def die(self, signum: int = signal.SIGKILL) -> NoReturn:
        os.kill(os.getpid(), signum)
        signal.pause()

    def exit(self, code: int) -> NoReturn:
        os._exit(code)

    def wait(self, started, go) -> str:
        started.set()
        go.wait()
        return "waited"

    def work_for_ever(self, started) -> NoReturn:
        started.set()
        while True:
            time.sleep(60)

    def fill(self, mebibytes: int) -> int:
        return len(b"x" * (mebibytes << 20)) >> 20

    def start_child(self) -> int:
        process = multiprocessing.Process(target=os.getpid)
        process.start()
        return process.result()

    def surroundings(self, name: str) -> tuple:
        return sorted(os.sched_getaffinity(0)), os.environ.get(name)

    # Names that an actor has itself.

    def pid(self) -> str:
        return "mine"

    @property
    def double(self) -> int:
        return 2 * self.value

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __del__(self) -> None:
        if self.ended is not None:
            self.ended.put(self.value)


class Answering:
    """Has a method of each name."""

    def __getattr__(self, name: str):
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *args: (name, args)


class Unmakable:
    def __init__(self) -> None:
        raise LookupError("there is nothing to make it of")

    def use(self) -> None:
        pass


def make_counter(start: int) -> Counter:
    return Counter(start)
