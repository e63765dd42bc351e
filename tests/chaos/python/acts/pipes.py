"""Pipes: what arrives is what was sent, in order; the death of one end is told."""

import random
import time

import ledger

from acts import payload
from acts.actors import WATCHDOG, leave, start


def play(context, tag: str, chance: random.Random, until: float) -> None:
    until = min(until, time.monotonic() + chance.uniform(0.1, 1))
    here, there = context.Pipe(duplex=chance.random() < 0.5)
    seed = chance.getrandbits(32)
    sender = context.Process(target=send, args=(here, there, tag, seed, until))
    receiver = context.Process(target=receive, args=(here, there, tag))
    for process in (sender, receiver):
        start(process)
    here.close()
    there.close()
    for process in (sender, receiver):
        leave(process)
    ledger.note("settled", tag)


def send(here, there, tag: str, seed: int, until: float) -> None:
    here.close()
    chance = random.Random(seed)
    number = 0
    while time.monotonic() < until:
        ledger.note("send?", tag, number)
        try:
            there.send((number, payload.make(number, chance)))
        except OSError:
            ledger.note("deaf", tag, number)
            return
        ledger.note("sent", tag, number)
        number += 1
    ledger.note("bye", tag, number)


def receive(here, there, tag: str) -> None:
    there.close()
    while True:
        if not here.poll(WATCHDOG):
            ledger.note("hung", tag)
            return
        ledger.note("recv?", tag)
        try:
            number, data = here.recv()
        except (EOFError, OSError):
            ledger.note("eof", tag)
            return
        ledger.note("recv", tag, number)
        if not payload.check(number, data):
            ledger.note("wrong", tag, number)
