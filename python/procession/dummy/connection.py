"""Connections between threads: two queues, one for each direction.

As in `multiprocessing.dummy.connection`. Objects are passed on as they are.
"""

from __future__ import annotations

import time
from queue import Queue
from typing import Any, Self

__all__ = ["Client", "Listener", "Pipe"]

families = [None]


class Listener:
    """Waits for clients.

    Args:
        address: Not used; the listener's own `address` is what clients need.
        family: Not used.
        backlog: How many clients may wait to be accepted.
    """

    def __init__(
        self, address: Any = None, family: Any = None, backlog: int = 1
    ) -> None:
        self._backlog_queue: Queue[Any] | None = Queue(backlog)

    def accept(self) -> Connection:
        """Waits for a client and returns the connection with it."""
        if self._backlog_queue is None:
            raise OSError("listener is closed")
        return Connection(*self._backlog_queue.get())

    def close(self) -> None:
        """Accepts no more clients."""
        self._backlog_queue = None

    @property
    def address(self) -> Queue[Any] | None:
        """What `Client` connects to."""
        return self._backlog_queue

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()


def Client(address: Any) -> Connection:
    """Returns a connection with the listener of an address."""
    incoming: Queue[Any] = Queue()
    outgoing: Queue[Any] = Queue()
    address.put((outgoing, incoming))
    return Connection(incoming, outgoing)


def Pipe(duplex: bool = True) -> tuple[Connection, Connection]:
    """Returns two connections with each other; both always work in both directions."""
    there: Queue[Any] = Queue()
    back: Queue[Any] = Queue()
    return Connection(there, back), Connection(back, there)


class Connection:
    """One end of a connection.

    Args:
        _in: Where messages come from.
        _out: Where messages go.
    """

    def __init__(self, _in: Queue[Any], _out: Queue[Any]) -> None:
        self._in = _in
        self._out = _out
        self.send = self.send_bytes = _out.put
        self.recv = self.recv_bytes = _in.get

    def poll(self, timeout: float | None = 0.0) -> bool:
        """Waits until there is a message or the time is over."""
        end = None if timeout is None else time.monotonic() + timeout
        with self._in.not_empty:
            while not self._in._qsize():
                remaining = None if end is None else end - time.monotonic()
                if remaining is not None and remaining <= 0:
                    return False
                self._in.not_empty.wait(remaining)
        return True

    def close(self) -> None:
        """Does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()
