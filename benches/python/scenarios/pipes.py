"""Scenarios that send messages through a pipe."""

from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from time import perf_counter

import numpy

ROUND_TRIPS = 10_000
END = -1
LARGE = 16 * 1024 * 1024
LARGE_MESSAGES = 30
STEPS = 5_000
ENVIRONMENTS = 2
# What such a program sees of a game: four frames of 84 by 84 pixels, 28 KB.
SHAPE = (4, 84, 84)


def pipe_roundtrip(context: BaseContext) -> float:
    """Returns the seconds for a number to a child and back."""
    here, there = context.Pipe()
    child = context.Process(target=_echo, args=(there,))
    child.start()
    there.close()
    for value in range(100):
        here.send(value)
        here.recv()
    begin = perf_counter()
    for value in range(ROUND_TRIPS):
        here.send(value)
        assert here.recv() == value
    seconds = perf_counter() - begin
    here.send(END)
    child.join()
    return seconds / ROUND_TRIPS


def pipe_16mib(context: BaseContext) -> float:
    """Returns bytes per second of 16 MiB messages from a child to its parent."""
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_send_large, args=(there,))
    child.start()
    there.close()
    assert len(here.recv_bytes()) == LARGE
    begin = perf_counter()
    for number in range(LARGE_MESSAGES):
        assert here.recv_bytes()[-1] == number
    seconds = perf_counter() - begin
    child.join()
    return LARGE * LARGE_MESSAGES / seconds


def pipe_lockstep(context: BaseContext) -> float:
    """Returns the steps per second of two environments that both answer before the next step."""
    pipes = [context.Pipe() for _ in range(ENVIRONMENTS)]
    children = [
        context.Process(target=_environment, args=(there,)) for _, there in pipes
    ]
    for child, (_, there) in zip(children, pipes, strict=True):
        child.start()
        there.close()
    connections = [here for here, _ in pipes]
    _step_together(connections, 100)
    begin = perf_counter()
    _step_together(connections, STEPS)
    seconds = perf_counter() - begin
    for here, child in zip(connections, children, strict=True):
        here.send(END)
        child.join()
        assert child.exitcode == 0
    return STEPS / seconds


def _step_together(
    connections: "list[Connection[int, numpy.ndarray]]", steps: int
) -> None:
    for step in range(steps):
        for connection in connections:
            connection.send(step)
        for connection in connections:
            assert connection.recv()[0, 0, 0] == step % 256


def _environment(connection: "Connection[numpy.ndarray, int]") -> None:
    observation = numpy.zeros(SHAPE, numpy.uint8)
    while (action := connection.recv()) != END:
        observation[0, 0, 0] = action % 256
        connection.send(observation)


def _echo(connection: "Connection[int, int]") -> None:
    # Not until end of file: a forked child holds the other end open itself.
    while (value := connection.recv()) != END:
        connection.send(value)


def _send_large(connection: "Connection[bytes, bytes]") -> None:
    message = bytearray(LARGE)
    connection.send_bytes(message)
    for number in range(LARGE_MESSAGES):
        message[-1] = number
        connection.send_bytes(message)
