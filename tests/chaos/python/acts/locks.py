"""Locks and the rest to wait on: a holder's death is told once, permits come back."""

import mmap
import os
import random
import struct
import tempfile
import threading
import time

import ledger
import procession

from acts.actors import WATCHDOG, Actors

# Seconds for which what may not happen is waited for.
MOMENT = 0.02


class Set:
    """One of each, and a page, which procession did not make, that they guard."""

    def __init__(self, context, tag: str) -> None:
        self.tag = tag
        self.lock = context.Lock()
        self.rlock = context.RLock()
        self.semaphore = context.Semaphore(2)
        self.bounded = context.BoundedSemaphore(3)
        self.condition = context.Condition()
        self.event = context.Event()
        self.barrier = context.Barrier(2)
        descriptor, self.path = tempfile.mkstemp(prefix="chaos-")
        os.write(descriptor, bytes(mmap.PAGESIZE))
        os.close(descriptor)

    def page(self) -> mmap.mmap:
        with open(self.path, "r+b") as file:
            return mmap.mmap(file.fileno(), mmap.PAGESIZE)


def play(context, tag: str, chance: random.Random, until: float) -> None:
    until = min(until, time.monotonic() + chance.uniform(0.3, 3))
    things = Set(context, tag)
    try:
        roles = [
            lambda seed, n=n: (use, things, seed, until)
            for n in range(chance.randint(2, 5))
        ]
        actors = Actors(context, chance, roles)
        actors.run(until)
        actors.bow()
        # Whoever died holding one of them is told of here, at the latest.
        for name in ("lock", "rlock"):
            hold(things, name, things.page(), chance)
        check_rest(things)
    finally:
        os.unlink(things.path)
    ledger.note("settled", tag)


def check_rest(things: Set) -> None:
    """All is as if nobody had died."""
    for name, value in (("semaphore", 2), ("bounded", 3)):
        if getattr(things, name).get_value() != value:
            ledger.note(
                "wrong", f"{things.tag}:{name}", getattr(things, name).get_value()
            )
    for _ in range(2):
        try:
            with things.condition:
                things.condition.notify_all()
        except procession.OwnerDied:
            pass
    things.event.set()
    if not things.event.wait(WATCHDOG):
        ledger.note("hung", f"{things.tag}:event")
    things.barrier.reset()
    thread = threading.Thread(target=things.barrier.wait, args=(WATCHDOG,))
    thread.start()
    things.barrier.wait(WATCHDOG)
    thread.join()


def use(things: Set, seed: int, until: float) -> None:
    chance = random.Random(seed)
    page = things.page()
    while time.monotonic() < until:
        chance.choice(USES)(things, page, chance)
    page.close()


def hold(things: Set, name: str, page: mmap.mmap, chance: random.Random) -> None:
    """Takes a lock, and looks whether anybody else has it."""
    lock, tag = getattr(things, name), f"{things.tag}:{name}"
    ledger.note("want", tag)
    try:
        taken = lock.acquire(timeout=WATCHDOG)
    except procession.OwnerDied:
        ledger.note("orphaned", tag)
        return
    if not taken:
        ledger.note("hung", tag)
        return
    ledger.note("have", tag)
    at = 8 * (name == "rlock")
    struct.pack_into("q", page, at, os.getpid())
    if name == "rlock":
        with lock:
            pass
    if chance.random() < 0.1:
        time.sleep(0.003)
    if struct.unpack_from("q", page, at)[0] != os.getpid():
        ledger.note("wrong", tag)
    ledger.note("free", tag)
    lock.release()
    ledger.note("freed", tag)


def use_lock(things: Set, page: mmap.mmap, chance: random.Random) -> None:
    hold(things, chance.choice(("lock", "lock", "rlock")), page, chance)


def use_semaphore(things: Set, page: mmap.mmap, chance: random.Random) -> None:
    name = chance.choice(("semaphore", "bounded"))
    semaphore, tag = getattr(things, name), f"{things.tag}:{name}"
    ledger.note("want", tag)
    if not semaphore.acquire(timeout=WATCHDOG):
        ledger.note("hung", tag)
        return
    ledger.note("have", tag)
    if chance.random() < 0.1:
        time.sleep(0.001)
    ledger.note("free", tag)
    semaphore.release()
    ledger.note("freed", tag)


def use_condition(things: Set, page: mmap.mmap, chance: random.Random) -> None:
    try:
        with things.condition:
            if chance.random() < 0.5:
                things.condition.wait(MOMENT)
            else:
                things.condition.notify(2)
    except procession.OwnerDied:
        pass


def use_event(things: Set, page: mmap.mmap, chance: random.Random) -> None:
    chance.choice(
        (things.event.set, things.event.clear, lambda: things.event.wait(MOMENT))
    )()


def use_barrier(things: Set, page: mmap.mmap, chance: random.Random) -> None:
    try:
        things.barrier.wait(MOMENT)
    except threading.BrokenBarrierError:
        things.barrier.reset()


USES = (use_lock, use_lock, use_semaphore, use_condition, use_event, use_barrier)
