"""How a process uses a hub: its connections, one for each call that is under way.

The first stays open as long as the process lives, and nothing is said by it: by its end the
hub knows that of the process. A call that a handler of a signal ends has taken nothing.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import pickle
import socket
import threading
import weakref
from collections import deque

from .. import process, util
from ..connection import Client
from ._errors import EngineUnavailable
from ._wire import receive_exactly
from .hub import LENGTH, keep_alive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Session", "forget", "seconds_of", "session_of"]

# How many connections are kept that no thread uses now.
_MOST_IDLE = 16

_sessions: dict[Any, Session] = {}
_making = threading.RLock()

# What closes them when the program ends.
_ending: list[util.Finalize] = []

# The keys of the hubs of this process; others use the key of the process.
keys: dict[Any, bytes] = {}


def session_of(address: Any) -> Session:
    """Returns the use that this process makes of the hub at an address."""
    session = _sessions.get(address)
    if session is None:
        with _making:
            if not (_ending and _ending[0].still_active()):
                # Called after children were joined, as the program may have to serve
                # them until then.
                _ending[:] = [util.Finalize(None, _close_all, exitpriority=-10)]
            session = _sessions.get(address) or Session(address)
            _sessions[address] = session
    return session


def _close_all() -> None:
    while _sessions:
        _sessions.popitem()[1].close()


def forget(address: Any) -> None:
    """Closes the connections of this process to a hub of its own, which ends."""
    keys.pop(address, None)
    session = _sessions.pop(address, None)
    if session is not None:
        session.close()


def seconds_of(timeout: Any) -> float | None:
    """Returns how long to wait, from what a caller has given.

    Raises:
        TypeError: It is no number.
        ValueError: It is none that can be waited for.
    """
    if timeout is None:
        return None
    if not hasattr(timeout, "__float__") and not hasattr(timeout, "__index__"):
        raise TypeError(f"a timeout must be a number of seconds, not {timeout!r}")
    seconds = float(timeout)
    if math.isnan(seconds):
        raise ValueError("a timeout must be a number of seconds, not nan")
    return None if seconds == float("inf") else max(seconds, 0.0)


class Session:
    """The connections of this process to one hub.

    Args:
        address: Where the hub is.
    """

    def __init__(self, address: Any) -> None:
        self._address = address
        self._key = os.urandom(16)
        self._first: _Line | None = None
        self._idle: list[_Line] = []
        self._all: weakref.WeakSet[_Line] = weakref.WeakSet()
        # How many handles this process has, by the numbers of their objects; those that are
        # gone since the last message; and those of which the hub knows more than this.
        self._held: dict[int, int] = {}
        self._dropped: deque[int] = deque()
        self._copied: set[int] = set()
        self._sent: set[int] = set()
        self._holding = threading.RLock()

    def call(
        self, number: int, op: str, args: tuple[Any, ...], timeout: float | None
    ) -> tuple[bool, Any]:
        """Has the hub do something with an object.

        Returns:
            Whether it was done in time, and what came of it.

        Raises:
            EngineUnavailable: The hub is gone, or cannot be reached.
            Exception: What the operation raised.
        """
        return self._ask((None, number, op, args, timeout))

    def make(self, kind: str, *args: Any) -> int:
        """Has the hub make an object; returns its number."""
        number: int = self._ask(("make", kind, args))[1]
        with self._holding:
            self._held[number] = self._held.get(number, 0) + 1
        return number

    def attach(self, number: int) -> None:
        """Has the hub keep an object as long as this process has a handle of it.

        Raises:
            LookupError: It has ended.
        """
        with self._holding:
            if not self._held.get(number):
                self._exchange(("attach", number))
            self._held[number] = self._held.get(number, 0) + 1

    def drop(self, number: int) -> None:
        """Notes that a handle is gone, in any thread, in the middle of anything."""
        self._dropped.append(number)

    def send(self, number: int) -> None:
        """Has the hub keep an object to its end: anybody may come to have a handle of it."""
        if number not in self._sent:
            self._ask(("send", number))
            self._sent.add(number)

    def before_fork(self) -> None:
        """Has the hub keep the objects of all present handles, which the child will have, too."""
        self._copied.update([*self._held])

    def _tell_of_dropped(self) -> None:
        with self._holding:
            gone = []
            while self._dropped:
                number = self._dropped.popleft()
                left = self._held.get(number, 0) - 1
                if left > 0:
                    self._held[number] = left
                    continue
                self._held.pop(number, None)
                if number not in self._copied:
                    gone.append(number)
            if gone:
                self._exchange(("detach", gone))

    def _ask(self, message: tuple[Any, ...]) -> tuple[bool, Any]:
        if self._dropped:
            self._tell_of_dropped()
        return self._exchange(message)

    def _exchange(self, message: tuple[Any, ...]) -> tuple[bool, Any]:
        line = self._take()
        try:
            kind, value = line.ask(message)
        except BaseException as error:
            if not _is_of_a_socket(error):
                # A handler of a signal has raised. The hub must learn that nobody
                # waits, so that it gives back what the answer would take.
                line.leave()
                raise
            line.close()
            self._forget()
            raise self._gone("does not answer any more") from error
        if len(self._idle) < _MOST_IDLE:
            self._idle.append(line)
        else:
            line.close()
        if kind == "error":
            raise value
        return kind != "late", value

    def _take(self) -> _Line:
        try:
            return self._idle.pop()
        except IndexError:
            pass
        try:
            with _making:
                if self._first is None:
                    self._first = self._new_line(True)
            return self._new_line(False)
        except (OSError, EOFError) as error:
            if not _is_of_a_socket(error):
                raise
            self._forget()
            raise self._gone(f"cannot be reached: {error}") from error

    def _new_line(self, is_first: bool) -> _Line:
        me = process.current_process()
        line = _Line(self._address, keys.get(self._address) or bytes(me.authkey))
        self._all.add(line)
        place = os.uname().nodename, os.getpid()
        name = f"process {me.name!r} (pid {place[1]}) on {place[0]}"
        try:
            kind, lease = line.ask(("meet", self._key, name, place, is_first))
        except BaseException:
            line.close()
            raise
        if kind == "gone":
            line.close()
            raise ConnectionResetError(
                errno.ECONNRESET,
                "the connection by which it knew this process has broken, and what this "
                "process held is free",
            )
        line.keep_alive(lease)
        return line

    def _forget(self) -> None:
        """Makes the next call begin anew, as another process."""
        if _sessions.get(self._address) is self:
            del _sessions[self._address]
        self.close()

    def close(self) -> None:
        """Closes the connections that no thread uses; the hub takes this process for dead."""
        if self._first is not None:
            self._first.close()
        while self._idle:
            self._idle.pop().close()

    def let_go(self) -> None:
        """Closes all connections, in a forked copy of the process."""
        for line in [*self._all]:
            line.close()

    def _gone(self, what: str) -> EngineUnavailable:
        return EngineUnavailable(
            f"the hub at {self._address!r}, which has the queues, locks and values of the "
            f"cluster's program, {what}"
        )


class _Line:
    """One connection to a hub."""

    def __init__(self, address: Any, authkey: bytes) -> None:
        connection: Any = Client(address, authkey=authkey)
        handle, connection._handle = connection._handle, None
        self._sock = socket.socket(fileno=handle)
        self._sock.setblocking(True)

    def keep_alive(self, lease: float) -> None:
        """Has it break if the hub's machine is gone."""
        keep_alive(self._sock, lease)

    def ask(self, message: tuple[Any, ...]) -> tuple[str, Any]:
        """Sends a message and waits for the answer; confirms what was taken by it."""
        self._send(pickle.dumps(message, 5))
        (size,) = LENGTH.unpack(receive_exactly(self._sock, LENGTH.size))
        kind, value = pickle.loads(receive_exactly(self._sock, size))
        if kind == "taken":
            self._send(b"")
        return kind, value

    def _send(self, data: bytes) -> None:
        self._sock.sendall(LENGTH.pack(len(data)) + data)

    def leave(self) -> None:
        """Ends it in the middle of a request; this process goes on."""
        with contextlib.suppress(OSError):
            # If only a part of the request was sent, the hub has not carried it out.
            self._send(pickle.dumps(("leave",), 5))
        self.close()

    def close(self) -> None:
        """Closes it."""
        self._sock.close()


def _is_of_a_socket(error: BaseException) -> bool:
    """Tells whether a connection has broken, rather than that a handler has raised an error."""
    if isinstance(error, OSError):
        return error.errno is not None
    return isinstance(error, EOFError)


def _before_fork() -> None:
    for session in [*_sessions.values()]:
        session.before_fork()


def _after_fork() -> None:
    _making._at_fork_reinit()  # type: ignore[attr-defined]
    for session in [*_sessions.values()]:
        session.let_go()
    _sessions.clear()


os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
