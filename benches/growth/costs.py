"""What single steps cost on this machine, each measured where nothing else is in its way.

Costs are seconds where nothing else is said. They are taken in the same run as the curves that are predicted from them.
"""

import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from multiprocessing.context import BaseContext
from statistics import median
from time import perf_counter, process_time
from typing import Any

import locks
import machine
import payloads
import queues
import starts
import workers

KIB, MIB = 1 << 10, 1 << 20
# Of madvise(2); Python has no name for it.
MADV_POPULATE_WRITE = 23
# Processes beyond the processors, by which the cost of one more is found.
MORE = 15


@dataclass(frozen=True)
class Costs:
    """The costs that predictions are made of."""

    # Processor time of the parent and of a worker for a task that does nothing, with one worker.
    parent: float
    worker: float
    # What one more worker adds to a task in the parent, which looks at each in its rounds; and what one more than there
    # are processors adds in the workers, who have to take turns.
    visit: float
    crowd: float
    # A task there and back, when nothing else is under way.
    roundtrip: float
    # Processor time of each side for an item of a queue, with one of each.
    producer: float
    consumer: float
    # What one more consumer adds to an item in the producer, who wakes those that sleep; and what one more than there
    # are processors adds in the consumers, who are woken in vain or have to take turns.
    wake: float
    queueing: float
    # A put and a get in one process, with nobody on the other side.
    put: float
    get: float
    # Taking and releasing a lock alone, and while another processor wants it.
    take: float
    handover: float
    # Eight bytes through a pipe, and a word back.
    pipe: float
    # Bytes a second that one processor copies, inside of its own cache, of the shared one, and outside of both.
    near: float
    middle: float
    far: float
    # To write a small array into a message, to read it from there and to look at it.
    array: float
    # First use of a page that nobody has; of a page of a file in memory, with many others in one call; and of one that
    # another process has put there.
    fault: float
    file_page: float
    mapped_fault: float
    # What a page of the parent adds to a fork.
    forked_page: float
    # Making a lock, and the bytes that it takes of the parent's own memory.
    make: float
    object_bytes: float
    # A process from its start to its end, and what each lock that its parent has adds: the child is a user of all of them.
    start: float
    inherited: float

    def lines(self) -> list[str]:
        return [
            f"  {field.name:<14} {self._shown(field.name)}" for field in fields(self)
        ]

    def _shown(self, name: str) -> str:
        value = getattr(self, name)
        if name in ("near", "middle", "far"):
            return f"{value / 1e9:8.2f} GB/s"
        if name == "object_bytes":
            return f"{value:8.0f} B"
        return f"{value * 1e6:8.3f} us"


def calibrate(context: BaseContext, quick: bool) -> Costs:
    """Measures all of them."""
    scale = 10 if quick else 1
    rounds = 1 if quick else 3
    parent, worker = _least(
        rounds, lambda: workers.processor_time(context, 1, 50_000 // scale)
    )
    many = machine.processors() + MORE - 1
    parent_of_many, many_workers = _least(
        rounds, lambda: workers.processor_time(context, many, 50_000 // scale)
    )
    producer, consumer = _least(
        rounds, lambda: queues.processor_time(context, 1, 100_000 // scale)
    )
    producer_for_many, many_consumers = _least(
        rounds, lambda: queues.processor_time(context, many, 100_000 // scale)
    )
    put, get = queues.alone(context, 50_000 // scale)
    bytes_each, make = _object(context, 5_000 // scale)
    near, middle, far = (
        _bandwidth(size, times)
        for size, times in (
            (128 * KIB, 200),
            (4 * MIB, 20),
            ((16 if quick else 128) * MIB, 5),
        )
    )
    file_page, mapped_fault = _file_pages((8 if quick else 64) * MIB)
    starts_each = 20 // min(scale, 4)
    start = min(starts.start_join(context, starts_each) for _ in range(rounds))
    return Costs(
        parent=parent,
        worker=worker,
        visit=max(0.0, (parent_of_many - parent) / (many - 1)),
        crowd=max(0.0, (many_workers - worker) / MORE),
        roundtrip=min(
            workers.roundtrip(context, 2_000 // scale) for _ in range(rounds)
        ),
        producer=producer,
        consumer=consumer,
        wake=max(0.0, (producer_for_many - producer) / (many - 1)),
        queueing=max(0.0, (many_consumers - consumer) / MORE),
        put=put,
        get=get,
        take=1 / max(locks.rate(context, 1, 300_000 // scale) for _ in range(rounds)),
        handover=1
        / max(locks.rate(context, 2, 1_000_000 // scale) for _ in range(rounds)),
        pipe=min(starts.pipe_roundtrip(context, 2_000 // scale) for _ in range(rounds)),
        near=near,
        middle=middle,
        far=far,
        array=payloads.both_ways(1_000 // scale),
        fault=_fault((8 if quick else 64) * MIB),
        file_page=file_page,
        mapped_fault=mapped_fault,
        forked_page=_forked_page((32 if quick else 128) * MIB),
        make=make,
        object_bytes=bytes_each,
        start=start,
        inherited=_inherited(context, start, 10_000 // scale, starts_each),
    )


def _least(
    times: int, measure: Callable[[], tuple[float, float]]
) -> tuple[float, float]:
    """Returns the pair with the least sum: what disturbs a measurement only makes it slower."""
    return min((measure() for _ in range(times)), key=sum)


def _bandwidth(size: int, times: int) -> float:
    source, target = bytearray(os.urandom(size)), bytearray(size)
    target[:] = source

    def copy() -> None:
        memoryview(target)[:] = source

    return size / median(_timed(copy) for _ in range(times))


def _fault(size: int) -> float:
    """Writes to each page of memory that is new."""
    found = []
    for _ in range(3):
        with mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
            found.append(_touched(memory, size))
    return median(found)


def _file_pages(size: int) -> tuple[float, float]:
    """Has pages of a file in memory made all at once, and reads each of them through another mapping."""
    made, read = [], []
    for _ in range(3):
        number = os.memfd_create("growth")
        try:
            os.ftruncate(number, size)
            with mmap.mmap(number, size) as first, mmap.mmap(number, size) as second:
                made.append(_timed(lambda: first.madvise(MADV_POPULATE_WRITE)))
                fresh = _timed(lambda: sum(second[0 : size : machine.PAGE]))
                again = _timed(lambda: sum(second[0 : size : machine.PAGE]))
                read.append(max(0.0, fresh - again))
        finally:
            os.close(number)
    pages = size / machine.PAGE
    return median(made) / pages, median(read) / pages


def _inherited(context: BaseContext, start: float, count: int, times: int) -> float:
    """Starts processes while that many locks are alive."""
    kept: list[Any] = [context.Lock() for _ in range(count)]
    beside = min(starts.start_join(context, times) for _ in range(3))
    return max(0.0, beside - start) / len(kept)


def _touched(memory: mmap.mmap, size: int) -> float:
    """Returns the seconds of a page, less those of a loop that finds the page there."""
    begin = perf_counter()
    for at in range(0, size, machine.PAGE):
        memory[at] = 1
    first = perf_counter() - begin
    begin = perf_counter()
    for at in range(0, size, machine.PAGE):
        memory[at] = 1
    return max(0.0, first - (perf_counter() - begin)) / (size / machine.PAGE)


def _forked_page(size: int) -> float:
    """Forks with and without that much more memory."""
    without = median(_timed(_fork) for _ in range(7))
    with mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        _touched(memory, size)
        larger = median(_timed(_fork) for _ in range(7))
    return max(0.0, larger - without) / (size / machine.PAGE)


def _fork() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0


def _object(context: BaseContext, count: int) -> tuple[float, float]:
    """Returns the bytes of a lock in this process, and the seconds to make one."""
    before, begin = machine.resident(), process_time()
    kept: list[Any] = [context.Lock() for _ in range(count)]
    seconds = process_time() - begin
    return max(0, machine.resident() - before) / len(kept), seconds / len(kept)


def _timed(call: Callable[[], object]) -> float:
    begin = perf_counter()
    call()
    return perf_counter() - begin
