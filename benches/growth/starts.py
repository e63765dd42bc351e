"""Processes: what a start costs, and several that are there together."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.queues import SimpleQueue
from time import perf_counter
from typing import Any

# When a process began and ended, on the clock that all processes have in common.
Times = tuple[float, float]


def start_join(context: BaseContext, times: int) -> float:
    """Returns the seconds of a process that does nothing, from its start to its end."""
    begin = perf_counter()
    for _ in range(times):
        child = context.Process(target=_nothing)
        child.start()
        child.join()
        assert child.exitcode == 0
    return (perf_counter() - begin) / times


def pipe_roundtrip(context: BaseContext, times: int) -> float:
    """Returns the seconds for eight bytes through a pipe and back."""
    here, there = context.Pipe()
    with all_of(context, [(_echo, (there, times))]):
        begin = perf_counter()
        for _ in range(times):
            here.send_bytes(b"8 bytes.")
            here.recv_bytes()
        return (perf_counter() - begin) / times


@contextmanager
def all_of(
    context: BaseContext, works: Sequence[tuple[Callable[..., Any], tuple[Any, ...]]]
) -> Iterator[None]:
    """Has processes do all of these, and waits for them; they have to end well."""
    children = [context.Process(target=target, args=args) for target, args in works]
    for child in children:
        child.start()
    try:
        yield
        for child in children:
            child.join()
            assert child.exitcode == 0
    finally:
        for child in children:
            child.kill()


def span(told: "SimpleQueue[Times]", count: int) -> float:
    """Returns the seconds from the first that began to the last that ended, of so many processes."""
    found = [told.get() for _ in range(count)]
    return max(end for _, end in found) - min(begin for begin, _ in found)


def _nothing() -> None:
    pass


def _echo(connection: "Connection[bytes, bytes]", times: int) -> None:
    for _ in range(times):
        connection.send_bytes(connection.recv_bytes())
