"""Properties that the standard library's classes do not have.

A class that a program has derived from one of these may have an attribute of the same name,
and set it in an instance: it takes the place of ours, as it does not with a `property`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    overridable = property
else:

    class overridable:
        """A property that an attribute of the instance hides.

        Args:
            get: Returns the value for an instance.
        """

        def __init__(self, get) -> None:
            self._get = get
            self.__doc__ = get.__doc__
            self.__name__ = get.__name__

        def __get__(self, instance, owner=None):
            return self if instance is None else self._get(instance)


__all__ = ["overridable"]
