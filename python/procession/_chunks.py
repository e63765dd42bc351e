"""Tasks that have several inputs each: how they are cut, run, and put together again."""

from __future__ import annotations

import itertools
import operator

from ._errors import SoftTimeout
from ._outcome import unpack_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any, NoReturn, Self

    from ._procession import IMapIterator

__all__ = ["Failure", "Items", "collect", "cut", "ended_by", "mapstar", "starmapstar"]


def cut(iterable: Iterable[Any], size: int) -> Iterator[tuple[Any, ...]]:
    """Yields the items of an iterable, so many at a time; of 0 there are none."""
    iterator = iter(iterable)
    while size and (chunk := tuple(itertools.islice(iterator, size))):
        yield chunk


def mapstar(args: tuple[Any, ...]) -> list[Any]:
    """Returns the list of `map(*args)`, of a function and its inputs."""
    return _whole(args[0], list(map(*args)), args[1])


def starmapstar(args: tuple[Any, ...]) -> list[Any]:
    """Returns the list of `itertools.starmap(*args)`."""
    return _whole(args[0], list(itertools.starmap(*args)), args[1])


def _whole(function: Any, results: list[Any], inputs: Any) -> list[Any]:
    if len(results) < len(inputs):
        raise ended_by(function, len(results))
    return results


def ended_by(function: Any, done: int) -> RuntimeError:
    """Returns the error of a function that has ended the list of its results.

    Args:
        function: The function.
        done: How many results there are.
    """
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return RuntimeError(
        f"{name} raised StopIteration for input {done} (from 0) of its chunk, which is no end of"
        " the results"
    )


def collect(
    function: Callable[..., Any],
    inputs: Sequence[Any],
    star: bool,
    pack: Callable[[BaseException, object], Any],
) -> list[Any]:
    """Returns the results, with what arrives as the error in the place of each that failed.

    Args:
        function: What is called with each input.
        inputs: The inputs.
        star: Whether an input is the arguments of a call.
        pack: Turns an error into data that crosses.
    """
    results: list[Any] = []
    try:
        for each in inputs:
            try:
                results.append(function(*each) if star else function(each))
            except (KeyboardInterrupt, MemoryError, SoftTimeout):
                raise  # An interrupt is not this input's error, but the whole task's.
            except BaseException as error:
                results.append(Failure(pack(_from_below(error), None)))
    except SoftTimeout as error:
        # The soft limit of the task is over: the inputs that it has not done get this
        # error.
        failure = Failure(pack(_from_below(error), None))
        results.extend([failure] * (len(inputs) - len(results)))
    return results


def _from_below(error: BaseException) -> BaseException:
    """Returns an error without the frame that has caught it, which tells nobody anything."""
    trace = error.__traceback__
    return error.with_traceback(trace and trace.tb_next)


class Failure:
    """Stands for an error among results, and arrives as that error."""

    def __init__(self, packed: Any) -> None:
        self._packed = packed

    def __reduce__(self) -> tuple[Any, ...]:
        return unpack_error, (self._packed,)


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
        """Does what `IMapIterator` does, whose tasks have one input each."""
        return self._results.cancel(kill)

    def close(self) -> None:
        """Does what `IMapIterator` does, whose tasks have one input each."""
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
        # The results that are left of the latest chunk.
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
            # The error is raised with the traceback that it had, as a longer one would
            # keep this frame.
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


# Processes that unpickle these functions find them in `procession.pool`.
for _function in mapstar, starmapstar:
    _function.__module__ = "procession.pool"
