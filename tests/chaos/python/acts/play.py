"""Plays one act in a process of its own, round after round."""

import faulthandler
import random
import signal
import time
import traceback

import ledger
import procession

from acts import clusters, hubs, locks, nests, pipes, pools, queues
from acts.actors import any_method

ACTS = {
    "clusters": clusters.play,
    "hubs": hubs.play,
    "locks": locks.play,
    "nests": nests.play,
    "pipes": pipes.play,
    "pools": pools.play,
    "queues": queues.play,
}


def play(name: str, tag: str, seed: int, until: float) -> None:
    """Runs an act, round after round, in a process of its own."""
    chance = random.Random(seed)
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    number = 0
    while time.monotonic() < until:
        number += 1
        method = any_method(chance)
        try:
            ACTS[name](
                procession.get_context(method),
                f"{tag}.{number}.{method}",
                chance,
                until,
            )
        except Exception:
            traceback.print_exc()
            ledger.note("crashed", f"{tag}.{number}.{method}")
            raise
