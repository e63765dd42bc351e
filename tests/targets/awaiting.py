"""What the processes of the tests of awaiting do."""

import os
import signal
import struct
import sys
from typing import NoReturn

from library import PATIENCE


def put_when_told(queue, go, items) -> None:
    """Puts items, each when it is told to."""
    for item in items:
        assert go.acquire(timeout=PATIENCE)
        queue.put(item)


def put_and_die(queue, items) -> NoReturn:
    for item in items:
        queue.put(item)
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


def get_when_told(queue, go, count: int) -> list:
    """Gets so many items, each when it is told to; returns them."""
    got = []
    for _ in range(count):
        assert go.acquire(timeout=PATIENCE)
        got.append(queue.get(timeout=PATIENCE))
    return got


def wait_and_return(go, value: object) -> object:
    assert go.acquire(timeout=PATIENCE)
    return value


def fail(message: str) -> NoReturn:
    raise ValueError(message)


def exit_with(code: int) -> NoReturn:
    sys.exit(code)


def send_when_told(connection, go, messages) -> None:
    for message in messages:
        assert go.acquire(timeout=PATIENCE)
        connection.send(message)


def close_one_and_send(other_end, connection, message: object) -> None:
    """Closes an end that its parent has, too, and sends through the other."""
    other_end.close()
    connection.send(message)


def send_half(connection, other_end, length: int) -> NoReturn:
    """Sends half of a message, and dies."""
    other_end.close()
    os.write(connection.fileno(), struct.pack("!i", length) + bytes(length // 2))
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


def receive_when_told(connection, go, count: int) -> list:
    """Receives so many messages, each when it is told to; returns their lengths."""
    lengths = []
    for _ in range(count):
        assert go.acquire(timeout=PATIENCE)
        lengths.append(len(connection.recv()))
    return lengths


def hold_until_told(lock, held, go) -> None:
    """Takes a lock, tells so, and frees it when told to."""
    with lock:
        held.release()
        assert go.acquire(timeout=PATIENCE)


def hold_and_stay(lock, held) -> NoReturn:
    """Takes a lock, tells so, and never frees it."""
    lock.acquire()
    held.release()
    while True:
        signal.pause()


def add_in_a_loop(lock, total, times: int) -> None:
    """Adds to a number as often as told, in tasks of a loop, each time with the lock."""
    import asyncio

    async def add() -> None:
        for _ in range(times):
            async with lock:
                seen = total.value
                await asyncio.sleep(0)
                total.value = seen + 1

    async def main() -> None:
        await asyncio.gather(add(), add())

    asyncio.run(main())


def set_and_clear(event) -> None:
    event.set()
    event.clear()


def notify(condition, count: int) -> None:
    with condition:
        condition.notify(count)


def wait_at(barrier) -> int:
    return barrier.wait(PATIENCE)


def die(held) -> NoReturn:
    """The action of a barrier that tells so, and is never done."""
    held.release()
    while True:
        signal.pause()


def wait_and_hold(barrier, held) -> NoReturn:
    """Comes to a barrier, last, as its leader, and stays in the action."""
    barrier._action = lambda: die(held)
    barrier.wait()
    raise AssertionError("the action has no end")


def append_in_a_loop(numbers, number: int) -> None:
    """Appends to what a manager keeps, in a task of a loop."""
    import asyncio

    asyncio.run(numbers.call_async("append", number))
