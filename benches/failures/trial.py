"""Runs one scenario on one library and says on standard output what its caller saw, as JSON lines.

Usage: python benches/failures/trial.py LIBRARY SCENARIO

It ends by `os._exit` once all is said: some libraries would not let it end otherwise. Whoever runs it
(`__main__.py`) ends what it leaves behind, and kills it where the scenario is that its parent is killed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from libraries import LIBRARIES, Library, Pending, Pool

TASKS = 12
# Which of them misbehaves.
BAD = 3
# Seconds that the caller waits for all results before it calls those that are missing lost.
PATIENCE = 15.0
# Seconds that each task takes, so that others wait while one misbehaves.
LONG = 0.02


class Odd(Exception):
    """An exception as many are written: its pickle cannot be loaded."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(f"{code}: {why}")


def well(number: int) -> int:
    time.sleep(LONG)
    return number


def is_killed(number: int) -> int:
    if number == BAD:
        _note_time()
        os.kill(os.getpid(), signal.SIGKILL)
    return well(number)


def exits(number: int) -> int:
    if number == BAD:
        _note_time()
        os._exit(3)
    return well(number)


def raises_oddly(number: int) -> int:
    if number == BAD:
        _note_time()
        raise Odd(4, "why not")
    return well(number)


def returns_oddly(number: int) -> Any:
    if number == BAD:
        _note_time()
        # Some libraries pickle functions, too; nobody pickles this.
        return (one for one in range(number))
    return well(number)


def leaves(number: int) -> int:
    if number == BAD:
        _note_time()
        raise SystemExit(5)
    return well(number)


def fails() -> NoReturn:
    raise RuntimeError("the initializer fails")


def runs_for_ever(number: int) -> NoReturn:
    Path(os.environ["TRIAL_BUSY"], str(os.getpid())).touch()
    while True:
        pass


def holds_and_is_killed(lock: Any) -> None:
    lock.acquire()
    os.kill(os.getpid(), signal.SIGKILL)


def _note_time() -> None:
    """Leaves the moment at which the task misbehaved; CLOCK_MONOTONIC is everybody's."""
    Path(os.environ["TRIAL_MOMENT"]).write_text(str(time.monotonic()))


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


def twelve(library: Library, function: Any) -> None:
    """One of twelve tasks misbehaves; then the pool is asked for one more."""
    pool = library.open(None)
    # The workers are there before the clock matters.
    pool.result(pool.submit(well, 0), PATIENCE)
    collect(pool, [pool.submit(function, number) for number in range(TASKS)])
    try:
        again = pool.result(pool.submit(well, 7), PATIENCE) == 7
    except BaseException:
        again = False
    say(again=again)


def collect(pool: Pool, handles: list[Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    # The one that misbehaves first: it is told when somebody waits for it.
    for number in sorted(range(TASKS), key=lambda number: number != BAD):
        try:
            value = pool.result(handles[number], max(deadline - time.monotonic(), 0.05))
        except Pending:
            say(task=number, outcome="pending")
        except BaseException as error:
            say(task=number, outcome=type(error).__name__, after=_since_moment())
        else:
            say(task=number, outcome="ok" if value == number else "wrong")


def _since_moment() -> float | None:
    try:
        return time.monotonic() - float(Path(os.environ["TRIAL_MOMENT"]).read_text())
    except (OSError, ValueError):
        return None


def bad_initializer(library: Library) -> None:
    begin = time.monotonic()
    try:
        pool = library.open(fails)
        pool.result(pool.submit(well, 0), PATIENCE)
    except Pending:
        say(initializer="hangs")
    except BaseException as error:
        say(initializer=type(error).__name__, after=time.monotonic() - begin)
    else:
        say(initializer="unnoticed")


def lock(library: Library) -> None:
    context = library.context()
    if context is None:
        say(lock="none")
        return
    shared = context.Lock()
    holder = context.Process(target=holds_and_is_killed, args=(shared,))
    holder.start()
    holder.join()
    begin = time.monotonic()
    try:
        got = (
            shared.acquire(timeout=PATIENCE)
            if library.name != "billiard"
            else (shared.acquire(True, PATIENCE))
        )
    except BaseException as error:
        say(lock=type(error).__name__, after=time.monotonic() - begin)
    else:
        say(lock="got it" if got else "lost")


def busy(library: Library) -> None:
    """Says that the workers are busy, and waits to be killed."""
    pool = library.open(None)
    handles = [pool.submit(runs_for_ever, number) for number in range(2)]
    say(busy=True)
    pool.result(handles[0], 600)


def ended(library: Library) -> None:
    """Ends the pool when its workers are busy."""
    pool = library.open(None)
    for number in range(2):
        pool.submit(runs_for_ever, number)
    deadline = time.monotonic() + PATIENCE
    while len(os.listdir(os.environ["TRIAL_BUSY"])) < 2:
        if time.monotonic() > deadline:
            say(ended="its workers did not get to work")
            return
        time.sleep(0.01)
    begin = time.monotonic()
    can = pool.terminate()
    say(ended="done" if can else "none", after=time.monotonic() - begin)


SCENARIOS = {
    "worker killed": lambda library: twelve(library, is_killed),
    "worker exits": lambda library: twelve(library, exits),
    "SystemExit in a task": lambda library: twelve(library, leaves),
    "exception does not unpickle": lambda library: twelve(library, raises_oddly),
    "result does not pickle": lambda library: twelve(library, returns_oddly),
    "initializer raises": bad_initializer,
    "lock owner killed": lock,
    "parent killed, workers busy": busy,
    "Ctrl-C, workers busy": busy,
    "terminated, workers busy": ended,
}

if __name__ == "__main__":
    name, scenario = sys.argv[1:]
    SCENARIOS[scenario](next(one for one in LIBRARIES if one.name == name))
    os._exit(0)
