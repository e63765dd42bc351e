"""The formulas that predict each curve from the costs of single steps, each with its reason.

Where several things have to happen for each task or item, they happen at the same time in different processes: so the
slowest of them bounds the rate, and the rest waits for it. What one process does is a sum: so times add up.
"""

from dataclasses import dataclass

from costs import Costs
from machine import PAGE, caches

# From this size on malloc gives memory back to the kernel each time it is freed (mallopt(3), M_MMAP_THRESHOLD).
GIVEN_BACK = 32 << 20
# Free memory that the arena keeps (KEEP in procession-shm's alloc/chunks.rs).
KEPT = 128 << 20
# Bytes of a small number in a queue: its record and its pickle (channel/queue/segment.rs).
RECORD = 24


@dataclass(frozen=True)
class Prediction:
    """A rate or a time, and what bounds it."""

    value: float
    bound: str


def tasks(costs: Costs, processors: int, workers: int, seconds: float) -> Prediction:
    """Tasks per second.

    The parent makes each task and reads each result, and is one thread: its share cannot be divided, and grows
    by what it takes to look at each further worker. What a worker does is divided among all. All of it needs processors;
    those who have none wait for a turn, and each turn costs a switch and what the processor's cache has forgotten.
    """
    parent = costs.parent + costs.visit * (workers - 1)
    worker = costs.worker + seconds + costs.crowd * _beyond(processors, workers)
    return _slowest(
        {
            "the parent": 1 / parent,
            "the workers": workers / worker,
            "the processors": processors / (parent + worker),
        }
    )


def items(costs: Costs, processors: int, consumers: int) -> Prediction:
    """Items per second from one producer.

    The producer puts them one by one. Consumers take them out under one guard, in one line of the cache, which can change
    hands no faster than a lock does; what they do with an item afterwards is divided among them. The more there are, the
    more often one sleeps that the producer has to wake; and those who have no processor wait for a turn.
    """
    producer = costs.producer + costs.wake * (consumers - 1)
    consumer = costs.consumer + costs.queueing * _beyond(processors, consumers)
    rates = {
        "the producer": 1 / producer,
        "the consumers": consumers / consumer,
        "the processors": processors / (producer + consumer),
    }
    if consumers > 1:
        rates["the consumers' guard"] = 1 / costs.handover
    return _slowest(rates)


def takes(costs: Costs, contenders: int) -> Prediction:
    """Times per second that a lock is taken, by all together.

    One at a time has it. Alone it stays in a processor's cache; from the second process on its line has to change
    hands, and a third one only waits longer, whatever the number of processors.
    """
    if contenders == 1:
        return Prediction(1 / costs.take, "the instructions of a take")
    return Prediction(1 / costs.handover, "the line of the lock")


def message(costs: Costs, size: int) -> Prediction:
    """Seconds of a message through a pipe, asked for by a word.

    It is copied twice: into the kernel or, if it is large, into a block of the arena, and out of there. What is so large
    that malloc has no memory kept for it takes a fault for each page of the receiver.
    """
    faults = size / PAGE * costs.fault if size >= GIVEN_BACK else 0.0
    return _sum(
        {
            "the way there and back": costs.pipe,
            "the copies": _copied(costs, size, 2),
            "the faults": faults + _new_block(costs, size),
        }
    )


def array(costs: Costs, size: int) -> Prediction:
    """Seconds of a task with an array as its argument or as its result.

    It is copied once, into a block of the arena, and used in place. The block before it was of the same size, so its
    pages are there, unless it is so large that the arena has given them back.
    """
    return _sum(
        {
            "the task": costs.roundtrip + costs.array,
            "the copy": _copied(costs, size, 1),
            "the faults": _new_block(costs, size),
        }
    )


def making(costs: Costs) -> Prediction:
    """Seconds to make a lock: a place in a class of blocks, however many are taken."""
    return Prediction(costs.make, "nothing that grows")


def start_beside_objects(costs: Costs, alive: int) -> Prediction:
    """Seconds of a start by fork.

    The child is a user of each object that its parent has, and that is noted in each of them around the fork
    (`become_child` in procession-shm's object/shared.rs). The kernel copies an entry for each page of the parent's memory.
    """
    pages = alive * costs.object_bytes / PAGE
    return _sum(
        {
            "the start": costs.start,
            "the objects that the child uses": alive * costs.inherited,
            "the copied pages": pages * costs.forked_page,
        }
    )


def beside_members(costs: Costs) -> dict[str, Prediction]:
    """Seconds of a take, of a start and of a task: none of them looks at other members."""
    bound = "nothing that grows"
    return {
        "take of a lock": Prediction(costs.take, bound),
        "start": Prediction(costs.start, bound),
        "task": Prediction(costs.roundtrip, bound),
    }


def put_behind(costs: Costs) -> Prediction:
    """Seconds of a put behind many items: the end is known; a part of a page is new to each item."""
    return _sum({"the put": costs.put, "the new pages": RECORD / PAGE * costs.fault})


def get_before(costs: Costs) -> Prediction:
    """Seconds of a get before many items: the beginning is known."""
    return Prediction(costs.get, "nothing that grows")


def _beyond(processors: int, others: int) -> int:
    """Returns how many of these, and the one who is busy with all of them, have no processor."""
    return max(0, others + 1 - processors)


def _copied(costs: Costs, size: int, times: int) -> float:
    """Seconds to copy from one place to the next: all of them fit into a processor's own cache, the shared one, or none."""
    own, shared = caches()
    places = (times + 1) * size
    if places < own:
        return times * size / costs.near
    return times * size / (costs.middle if places < shared else costs.far)


def _new_block(costs: Costs, size: int) -> float:
    """Seconds to have the pages of a block that is too large to be kept: in the writer, and in the reader."""
    if size < KEPT:
        return 0.0
    return size / PAGE * (costs.file_page + costs.mapped_fault)


def _slowest(rates: dict[str, float]) -> Prediction:
    bound = min(rates, key=lambda name: rates[name])
    return Prediction(rates[bound], bound)


def _sum(seconds: dict[str, float]) -> Prediction:
    bound = max(seconds, key=lambda name: seconds[name])
    return Prediction(sum(seconds.values()), bound)
