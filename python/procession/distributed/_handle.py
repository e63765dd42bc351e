"""What stands for an object of a hub in the processes that use it."""

from __future__ import annotations

import os
import weakref

from . import _session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .hub import Hub

__all__ = ["Handle"]

# The hubs of this process, by address.
hubs: weakref.WeakValueDictionary[Any, Hub] = weakref.WeakValueDictionary()


# The handles that have made their objects, and may be copied by a fork.
_only: weakref.WeakSet[Handle] = weakref.WeakSet()


class Handle:
    """An object that a hub keeps; it may be pickled, and sent to any process of the cluster.

    The object ends with the handle that it was made with, unless that was pickled or copied
    by a fork; otherwise with the hub.
    """

    _address: Any
    _number: int
    # Whether no other handle of the object can be anywhere.
    _is_only = False

    def _make(self, address: Any, kind: str, *args: Any) -> None:
        self._address = address
        self._number = _session.session_of(address).make(kind, *args)
        self._is_only = True
        _only.add(self)

    def _call(self, op: str, *args: Any) -> Any:
        """Has the hub do something that needs no time; returns what came of it."""
        session = _session.session_of(self._address)
        return session.call(self._number, op, args, None)[1]

    def _wait(
        self, op: str, *args: Any, timeout: float | None = None
    ) -> tuple[bool, Any]:
        """Has the hub do something that may have to wait; returns whether it was in time."""
        session = _session.session_of(self._address)
        return session.call(self._number, op, args, timeout)

    def __getstate__(self) -> dict[str, Any]:
        self._is_only = False
        return {**vars(self)}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Handle):
            return NotImplemented
        return (self._address, self._number) == (other._address, other._number)

    def __hash__(self) -> int:
        return hash((self._address, self._number))

    def __del__(self) -> None:
        if self._is_only:
            hub = hubs.get(self._address)
            if hub is not None:
                hub.discard(self._number)

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} #{self._number} of the hub at {self._address!r}>"
        )


def _before_fork() -> None:
    for handle in [*_only]:
        handle._is_only = False
    _only.clear()


os.register_at_fork(before=_before_fork)
