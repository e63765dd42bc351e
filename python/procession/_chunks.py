"""Tasks that have several inputs each: how they are cut, run, and put together again."""

from __future__ import annotations

import itertools

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, Self

    from ._procession import IMapIterator

__all__ = ["Items", "cut", "mapstar", "starmapstar"]


def cut(iterable: Iterable[Any], size: int) -> Iterator[tuple[Any, ...]]:
    """Yields the items of an iterable, so many at a time; of 0 there are none."""
    iterator = iter(iterable)
    while size and (chunk := tuple(itertools.islice(iterator, size))):
        yield chunk


def mapstar(args: tuple[Any, ...]) -> list[Any]:
    """Returns the list of `map(*args)`."""
    return list(map(*args))


def starmapstar(args: tuple[Any, ...]) -> list[Any]:
    """Returns the list of `itertools.starmap(*args)`."""
    return list(itertools.starmap(args[0], args[1]))


class Items(itertools.chain):  # type: ignore[type-arg]
    """The results of an `imap` whose tasks have several inputs each."""

    _results: IMapIterator

    @classmethod
    def of(cls, results: IMapIterator) -> Self:
        """Returns the results that lists of results have."""
        items: Any = cls.from_iterable(results)
        items._results = results
        this: Self = items
        return this

    def cancel(self, kill: bool = False) -> bool:
        """As that of an `imap` whose tasks have one input each."""
        return self._results.cancel(kill)

    def close(self) -> None:
        """As that of an `imap` whose tasks have one input each."""
        self._results.close()


# They are found there by whoever unpickles them.
for _function in mapstar, starmapstar:
    _function.__module__ = "procession.pool"
