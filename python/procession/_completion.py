"""What `dir()` and completion offer of the package's objects: names that users call."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["public", "public_names"]


def public_names(self: object) -> list[str]:
    """Returns the names of an object without those that are the package's own.

    It is the `__dir__` of the package's classes. An object of a user's subclass keeps all
    names: those that begin with an underscore may be the user's.
    """
    names = object.__dir__(self)
    if type(self).__module__.partition(".")[0] != __package__:
        return list(names)
    return public(names)


def public(names: Iterable[str]) -> list[str]:
    """Returns the names that do not begin with one underscore."""
    return [name for name in names if name[:1] != "_" or name[:2] == "__"]
