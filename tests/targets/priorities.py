"""What the workers of test_priorities.py do."""

import os
import signal

from targets import pool as pool_targets

begun: list = []


def initialize(gate: tuple, queue) -> None:
    pool_targets.initialize(*gate)
    begun.append(queue)


def note(what: object) -> None:
    """Puts what it is given into the queue of what has begun."""
    begun[0].put(what)


def die_at_first(gate: tuple) -> None:
    """Waits for the event and dies; the second time it notes that it runs again."""
    started, event = gate
    if event.is_set():
        note("again")
        return
    started.release()
    event.wait()
    os.kill(os.getpid(), signal.SIGKILL)
