"""What stands for an object of a hub in the processes that use it."""

from __future__ import annotations

from .._awaiting import in_thread
from .._event_loops import running
from . import _session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._session import Session, _Line

__all__ = ["Handle", "rebuild"]


class Handle:
    """An object that a hub keeps; it may be pickled, and sent to any process of the cluster.

    The object ends when no process has a handle of it. A handle in the arguments of a task or
    a process counts until that has ended; one that was pickled otherwise counts for ever.
    """

    _address: Any
    _number: int
    # The session that counts this handle.
    _session: Session | None = None

    def _make(self, address: Any, kind: str, *args: Any) -> None:
        session = _session.session_of(address)
        self._address = address
        self._number = session.make(kind, *args)
        self._session = session

    def _use(self) -> Session:
        """Returns the session of this process, which counts this handle.

        Raises:
            LookupError: The object has ended.
        """
        session = _session.session_of(self._address)
        if self._session is not session:
            with session.holding:
                # It was unpickled, copied by a fork, or the connection to the hub has broken.
                # Another thread may have been here first.
                if self._session is not session:
                    session.attach(self._number)
                    self._session = session
        return session

    def _call(self, op: str, *args: Any) -> Any:
        """Has the hub do something that needs no wait; returns the result."""
        return self._use().call(self._number, op, args, None)[1]

    def _wait(
        self, op: str, *args: Any, timeout: float | None = None
    ) -> tuple[bool, Any]:
        """Has the hub do something that may have to wait; returns whether it was done in time."""
        return self._use().call(self._number, op, args, timeout)

    async def _call_async(self, op: str, *args: Any) -> Any:
        """Has the hub do something, in a task of asyncio or trio; returns the result.

        A task that is cancelled has the hub forget it. Each task that waits has a connection of
        its own, as each thread has.
        """
        await running().passed()
        session = _session.session_of(self._address)
        line = session.idle_line() if self._session is session else None
        if line is None:
            # The hub may be far away, and the loop must not stand still for that.
            connected = await in_thread(self._connect, _put_back)
            session, line = connected
        return await session.call_by(line, self._number, op, args)

    def _connect(self) -> tuple[Session, _Line]:
        session = self._use()
        return session, session.line()

    def reduced(self) -> tuple[Any, ...]:
        """Returns the pickled form, for a caller that has the reader's handle counted."""
        return rebuild, (type(self), self.__getstate__())

    def keep(self) -> None:
        """Keeps the object for as long as the hub lives."""
        self._use().send(self._number)

    def __getstate__(self) -> dict[str, Any]:
        own = "_session", "_taken"
        return {name: value for name, value in vars(self).items() if name not in own}

    def __reduce__(self) -> tuple[Any, ...]:
        self.keep()
        return self.reduced()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Handle):
            return NotImplemented
        return (self._address, self._number) == (other._address, other._number)

    def __hash__(self) -> int:
        return hash((self._address, self._number))

    def __del__(self) -> None:
        if self._session is not None:
            self._session.drop(self._number)

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} #{self._number} of the hub at {self._address!r}>"
        )


def _put_back(unused: tuple[Session, _Line]) -> None:
    session, line = unused
    session.put_back(line)


def rebuild(kind: type[Handle], state: dict[str, Any]) -> Handle:
    """Returns the handle that a pickle tells of.

    Raises:
        EngineUnavailable: The hub is gone.
        LookupError: The object has ended.
    """
    handle = kind.__new__(kind)
    vars(handle).update(state)
    handle._use()
    return handle
