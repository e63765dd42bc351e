"""Tasks that have several inputs each: how they are cut, run, and put together again."""

from __future__ import annotations

import itertools
import operator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, NoReturn, Self

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
    """The results of an `imap` whose tasks have several inputs each.

    As with one input each, it goes on behind an error. In `multiprocessing` it is a
    generator, which has ended once it has raised.
    """

    _results: IMapIterator[Any]
    _lists: _Lists

    @classmethod
    def of(cls, results: IMapIterator[Any]) -> Self:
        """Returns the results that lists of results have."""
        lists = _Lists(results)
        items: Any = cls.from_iterable(lists)
        items._results, items._lists = results, lists
        this: Self = items
        return this

    def cancel(self, kill: bool = False) -> bool:
        """As that of an `imap` whose tasks have one input each."""
        return self._results.cancel(kill)

    def close(self) -> None:
        """As that of an `imap` whose tasks have one input each."""
        self._results.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        # Not at the top: it imports asyncio.
        from ._awaiting import next_of

        if self._lists.left():
            return next(self)
        return await next_of(self._results, self)


class _Lists:
    """Yields lists of results, and in the place of an error what raises it.

    A chain ends when what it is made of raises an error, but not when one of its links
    does.
    """

    def __init__(self, results: IMapIterator[Any]) -> None:
        self._results = results
        # What comes from the latest of them.
        self._items: Any = iter(())

    def left(self) -> int:
        """Returns how many results of the latest list were not yet fetched."""
        return operator.length_hint(self._items)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        try:
            self._items = iter(next(self._results))
            return self._items
        except StopIteration:
            raise
        except BaseException as error:
            # It goes with the traceback that it came with, and would keep this frame.
            trace = error.__traceback__
            return _Raised(error.with_traceback(trace and trace.tb_next))


class _Raised:
    """Raises an error once, and then is at its end."""

    def __init__(self, error: BaseException) -> None:
        self._errors = [error]

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> NoReturn:
        if not self._errors:
            raise StopIteration
        raise self._errors.pop()


# They are found there by whoever unpickles them.
for _function in mapstar, starmapstar:
    _function.__module__ = "procession.pool"
