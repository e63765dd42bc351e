"""Pools: every task is done once, or fails with the death of its worker."""

import os
import random
import signal
import time

import ledger
import procession

from acts import payload
from acts.actors import WATCHDOG

# Out of how many tasks one ends its own worker.
SUICIDES = 300


def play(context, tag: str, chance: random.Random, until: float) -> None:
    until = min(until, time.monotonic() + chance.uniform(0.2, 3))
    size = chance.randint(1, 4)
    recycled = chance.choice((None, None, 5))
    try:
        pool = context.Pool(size, maxtasksperchild=recycled)
    except ProcessLookupError:
        return  # The fork server was killed ten times in a row.
    number = 0
    try:
        while time.monotonic() < until:
            count = chance.choice((1, 10, 60))
            numbers = range(number, number + count)
            number += count
            tasks = [(tag, n, payload.make(n, chance), os.getpid()) for n in numbers]
            chance.choice(WAYS)(pool, tag, tasks, chance)
    except ValueError as error:
        # The pool gave up, because too many of its workers were killed.
        ledger.note("gave_up", tag, 0, *str(error).split()[:2])
    end(pool, tag, chance, number)


def end(pool, tag: str, chance: random.Random, number: int) -> None:
    """Ends a pool in one of three ways, some with tasks still out."""
    count = chance.choice((0, 20))
    tasks = [(tag, number + n, payload.NOTHING, os.getpid()) for n in range(count)]
    results = []
    try:
        for task in tasks:
            ledger.note("submit", tag, task[1])
            results.append(pool.apply_async(work, task))
    except ValueError:
        ledger.note("gone", tag, task[1])
    if chance.random() < 0.5:
        pool.close()
    else:
        pool.terminate()
    pool.join()
    for task, result in zip(tasks, results, strict=False):
        receive(tag, task, result.get)
    ledger.note("settled", tag)


def work(
    tag: str, number: int, data: payload.Payload, owner: int
) -> tuple[int, payload.Payload]:
    """What a task does; it may be its worker's last."""
    ledger.note("begin", tag, number)
    if not payload.check(number, data):
        ledger.note("wrong", tag, number)
    if number % 7 == 0:
        time.sleep(0.001 * (number % 5))
    if number % SUICIDES == SUICIDES - 1:
        code, die = SUICIDE[number // SUICIDES % len(SUICIDE)]
        ledger.note("suicide", tag, number, code)
        die()
    ledger.note("end", tag, number)
    return payload.digest(number, data), kept(number, data)


def kept(number: int, data: payload.Payload) -> payload.Payload:
    """Returns what a task brings home of what it was given."""
    return data if number % 3 else payload.NOTHING


SUICIDE = (
    (-signal.SIGSEGV, lambda: os.kill(os.getpid(), signal.SIGSEGV)),
    (3, lambda: os._exit(3)),
    (-signal.SIGKILL, lambda: os.kill(os.getpid(), signal.SIGKILL)),
)


def work_packed(task: tuple) -> tuple[int, payload.Payload]:
    return work(*task)


def receive(tag: str, task: tuple, get) -> None:
    """Notes what became of a task."""
    _, number, data, _ = task
    try:
        answer = get(WATCHDOG)
    except procession.WorkerDied as death:
        ledger.note("died", tag, number, death.pid, death.exitcode)
    except procession.TimeoutError:
        ledger.note("hung", tag, number)
        raise
    except (procession.ProcessError, ValueError, OSError) as error:
        ledger.note("gone", tag, number, *str(error).split()[:2])
    else:
        digest, back = answer
        right = digest == payload.digest(number, data)
        right = right and payload.same(back, kept(number, data))
        ledger.note("done" if right else "wrong", tag, number)


def apply_each(pool, tag: str, tasks: list, chance: random.Random) -> None:
    results = []
    for task in tasks:
        ledger.note("submit", tag, task[1])
        try:
            results.append(pool.apply_async(work, task))
        except ValueError:
            ledger.note("gone", tag, task[1])
            raise
        finally:
            if len(results) < len(tasks) and chance.random() < 0.02:
                time.sleep(0.001)
    for task, result in zip(tasks, results, strict=True):
        receive(tag, task, result.get)


def imap_each(pool, tag: str, tasks: list, chance: random.Random) -> None:
    for task in tasks:
        ledger.note("submit", tag, task[1])
    try:
        results = pool.imap(work_packed, iter(tasks))
    except ValueError:
        for task in tasks:
            ledger.note("gone", tag, task[1])
        raise
    for place, task in enumerate(tasks):
        try:
            receive(tag, task, results.next)
        except StopIteration:
            # The pool gave up, as the task before was told.
            ledger.note("gone" if place else "wrong", tag, task[1])


def map_all(pool, tag: str, tasks: list, chance: random.Random) -> None:
    """One result for all: if it fails, each of them was done once or not at all."""
    for task in tasks:
        ledger.note("submit", tag, task[1])
    try:
        chunksize = chance.choice((1, 4, None))
        answers = pool.starmap_async(work, tasks, chunksize).get(WATCHDOG)
    except procession.WorkerDied as death:
        for task in tasks:
            ledger.note("mapped", tag, task[1], death.pid, death.exitcode)
    except (procession.ProcessError, ValueError, OSError) as error:
        for task in tasks:
            ledger.note("gone", tag, task[1], *str(error).split()[:2])
        raise ValueError(str(error)) from error
    else:
        for task, answer in zip(tasks, answers, strict=True):
            receive(tag, task, lambda _, answer=answer: answer)


WAYS = (apply_each, imap_each, map_all)
