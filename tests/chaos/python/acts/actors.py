"""Processes that an act keeps running: whoever is killed is started again."""

import random
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import wait

import procession
from procession.distributed import EngineUnavailable, NodeLost

# Seconds after which what must happen has not happened.
WATCHDOG = 60

# How processes are started, and how often: a fresh interpreter takes some 20 times what
# the others take, and would leave little else to kill.
METHODS = {"fork": 4, "spawn": 1, "forkserver": 4}

# How a process may end that was killed by somebody else, and how with its node.
KILLED = (-signal.SIGKILL, -signal.SIGTERM)
LOST = 255


class Actors:
    """Some processes, started anew when they are killed until the curtain falls.

    `make` returns the target and the arguments of an actor; so many of them, from 0 to
    1, end with the act.
    """

    def __init__(
        self,
        context,
        chance: random.Random,
        make: list[Callable[[int], tuple]],
        daemons: float = 0.8,
    ) -> None:
        self.context = context
        self.chance = chance
        self.daemons = daemons
        self.cast: dict[Callable, procession.Process] = {}
        for role in make:
            self._enter(role)

    def _enter(self, role: Callable[[int], tuple]) -> None:
        target, *args = role(self.chance.getrandbits(32))
        daemon = self.chance.random() < self.daemons
        process = self.context.Process(target=target, args=args, daemon=daemon)
        start(process)
        self.cast[role] = process

    def run(self, until: float) -> None:
        """Replaces whoever ends, until a time."""
        while (timeout := until - time.monotonic()) > 0:
            roles = {process.sentinel: role for role, process in self.cast.items()}
            for sentinel in wait(list(roles), timeout):
                role = roles[sentinel]
                leave(self.cast.pop(role))
                self._enter(role)

    def bow(self) -> None:
        """Waits until all have ended."""
        while self.cast:
            leave(self.cast.popitem()[1])

    def kill(self) -> None:
        """Ends all that are left."""
        for process in self.cast.values():
            process.kill()
        self.bow()


def any_method(chance: random.Random) -> str:
    """Returns some start method."""
    return chance.choices(list(METHODS), METHODS.values())[0]


def start(process) -> None:
    """Starts a process, though its fork server or its node may be killed all the time."""
    while True:
        try:
            return process.start()
        except (ProcessLookupError, EngineUnavailable, NodeLost):
            pass  # A fork server was killed ten times in a row.


def leave(process) -> None:
    process.join(WATCHDOG)
    if process.exitcode is None:
        raise AssertionError(f"process {process.pid} hangs: {process.blocked_on}")
    if process.exitcode not in (0, *KILLED, LOST):
        raise AssertionError(f"process {process.pid} ended with {process.exitcode}")
    process.close()
