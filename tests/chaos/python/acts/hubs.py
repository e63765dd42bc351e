"""Locks and queues that a cluster's hub keeps: as on one machine, and nodes die, too."""

import random

import procession

from acts import locks, queues


def play(context, tag: str, chance: random.Random, until: float) -> None:
    method = context.get_start_method()
    cluster = procession.get_context(f"loopback://2?start_method={method}")
    try:
        chance.choice((locks, queues)).play(cluster, tag, chance, until)
    finally:
        cluster.close()
