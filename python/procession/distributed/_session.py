"""How a process uses a hub: its connections, one for each call that is under way.

The first stays open as long as the process lives, and nothing is said by it: by its end the
hub knows that of the process. A call that a handler of a signal ends has taken nothing, nor has
one that is awaited by a task which is cancelled.
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
from .._event_loops import running
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
        self.holding = threading.RLock()
        # Whether the hub takes the process for lost, as which it was known by this.
        self.is_broken = False

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

    def idle_line(self) -> _Line | None:
        """Returns a connection that no call uses, if there is one."""
        if self._dropped:
            self._tell_of_dropped()
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def put_back(self, line: _Line) -> None:
        """Takes a connection back that was not used, or whose call is over."""
        if len(self._idle) < _MOST_IDLE:
            self._idle.append(line)
        else:
            line.close()

    async def call_by(
        self, line: _Line, number: int, op: str, args: tuple[Any, ...]
    ) -> Any:
        """Has the hub do something, in a task of an event loop, however long that takes.

        Returns:
            What came of it.

        Raises:
            EngineUnavailable: The hub is gone.
            Exception: What the operation raised.
        """
        try:
            answer = await line.ask_async((None, number, op, args, None))
        except BaseException as error:
            self._give_up(line, error)
            raise
        self.put_back(line)
        return _value_of(answer)[1]

    def make(self, kind: str, *args: Any) -> int:
        """Has the hub make an object; returns its number."""
        number: int = self._ask(("make", kind, args))[1]
        with self.holding:
            self._held[number] = self._held.get(number, 0) + 1
        return number

    def attach(self, number: int) -> None:
        """Has the hub keep an object as long as this process has a handle of it.

        Raises:
            LookupError: It has ended.
        """
        with self.holding:
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
        with self.holding:
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
        line = self.line()
        try:
            answer = line.ask(message)
        except BaseException as error:
            self._give_up(line, error)
            raise
        self.put_back(line)
        return _value_of(answer)

    def _give_up(self, line: _Line, error: BaseException) -> None:
        """Ends a connection whose call has not come to its end.

        Raises:
            EngineUnavailable: The connection has broken.
        """
        if not _is_of_a_socket(error):
            # A handler of a signal has raised, or a task was cancelled. The hub must learn
            # that nobody waits, so that it gives back what the answer would take.
            line.leave()
            return
        line.close()
        self._forget()
        raise self._gone("does not answer any more") from error

    def line(self) -> _Line:
        """Returns a connection that no call uses, which is made if there is none.

        Raises:
            EngineUnavailable: The hub is gone, or cannot be reached.
        """
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
        self.is_broken = True
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
        # Whether the whole of the last request was sent, as far as is known.
        self._is_whole = True

    def keep_alive(self, lease: float) -> None:
        """Has it break if the hub's machine is gone."""
        keep_alive(self._sock, lease)

    def ask(self, message: tuple[Any, ...]) -> tuple[str, Any]:
        """Sends a message and waits for the answer; confirms what was taken by it."""
        self._sock.sendall(_framed(message))
        (size,) = LENGTH.unpack(receive_exactly(self._sock, LENGTH.size))
        return self._confirmed(receive_exactly(self._sock, size))

    async def ask_async(self, message: tuple[Any, ...]) -> tuple[str, Any]:
        """Does the same in a task of an event loop, which watches the socket meanwhile."""
        try:
            await self._send_async(_framed(message))
            (size,) = LENGTH.unpack(await self._receive_async(LENGTH.size))
            data = await self._receive_async(size)
        finally:
            # Some loops change that of what they watch.
            self._sock.setblocking(True)
        return self._confirmed(data)

    async def _send_async(self, data: bytes) -> None:
        left = memoryview(data)
        self._is_whole = False
        while left:
            try:
                left = left[self._sock.send(left, socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                await running().ready((~self._sock.fileno(),))
        self._is_whole = True

    async def _receive_async(self, size: int) -> bytearray:
        data = bytearray(size)
        left = memoryview(data)
        while left:
            try:
                count = self._sock.recv_into(left, 0, socket.MSG_DONTWAIT)
            except BlockingIOError:
                await running().ready((self._sock.fileno(),))
                continue
            if not count:
                raise EOFError
            left = left[count:]
        return data

    def _confirmed(self, data: bytearray) -> tuple[str, Any]:
        kind, value = pickle.loads(data)
        if kind == "taken":
            self._sock.sendall(LENGTH.pack(0))
        return kind, value

    def leave(self) -> None:
        """Ends it in the middle of a request; this process goes on."""
        # If only a part of the request was sent, the hub has not carried it out, and what is
        # sent now passes for the rest.
        if self._is_whole:
            with contextlib.suppress(OSError):
                self._sock.sendall(_framed(("leave",)))
        self.close()

    def close(self) -> None:
        """Closes it."""
        self._sock.close()


def _framed(message: tuple[Any, ...]) -> bytes:
    data = pickle.dumps(message, 5)
    return LENGTH.pack(len(data)) + data


def _value_of(answer: tuple[str, Any]) -> tuple[bool, Any]:
    """Returns whether something was done in time, and what came of it, or raises that."""
    kind, value = answer
    if kind == "error":
        raise value
    return kind != "late", value


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
