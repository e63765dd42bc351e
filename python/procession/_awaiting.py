"""What is done where asyncio awaits a result of a pool.

No thread waits and nothing is polled: whoever runs the pool tells the loop.
"""

from __future__ import annotations

import asyncio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from typing import Any, TypeVar

    from ._procession import ApplyResult, IMapIterator

    T = TypeVar("T")

__all__ = ["next_of", "outcome"]


def outcome(result: ApplyResult[T]) -> Generator[Any, None, T]:
    """Waits until a result is there, and returns its value or raises its error."""
    loop = asyncio.get_running_loop()
    arrived = loop.create_future()
    if result._notify(_waker(loop, arrived)):
        try:
            yield from arrived.__await__()
        except asyncio.CancelledError:
            _cancel(result)
            raise
    return result.get()


async def next_of(results: IMapIterator[Any], items: Iterator[Any]) -> Any:
    """Waits until there is a result, or an end; returns the next of what is made of them."""
    if results._notify():
        loop = asyncio.get_running_loop()
        arrived = loop.create_future()
        # Another task of the loop may fetch what has come.
        while results._notify(_waker(loop, arrived)):
            try:
                await arrived
            except asyncio.CancelledError:
                _cancel(results)
                raise
            arrived = loop.create_future()
    try:
        return next(items)
    except StopIteration:
        raise StopAsyncIteration from None


def _waker(
    loop: asyncio.AbstractEventLoop, arrived: asyncio.Future[None]
) -> Callable[[], None]:
    """Returns a function that has a future of the loop be done, from any thread."""

    def arrive() -> None:
        if not arrived.done():
            arrived.set_result(None)

    def wake() -> None:
        try:
            loop.call_soon_threadsafe(arrive)
        except RuntimeError:
            pass  # The loop is closed: nobody awaits it any more.

    return wake


def _cancel(call: ApplyResult[Any] | IMapIterator[Any]) -> None:
    try:
        call.cancel(kill=True)
    except ValueError:
        pass  # A thread cannot be killed.
