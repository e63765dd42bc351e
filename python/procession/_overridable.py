"""Properties that the standard library's classes do not have.

A class that a program has derived from one of these may have an attribute of the same
name, and set it in an instance: that attribute hides ours, as it would not hide a plain
`property`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    overridable = property
else:

    class overridable(property):
        """A property that an attribute of the instance hides."""

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


__all__ = ["overridable"]
