"""Queues: no item is lost or comes twice, but for one in the hands of the dead."""

import os
import queue as exceptions
import random
import time

import ledger
from procession.distributed._handle import Handle

from acts import payload
from acts.actors import WATCHDOG, Actors

# Seconds for which a consumer waits before it looks whether it is over.
MOMENT = 0.05

# Seconds after the end for which a producer waits for room.
PATIENCE = 5

# Who sent it, its number, and what belongs to that.
Item = tuple[int, int, payload.Payload]


def play(context, tag: str, chance: random.Random, until: float) -> None:
    until = min(until, time.monotonic() + chance.uniform(0.3, 3))
    kind = chance.choice(("Queue", "Queue", "JoinableQueue", "SimpleQueue"))
    if kind == "SimpleQueue":
        queue = context.SimpleQueue()
    else:
        queue = getattr(context, kind)(chance.choice((0, 0, 1, 7)))
    consume = consume_simply if kind == "SimpleQueue" else consume_in_time
    roles = [lambda seed: (produce, queue, tag, seed, until)] * chance.randint(1, 3)
    roles += [lambda seed: (consume, queue, tag, until)] * chance.randint(1, 3)
    # Who gets from a simple queue waits for ever, and must not outlive its act.
    daemons = 1.0 if kind == "SimpleQueue" else 0.8
    make = [lambda seed, role=role: role(seed) for role in roles]
    actors = Actors(context, chance, make, daemons)
    actors.run(until)
    if kind == "SimpleQueue":
        actors.kill()
    elif queue._maxsize:
        while not drained(actors, queue, tag):
            pass
    else:
        actors.bow()
    drain(queue, tag)
    ledger.note("settled", tag)


def drained(actors: Actors, queue, tag: str) -> bool:
    """Makes room for producers whose consumers are gone; tells when all are."""
    drain(queue, tag)
    for process in actors.cast.values():
        process.join(MOMENT / 10)
    if all(process.exitcode is not None for process in actors.cast.values()):
        actors.bow()
        return True
    return False


def drain(queue, tag: str) -> None:
    """Takes what is left."""
    ledger.note("get?", tag)
    while not queue.empty():
        try:
            item = queue.get() if simple(queue) else queue.get(timeout=0)
        except exceptions.Empty:
            break  # Somebody else took it.
        receive(tag, item)
        ledger.note("get?", tag)
    ledger.note("got", tag)


def simple(queue) -> bool:
    """Tells whether a queue knows no timeouts."""
    return type(queue).__name__ == "SimpleQueue"


def produce(queue, tag: str, seed: int, until: float) -> None:
    chance = random.Random(seed)
    number = 0
    while time.monotonic() < until:
        if chance.random() < 0.02 and os.fork() == 0:
            # A process that procession did not start is one of the family, too.
            send(queue, tag, 0, chance, until + PATIENCE)
            os._exit(0)
        send(queue, tag, number, chance, until + PATIENCE)
        number += 1
        if chance.random() < 0.2:
            time.sleep(0.001)


def send(queue, tag: str, number: int, chance: random.Random, deadline: float) -> None:
    item = (
        os.getpid(),
        number,
        payload.make(number, chance, isinstance(queue, Handle)),
    )
    ledger.note("put?", tag, number)
    while not has_put(queue, item):
        if time.monotonic() > deadline:
            return  # Whoever had consumers come is dead.
    ledger.note("put", tag, number)


def has_put(queue, item: Item) -> bool:
    """Tries to put an item for a moment."""
    if simple(queue):
        queue.put(item)
        return True
    try:
        queue.put(item, timeout=MOMENT)
    except exceptions.Full:
        return False
    return True


def receive(tag: str, item: Item) -> None:
    sender, number, data = item
    ledger.note("get", tag, number, sender)
    if not payload.check(number, data):
        ledger.note("wrong", tag, number, sender)


def consume_in_time(queue, tag: str, until: float) -> None:
    while time.monotonic() < until:
        ledger.note("get?", tag)
        try:
            while True:
                receive(tag, queue.get(timeout=MOMENT))
                if hasattr(queue, "task_done"):
                    queue.task_done()
                ledger.note("get?", tag)
        except exceptions.Empty:
            ledger.note("got", tag)


def consume_simply(queue, tag: str, until: float) -> None:
    """Ends by being killed."""
    deadline = until + WATCHDOG
    while time.monotonic() < deadline:
        ledger.note("get?", tag)
        receive(tag, queue.get())
