"""The hub: a server of the program, with the objects that it shares with tasks on nodes.

One thread serves all. It tries what is asked for (`_kept`), and answers when it can be
done. Each process that uses the hub has a connection that stays open as long as it
lives: when that breaks, the process counts as lost, and what it held is freed. A node
that is gone without a word is noticed when its lease is over, by the keep-alive
messages of TCP.

A message is a length and a pickle; an empty one confirms that an answer has come.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import pickle
import selectors
import socket
import struct
import threading
import time
import weakref

from .. import util
from .._errors import AuthenticationError
from .._listening import Guest
from ..connection import SocketListener, arbitrary_address
from ._kept import KINDS, LATE, NOT_YET, Kept, Request, Taken, User

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = ["LENGTH", "Hub", "keep_alive"]

LENGTH = struct.Struct("<Q")

# Seconds for which no connection is accepted after descriptors have run out.
_CLOSED = 0.1

# The bytes that are read at once.
_AT_ONCE = 1 << 18


def keep_alive(sock: socket.socket, lease: float) -> None:
    """Has a socket of TCP break when its other end is silent for the time of a lease."""
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    between = max(int(lease / 4), 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, between)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, between)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(lease * 1000))


class Hub:
    """Keeps the objects of a program, and serves the processes that use them.

    Args:
        host: The name of this machine for the nodes; None if they are processes of it.
        authkey: The key that a process must know to connect.
        lease: After how many seconds without a sign of life a process is lost.

    Example:
        >>> from procession.distributed.hub import Hub
        >>> hub = Hub(None, b"key", lease=30)
        >>> isinstance(hub.address, str)
        True
        >>> hub.close()
    """

    def __init__(self, host: str | None, authkey: bytes, lease: float) -> None:
        family = "AF_UNIX" if host is None else "AF_INET"
        at = arbitrary_address(family) if host is None else (host, 0)
        self._listener = SocketListener(at, family, 128)
        self.address: Any = self._listener._address
        self.pid = os.getpid()
        self._authkey = authkey
        self._lease = lease
        self._numbers = itertools.count(1)
        self._kept: dict[int, Kept] = {}
        self._users: dict[bytes, User] = {}
        self._deadlines: list[tuple[float, int, Request]] = []
        # Objects that have changed, so that requests which wait for them may be
        # answered now.
        self._changed: dict[Kept, None] = {}
        self._ended = False
        self._selector = selectors.DefaultSelector()
        self._waker, self._woken = socket.socketpair()
        for each in (self._waker, self._woken):
            each.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, self._wake_up)
        self._selector.register(
            self._listener._socket, selectors.EVENT_READ, self._accept
        )
        self._guests: set[Guest] = set()
        # Until when no connection is accepted, for lack of descriptors.
        self._closed_until: float | None = None
        _hubs.add(self)
        self._thread = threading.Thread(
            target=self._serve, name="procession-hub", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Ends it, with all that it keeps; whoever waits for something of it is told."""
        if self.pid != os.getpid() or self._ended:
            return
        self._ended = True
        with contextlib.suppress(OSError):
            self._waker.send(b"x")
        self._thread.join()

    def let_go(self) -> None:
        """Closes the parent's connections, in a forked copy, which must not hold them open."""
        for key in [*self._selector.get_map().values()]:
            # What is registered with the selector is the parent's, too, and stays so.
            sock: Any = key.fileobj
            sock.close()
        self._selector.close()
        self._waker.close()
        # Its file is the parent's.
        if self._listener._unlink is not None:
            self._listener._unlink.cancel()

    # The thread.

    def _serve(self) -> None:
        try:
            while not self._ended:
                for key, events in self._selector.select(self._patience()):
                    key.data(events)
                self._look_at_time()
                self._settle()
        finally:
            self._end()

    def _end(self) -> None:
        for key in [*self._selector.get_map().values()]:
            sock: Any = key.fileobj
            self._selector.unregister(sock)
            sock.close()
        self._selector.close()
        self._waker.close()
        self._listener.close()

    def _patience(self) -> float | None:
        ends = [guest.end for guest in self._guests]
        if self._closed_until is not None:
            ends.append(self._closed_until)
        if self._deadlines:
            ends.append(self._deadlines[0][0])
        return max(min(ends) - time.monotonic(), 0.0) if ends else None

    def _wake_up(self, events: int) -> None:
        self._woken.recv(1024)

    def _accept(self, events: int) -> None:
        try:
            came = self._listener._accept_at_once()
        except OSError as error:
            # No descriptor is left (RLIMIT_NOFILE): those who have connected go on, and may
            # leave some; who wants to connect waits.
            util.sub_warning("the hub can take nobody on for now: %s", error)
            self._selector.unregister(self._listener._socket)
            self._closed_until = time.monotonic() + _CLOSED
            return
        if came is None:
            return
        guest = Guest(*came, self._authkey)
        self._guests.add(guest)
        self._selector.register(
            guest.sock, selectors.EVENT_READ, lambda events: self._hear(guest)
        )
        self._hear(guest)

    def _hear(self, guest: Guest) -> None:
        """Reads on from a process that has connected, until it has proved the key."""
        try:
            is_known = guest.go_on()
        except (AuthenticationError, EOFError, OSError) as error:
            util.info("the hub has sent somebody away: %s", error)
            self._send_away(guest)
            return
        if is_known:
            self._guests.discard(guest)
            self._selector.unregister(guest.sock)
            guest.sock.setblocking(False)
            keep_alive(guest.sock, self._lease)
            peer = _Peer(self, guest.sock)
            self._selector.register(guest.sock, selectors.EVENT_READ, peer.serve)

    def _send_away(self, guest: Guest) -> None:
        self._guests.discard(guest)
        self._selector.unregister(guest.sock)
        guest.hang_up()

    def _look_at_time(self) -> None:
        now = time.monotonic()
        if self._closed_until is not None and self._closed_until <= now:
            self._closed_until = None
            self._selector.register(
                self._listener._socket, selectors.EVENT_READ, self._accept
            )
        for guest in [each for each in self._guests if each.end <= now]:
            self._send_away(guest)
        while self._deadlines and self._deadlines[0][0] <= now:
            _, _, request = heapq.heappop(self._deadlines)
            if request.peer.request is request and request.deadline is not None:
                self._changed[request.kept] = None
                self._answer(request, request.kept.expire(request))

    # What peers call.

    def take(
        self, peer: _Peer, number: int, op: str, args: Any, timeout: float | None
    ) -> None:
        """Takes a request."""
        kept = self._kept.get(number)
        deadline = None if timeout is None else time.monotonic() + timeout
        if kept is None:
            peer.answer("error", _ended(number))
            return
        request = peer.request = Request(peer, kept, op, args, deadline)
        self._changed[kept] = None
        outcome = self._attempt(request)
        if outcome is NOT_YET and timeout is not None and timeout <= 0 and op != "wait":
            outcome = LATE
        if outcome is NOT_YET:
            kept.park(request)
            if deadline is not None:
                entry = deadline, next(self._numbers), request
                heapq.heappush(self._deadlines, entry)
        else:
            self._answer(request, outcome)
        # Settled before the next request, which must not overtake those that wait.
        self._settle()

    def make(self, peer: _Peer, kind: str, args: Iterable[Any]) -> None:
        """Makes an object, and answers with its number."""
        number = next(self._numbers)
        try:
            self._kept[number] = KINDS[kind](number, self._kept.__getitem__, *args)
        except Exception as error:
            peer.answer("error", error)
        else:
            self._attach(peer.user, number)
            peer.answer("value", number)

    def attach(self, peer: _Peer, number: int) -> None:
        """Notes that a process has a handle of an object."""
        if number in self._kept:
            self._attach(peer.user, number)
            peer.answer("value", None)
        else:
            peer.answer("error", _ended(number))

    def _attach(self, user: User, number: int) -> None:
        user.has.add(number)
        self._kept[number].users.add(user)

    def detach(self, peer: _Peer, numbers: Iterable[int]) -> None:
        """Notes that a process has no handle of some objects any more."""
        for number in numbers:
            self._detach(peer.user, number)
        peer.answer("value", None)

    def _detach(self, user: User, number: int) -> None:
        user.has.discard(number)
        kept = self._kept.get(number)
        if kept is not None:
            kept.users.discard(user)
            if not kept.users and not kept.is_sent:
                del self._kept[number]

    def send(self, peer: _Peer, number: int) -> None:
        """Notes that a handle is in bytes of which nobody knows who reads them, and when."""
        kept = self._kept.get(number)
        if kept is not None:
            kept.is_sent = True
        peer.answer("value", None)

    def meet(
        self,
        peer: _Peer,
        key: bytes,
        name: str,
        place: tuple[str, int],
        is_first: bool,
    ) -> None:
        """Takes the name of a process, by its first connection, and by further ones."""
        user = self._users.get(key)
        if is_first:
            # This very process lives, whatever becomes of its connections.
            is_here = place == (os.uname().nodename, os.getpid())
            user = self._users[key] = User(key, name, is_here)
            peer.is_lifeline = True
        if user is None:
            peer.answer("gone", None)
            return
        peer.user = user
        user.peers.add(peer)
        peer.answer("value", self._lease)

    def leave(self, request: Request, died: bool) -> None:
        """Forgets a request that waits."""
        request.kept.leave(request, died)
        self._changed[request.kept] = None

    def undo(self, request: Request, undo: Any) -> None:
        """Gives back what a client was given and has not got."""
        undo()
        self._changed[request.kept] = None

    def lose(self, user: User) -> None:
        """Sets right what a process has left that is gone."""
        del self._users[user.key]
        for peer in [*user.peers]:
            peer.close(died=True)
        for kept in [*user.holds]:
            kept.lose(user)
            self._changed[kept] = None
        for number in [*user.has]:
            if user.is_here and number in self._kept:
                self._kept[number].is_sent = True
            self._detach(user, number)

    def _attempt(self, request: Request) -> Any:
        try:
            return request.kept.attempt(request)
        except Exception as error:
            return error

    def _answer(self, request: Request, outcome: Any) -> None:
        if outcome is NOT_YET:
            return
        peer = request.peer
        peer.request = None
        if outcome is LATE:
            peer.answer("late", None)
        elif isinstance(outcome, BaseException):
            peer.answer("error", outcome)
        elif isinstance(outcome, Taken):
            peer.unconfirmed = request, outcome.undo
            peer.answer("taken", outcome.value)
        else:
            peer.answer("value", outcome)

    def _settle(self) -> None:
        """Answers those that wait, as far as that can be done by now."""
        while self._changed:
            kept, _ = self._changed.popitem()
            for each in kept.affected():
                self._go_through(each)

    def _go_through(self, kept: Kept) -> None:
        for line in [*kept.waiting.values()]:
            while line:
                request = line[0]
                outcome = self._attempt(request)
                if outcome is NOT_YET:
                    break
                line.popleft()
                # What one does may be what another waits for.
                self._changed[kept] = None
                self._answer(request, outcome)


def _ended(number: int) -> LookupError:
    return LookupError(
        f"object #{number} of the hub has ended: no process had a handle of it any more"
    )


_hubs: weakref.WeakSet[Hub] = weakref.WeakSet()


def _after_fork() -> None:
    for hub in [*_hubs]:
        hub.let_go()
    _hubs.clear()


os.register_at_fork(after_in_child=_after_fork)


class _Peer:
    """A connection of a process that uses the hub. It asks for one thing at a time."""

    def __init__(self, hub: Hub, sock: socket.socket) -> None:
        self._hub = hub
        self._sock = sock
        self._read = bytearray()
        self._left = bytearray()
        self.user: Any = None
        self.is_lifeline = False
        self.request: Request | None = None
        self.unconfirmed: Any = None
        self._is_open = True

    def serve(self, events: int) -> None:
        """Reads and writes what can be."""
        try:
            if events & selectors.EVENT_WRITE:
                self._write()
            if events & selectors.EVENT_READ:
                data = self._sock.recv(_AT_ONCE)
                if not data:
                    raise EOFError
                self._read += data
                self._take_messages()
        except BlockingIOError:
            pass
        except Exception as error:
            # Also what is no message: the end of one that was given up, or what bytes that were
            # sent by mistake make of the reader of pickles. The others are served on.
            util.debug("a connection of the hub ends: %r", error)
            self.close(died=True)

    def _take_messages(self) -> None:
        while self._is_open and len(self._read) >= LENGTH.size:
            (size,) = LENGTH.unpack_from(self._read)
            end = LENGTH.size + size
            if len(self._read) < end:
                return
            data = bytes(memoryview(self._read)[LENGTH.size : end])
            del self._read[:end]
            self._take(data)

    def _take(self, data: bytes) -> None:
        if not data:
            self.unconfirmed = None
            return
        what, *more = pickle.loads(data)
        if what == "leave":
            self.close(died=False)
        elif what == "meet":
            self._hub.meet(self, *more)
        elif self.user is None:
            raise OSError("it has not said who it is")
        elif what in ("make", "attach", "detach", "send"):
            getattr(self._hub, what)(self, *more)
        else:
            self._hub.take(self, *more)

    def answer(self, kind: str, value: Any) -> None:
        """Sends an answer."""
        data = pickle.dumps((kind, value), 5)
        self._left += LENGTH.pack(len(data)) + data
        try:
            self._write()
        except OSError as error:
            util.debug("a connection of the hub ends: %r", error)

    def _write(self) -> None:
        """Writes as much as there is room for; the rest when there is more."""
        try:
            while self._left:
                del self._left[: self._sock.send(self._left)]
        except BlockingIOError:
            pass
        wanted = selectors.EVENT_READ
        if self._left:
            wanted |= selectors.EVENT_WRITE
        self._hub._selector.modify(self._sock, wanted, self.serve)

    def close(self, died: bool) -> None:
        """Ends the connection; gives back what was on its way."""
        if not self._is_open:
            return
        self._is_open = False
        self._hub._selector.unregister(self._sock)
        self._sock.close()
        if self.unconfirmed is not None:
            self._hub.undo(*self.unconfirmed)
        # Nobody's from here on: its deadline finds it so.
        request, self.request = self.request, None
        if request is not None:
            self._hub.leave(request, died)
        user = self.user
        if user is not None:
            user.peers.discard(self)
            if self.is_lifeline and user.key in self._hub._users:
                self._hub.lose(user)
