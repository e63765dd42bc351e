"""Pools on the nodes of a cluster: a task is done, or fails with a death; none runs too often."""

import random
import re
import signal
import time
from functools import partial

import ledger
import procession
from procession.distributed import EngineUnavailable, NodeLost

from acts import payload
from acts.actors import WATCHDOG

# How often a task may be tried again.
RETRIES = (0, 0, 3)


def play(context, tag: str, chance: random.Random, until: float) -> None:
    until = min(until, time.monotonic() + chance.uniform(1, 5))
    method = context.get_start_method()
    cluster = procession.get_context(f"loopback://2?slots=2&start_method={method}")
    retries = chance.choice(RETRIES)
    number = 0
    try:
        pool = cluster.Pool(retries=retries)
    except EngineUnavailable:
        return  # A node's agent was killed before it was ready.
    try:
        while time.monotonic() < until:
            count = chance.choice((1, 10, 60))
            run(pool, tag, range(number, number + count), retries, chance)
            number += count
    except ValueError as error:
        # The pool gave up, because too many of its agents were killed.
        ledger.note("gave_up", tag, 0, *str(error).split()[:2])
    if chance.random() < 0.5:
        pool.close()
    else:
        pool.terminate()
    pool.join()
    cluster.close()
    ledger.note("settled", tag)


def run(pool, tag: str, numbers: range, retries: int, chance: random.Random) -> None:
    """Gives a pool tasks, and notes what becomes of each."""
    results = []
    for number in numbers:
        task = tag, number, payload.data(number, chance)
        ledger.note("submit", tag, number, retries)
        try:
            results.append((task, pool.apply_async(work, task)))
        except ValueError:
            ledger.note("gone", tag, number)
            receive_all(results)
            raise
    receive_all(results)


def receive_all(results: list) -> None:
    for task, result in results:
        receive(*task, partial(result.get, WATCHDOG))


def work(tag: str, number: int, data: bytes) -> int:
    """What a task does."""
    ledger.note("begin", tag, number)
    if not payload.check(number, payload.Payload(data)):
        ledger.note("wrong", tag, number)
    if number % 7 == 0:
        time.sleep(0.001 * (number % 5))
    ledger.note("end", tag, number)
    return payload.digest(number, payload.Payload(data))


def receive(tag: str, number: int, data: bytes, get) -> None:
    """Notes what became of a task."""
    try:
        digest = get()
    except NodeLost as loss:
        ledger.note("lost", tag, number, *death_of(loss))
    except procession.WorkerDied as death:
        ledger.note("died", tag, number, death.pid, death.exitcode)
    except procession.TimeoutError:
        ledger.note("hung", tag, number)
        raise
    except (procession.ProcessError, ValueError, OSError) as error:
        ledger.note("gone", tag, number, *str(error).split()[:2])
    else:
        is_right = digest == payload.digest(number, payload.Payload(data))
        ledger.note("done" if is_right else "wrong", tag, number)


def death_of(loss: NodeLost) -> tuple[int, int]:
    """Returns the process id of a node's agent, and its exit code."""
    found = re.search(r"\(pid (\d+)\) was killed by (SIG\w+)", str(loss))
    if found is None:
        raise AssertionError(f"a node was lost that nobody has killed: {loss}")
    return int(found[1]), -signal.Signals[found[2]]
