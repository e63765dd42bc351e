"""Attributes of the package's objects: which ones completion offers, and which a user's hide."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    overridable = property
else:

    class overridable(property):
        """A property that the standard library's class does not have.

        A class that a program has derived from one of ours may have an attribute of the same
        name, and set it in an instance: that attribute hides ours, as it would not hide a
        plain `property`.
        """

        def __set_name__(self, owner: type, name: str) -> None:
            self._name = name

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            if instance is None or self._name not in instance.__dict__:
                return super().__get__(instance, owner)
            return instance.__dict__[self._name]

        def __set__(self, instance: Any, value: Any) -> None:
            instance.__dict__[self._name] = value

        def __delete__(self, instance: Any) -> None:
            try:
                del instance.__dict__[self._name]
            except KeyError:
                raise AttributeError(self._name) from None


__all__ = ["overridable", "public", "public_names"]


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
