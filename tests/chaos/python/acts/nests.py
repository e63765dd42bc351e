"""Processes of processes: each gives its result, or its death is told as it was."""

import random
import signal
import time

import ledger
import procession

from acts.actors import WATCHDOG, any_method, start

# Processes that one storm starts at once.
STORM = 16


def play(context, tag: str, chance: random.Random, until: float) -> None:
    if chance.random() < 0.3:
        storm(context, tag, chance)
    else:
        start_one(context, tag, 0, chance, depth=2)
    ledger.note("settled", tag)


def storm(context, tag: str, chance: random.Random) -> None:
    """Starts many at once, and kills some at once."""
    processes = {}
    for number in range(STORM):
        process = context.Process(target=be_born, args=(tag, number))
        start(process)
        processes[number] = process
    for number in chance.sample(range(STORM), 3):
        ledger.note("slain", tag, processes[number].pid, -signal.SIGKILL)
        processes[number].kill()
    for number, process in processes.items():
        receive(process, tag, number)


def be_born(tag: str, number: int) -> int:
    ledger.note("begin", tag, number)
    ledger.note("end", tag, number)
    return number


def start_one(
    context, tag: str, number: int, chance: random.Random, depth: int
) -> None:
    arguments = (tag, number, chance.getrandbits(32), depth)
    process = context.Process(target=nest, args=arguments)
    start(process)
    receive(process, tag, number)


def nest(tag: str, number: int, seed: int, depth: int) -> int:
    """Starts a pool, a daemon or another such process, and returns its number."""
    ledger.note("begin", tag, number)
    chance = random.Random(seed)
    context = procession.get_context(any_method(chance))
    if depth > 0:
        start_one(context, f"{tag}/{number}", 0, chance, depth - 1)
    daemon = context.Process(target=time.sleep, args=(WATCHDOG,), daemon=True)
    start(daemon)
    with context.Pool(2) as pool:
        for _ in range(3):
            try:
                assert pool.map(abs, range(-10, 0), 2) == list(range(10, 0, -1))
            except procession.ProcessError:
                pass  # A worker was killed, or too many were.
    ledger.note("end", tag, number)
    return number


def receive(process, tag: str, number: int) -> None:
    ledger.note("submit", tag, number)
    try:
        right = process.result(WATCHDOG) == number
    except procession.WorkerDied as death:
        ledger.note("died", tag, number, death.pid, death.exitcode)
    except procession.TimeoutError:
        ledger.note("hung", tag, number)
        raise
    else:
        ledger.note("done" if right else "wrong", tag, number)
    process.join()
    process.close()
