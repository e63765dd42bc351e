"""Scenarios that start processes."""

from multiprocessing.context import BaseContext
from time import perf_counter, sleep

# One after another; fewer where a start is slow.
STARTS = {"fork": 200, "forkserver": 100, "spawn": 20}
BURSTS = 8
BURST = 4
READY_POOLS = 5


def nothing() -> None:
    """Is what a child does when only its start is of interest."""


def identity(value: int) -> int:
    return value


def start_join(context: BaseContext) -> float:
    """Returns the seconds from start to joined, one process after another."""
    start_and_join(context, 2)
    count = STARTS[context.get_start_method()]
    begin = perf_counter()
    for _ in range(count):
        start_and_join(context, 1)
    return (perf_counter() - begin) / count


def start_burst(context: BaseContext) -> float:
    """Returns the seconds for four at once after an idle second."""
    start_and_join(context, BURST)
    total = 0.0
    for _ in range(BURSTS):
        sleep(1)
        begin = perf_counter()
        start_and_join(context, BURST)
        total += perf_counter() - begin
    return total / BURSTS


def pool_ready(context: BaseContext) -> float:
    """Returns the seconds from no pool to the first result of a pool of two."""
    total = 0.0
    for round_number in range(READY_POOLS + 1):
        begin = perf_counter()
        with context.Pool(2) as pool:
            assert pool.apply(identity, (round_number,)) == round_number
            # The first one pays for what is set up once, a fork server say.
            total += (perf_counter() - begin) if round_number else 0
    return total / READY_POOLS


def start_and_join(context: BaseContext, count: int) -> None:
    """Starts so many processes that do nothing, and joins them."""
    children = [context.Process(target=nothing) for _ in range(count)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0
