"""Hands descriptors of this process to relatives that ask for them.

A descriptor inside a message (a connection put into a queue) cannot travel as a
number. Its wrapper carries an address of this process and a key instead; a process that
unpickles it connects, and a thread here sends the descriptor. A process that is being
started inherits its descriptors and needs none of this.

As in `multiprocessing.resource_sharer`.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from . import _descriptors, _registry, reduction, util
from ._thread_lock import under_lock
from .connection import Client, Connection, Listener

__all__ = ["DupFd", "stop"]


class DupFd:
    """A descriptor that may be pickled at any time, and detached once."""

    def __init__(self, fd: int) -> None:
        copy = _descriptors.KeptFd(os.dup(fd))

        def send(connection: Connection, pid: int) -> None:
            reduction.send_handle(connection, copy.fileno(), pid)

        self._id = _resource_sharer.register(send, copy.close)

    def forget(self) -> None:
        """Closes the descriptor, if nobody can ask for it: it was not sent."""
        _resource_sharer.forget(self._id)

    def detach(self) -> int:
        """Returns the descriptor, in the process that asks. Works once."""
        with _resource_sharer.get_connection(self._id) as connection:
            return reduction.recv_handle(connection)


class _ResourceSharer:
    """The thread that hands out what was registered, and where to reach it."""

    def __init__(self) -> None:
        self._key = 0
        self._cache: dict[int, tuple[Callable[..., None], Callable[[], None]]] = {}
        self._lock = threading.Lock()
        self._listener: Listener | None = None
        self._address: Any = None
        self._thread: threading.Thread | None = None
        util.register_after_fork(self, _ResourceSharer._afterfork)

    def register(
        self, send: Callable[[Connection, int], None], close: Callable[[], None]
    ) -> tuple[Any, int]:
        """Keeps a resource until it is asked for; returns what to ask with."""
        return under_lock(self._lock, self._register, send, close)

    def _register(
        self, send: Callable[[Connection, int], None], close: Callable[[], None]
    ) -> tuple[Any, int]:
        if self._listener is not None and not self._listener.is_open():
            self._forget()  # The program has closed its socket.
        if self._address is None:
            self._start()
        self._key += 1
        self._cache[self._key] = (send, close)
        return self._address, self._key

    def forget(self, ident: tuple[Any, int]) -> None:
        """Gives a resource back that nobody will ask for."""
        _send, close = under_lock(self._lock, self._cache.pop, ident[1], (None, None))
        if close is not None:
            close()

    @staticmethod
    def get_connection(ident: tuple[Any, int]) -> Connection:
        """Returns a connection on which the named resource comes."""
        address, key = ident
        connection = Client(address, authkey=_registry.current_process().authkey)
        connection.send((key, os.getpid()))
        return connection

    def stop(self, timeout: float | None = None) -> None:
        """Ends the thread and forgets what nobody has asked for."""
        under_lock(self._lock, self._stop, timeout)

    def _stop(self, timeout: float | None) -> None:
        if self._thread is None or self._listener is None:
            return
        authkey = _registry.current_process().authkey
        with Client(self._address, authkey=authkey) as connection:
            connection.send(None)
        self._thread.join(timeout)
        if self._thread.is_alive():
            util.sub_warning("_ResourceSharer thread did not stop when asked")
        self._listener.close()
        self._forget()

    def _forget(self) -> None:
        for _, close in self._cache.values():
            close()
        self._cache.clear()
        self._thread = self._address = self._listener = None

    def _afterfork(self) -> None:
        self._lock._at_fork_reinit()  # type: ignore[attr-defined]
        if self._listener is not None:
            self._listener.close()
        self._forget()

    def _start(self) -> None:
        util.debug("starting listener and thread for sending handles")
        authkey = _registry.current_process().authkey
        # Without a file nothing is left behind, however this process ends.
        self._address = f"\0procession-{os.urandom(16).hex()}"
        self._listener = Listener(self._address, backlog=128, authkey=authkey)
        self._thread = threading.Thread(
            target=self._serve, name="resource-sharer", daemon=True
        )
        self._thread.start()

    def _serve(self) -> None:
        # Blocked here, so that signals reach the main thread.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        listener = self._listener
        assert listener is not None, "_start has made it"
        while True:
            try:
                with listener.accept() as connection:
                    message = connection.recv()
                    if message is None:
                        return
                    key, pid = message
                    send, close = self._cache.pop(key)
                    try:
                        send(connection, pid)
                    finally:
                        close()
            except Exception:
                if not listener.is_open():
                    # Nobody can connect to it any more; the next caller starts another.
                    return
                if not util.is_exiting():
                    sys.excepthook(*sys.exc_info())


_resource_sharer = _ResourceSharer()
stop = _resource_sharer.stop
