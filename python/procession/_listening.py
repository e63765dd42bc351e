"""The socket of a listener, and its guests, which have yet to prove the key.

One guest that keeps silent must not hold up the others. So `accept` speaks to all of
them side by side: it returns the first that has proved the key, or raises the error of
one that has not. The others stay guests for the next call.

Several processes may accept from one socket, as servers that fork ahead do. So the
descriptor never blocks, and a wait for it is a wait for the guests, too.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
import time
from typing import Any

from . import _challenge, util
from ._descriptors import file_of
from ._errors import AuthenticationError
from ._thread_lock import under_lock

__all__ = ["Guest", "Guests", "ListeningSocket"]

# How many guests there may be; the eldest has to go for one more.
_MOST = 128

# Seconds that a guest is alone with the host. Most prove the key in less, so that
# further connections still wait at the socket, where a program may look for them.
_ALONE = 0.05


class ListeningSocket(socket.socket):
    """A socket whose descriptor does not block, though `accept` does.

    Args:
        handle: The descriptor, which becomes the socket's.
    """

    def __init__(self, handle: int) -> None:
        super().__init__(fileno=handle)
        os.set_blocking(handle, False)

    def accept(self) -> tuple[socket.socket, Any]:
        """Waits for somebody to connect, as that of any socket."""
        while True:
            try:
                return super().accept()
            except BlockingIOError:
                if self.gettimeout() is not None:
                    raise
            poll = select.poll()
            poll.register(self, select.POLLIN)
            poll.poll()

    def accept_at_once(self) -> tuple[socket.socket, Any] | None:
        """Returns the socket and address of a process that has connected, or None."""
        try:
            return super().accept()
        except (BlockingIOError, TimeoutError):
            return None


class Guest:
    """Somebody who has connected.

    Args:
        sock: The socket, which becomes the guest's.
        address: Where it comes from.
        authkey: The key that it has to know.
    """

    def __init__(self, sock: socket.socket, address: Any, authkey: bytes) -> None:
        self.sock = sock
        self.address = address
        now = time.monotonic()
        self.slow = now + _ALONE
        self.end = now + _challenge.HANDSHAKE
        self.is_ours = False
        sock.setblocking(False)
        self._file = file_of(sock.fileno())
        self._exchange = _challenge.welcoming(authkey)
        self._read = b""
        self._is_begun = False

    def go_on(self) -> bool:
        """Does what can be done without waiting; returns whether the key is proved.

        Raises:
            AuthenticationError: The guest does not know the key.
            EOFError: It has hung up.
            OSError: The same, or it has sent what is not a part of the handshake.
        """
        if file_of(self.sock.fileno()) != self._file:
            raise OSError(
                "the program has closed the socket of a process that has connected"
            )
        message: bytes | None = None
        if self._is_begun:
            message = self._message()
            if message is None:
                return False
        self._is_begun = True
        while True:
            try:
                wanted = self._exchange.send(message)
            except StopIteration as end:
                self.is_ours = end.value
                self.sock.setblocking(True)
                return True
            if wanted is None:
                message = self._message()
                if message is None:
                    return False
            else:
                message = None
                self._say(wanted)

    def hang_up(self) -> None:
        """Closes the socket, unless its number is another's by now."""
        if file_of(self.sock.fileno()) == self._file:
            self.sock.close()
        else:
            self.sock.detach()

    def _say(self, message: bytes) -> None:
        # A few hundred bytes in all, for which any socket has room.
        self.sock.sendall(struct.pack("!i", len(message)) + message)

    def _message(self) -> bytes | None:
        """Returns a message if it is there whole, and reads no more than that."""
        length = self._have(4)
        if length is None:
            return None
        (size,) = struct.unpack("!i", length)
        if not 0 <= size <= _challenge.MAX_MESSAGE:
            raise OSError("bad message length")
        message = self._have(4 + size)
        if message is None:
            return None
        self._read = b""
        return message[4:]

    def _have(self, size: int) -> bytes | None:
        while len(self._read) < size:
            try:
                read = self.sock.recv(size - len(self._read))
            except BlockingIOError:
                return None
            if not read:
                raise EOFError
            self._read += read
        return self._read[:size]


class Guests:
    """Those who have connected to a listener and not yet proved that they know the key.

    Args:
        listener: The `SocketListener`.
    """

    def __init__(self, listener: Any) -> None:
        self._listener = listener
        self._guests: list[Guest] = []
        self._lock = threading.Lock()
        util.register_after_fork(self, Guests._after_fork)

    def accept(self, authkey: bytes) -> tuple[int, bool]:
        """Waits for somebody who proves the key.

        Returns:
            The descriptor of the socket, and whether the other end is ours, too.

        Raises:
            AuthenticationError: Somebody has not proved it.
            EOFError: Somebody has hung up.
            TimeoutError: The listener's socket has a timeout.
            OSError: A call of the sockets failed.
        """
        # One thread at a time; what it leaves is for the next.
        return under_lock(self._lock, self._accept, authkey)

    def _accept(self, authkey: bytes) -> tuple[int, bool]:
        seconds = self._listener._socket.gettimeout()
        end = None if seconds is None else time.monotonic() + seconds
        if not self._guests:
            self._let_in(self._listener._accept(), authkey)
        ready = list(self._guests)
        while True:
            for guest in ready:
                if self._proves(guest):
                    self._guests.remove(guest)
                    self._listener._last_accepted = guest.address
                    return guest.sock.detach(), guest.is_ours
            ready = self._wait(end, authkey)

    def close(self) -> None:
        """Closes the connections of all guests."""
        guests, self._guests = self._guests, []
        for guest in guests:
            guest.hang_up()

    def _let_in(self, came: tuple[socket.socket, Any], authkey: bytes) -> Guest:
        if len(self._guests) >= _MOST:
            self._guests.pop(0).hang_up()
        guest = Guest(*came, authkey)
        self._guests.append(guest)
        return guest

    def _proves(self, guest: Guest) -> bool:
        try:
            if guest.go_on():
                return True
            if time.monotonic() < guest.end:
                return False
            raise AuthenticationError(_challenge.LATE)
        except BaseException:
            if guest in self._guests:
                self._guests.remove(guest)
            guest.hang_up()
            raise

    def _wait(self, end: float | None, authkey: bytes) -> list[Guest]:
        """Waits until there is something to do; returns the guests that can go on."""
        poll = select.poll()
        now = time.monotonic()
        times = [guest.end for guest in self._guests]
        door = self._listener._socket.fileno()
        slow = min((guest.slow for guest in self._guests), default=now)
        if slow <= now:
            poll.register(door, select.POLLIN)
        else:
            times.append(slow)
        by_number = {guest.sock.fileno(): guest for guest in self._guests}
        for number in by_number:
            poll.register(number, select.POLLIN)
        if end is not None:
            times.append(end)
        left = None if not times else max(min(times) - now, 0.0) * 1000 + 1
        events = poll.poll(left)
        now = time.monotonic()
        ready = [by_number[number] for number, _ in events if number in by_number]
        late = [each for each in self._guests if each.end <= now and each not in ready]
        if any(number == door for number, _ in events):
            came = self._listener._accept_at_once()
            if came is not None:
                late.append(self._let_in(came, authkey))
        elif not ready and not late and end is not None and end <= now:
            raise TimeoutError("timed out")
        return ready + late

    def _after_fork(self) -> None:
        # The guests are the parent's.
        self._lock = threading.Lock()
        self.close()
