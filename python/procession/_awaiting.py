"""How a task awaits a result of a pool, or something that it can only try to take.

No thread waits and nothing is polled: the thread that runs the pool sets a signal, and other
processes make a descriptor readable, which the loop watches.
"""

from __future__ import annotations

import threading
from collections import deque

from ._event_loops import running

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
    from typing import Any, TypeAlias, TypeVar

    from ._event_loops import Signal
    from ._procession import ApplyResult, IMapIterator
    from .futures import Future

    T = TypeVar("T")

    # Descriptors, as for `EventLoop.ready`, and what keeps them open.
    Watched: TypeAlias = tuple[Sequence[int], object]

__all__ = [
    "NOT_YET",
    "Line",
    "current_task",
    "in_thread",
    "next_of",
    "outcome",
    "outcome_of_future",
    "try_until",
    "uncancelled",
    "writable",
]


def outcome(result: ApplyResult[T]) -> Generator[Any, None, T]:
    """Waits until a result is there, and returns its value or raises its error."""
    loop = running()
    try:
        yield from loop.passed().__await__()
        arrived = loop.signal()
        if result._notify(arrived.set_from_anywhere):
            yield from arrived.__await__()
    except loop.cancelled:
        _cancel(result)
        raise
    return result.get()


def outcome_of_future(future: Future[T]) -> Generator[Any, None, T]:
    """Does the same with a future of an executor."""
    loop = running()
    try:
        yield from loop.passed().__await__()
        arrived = loop.signal()
        future.add_done_callback(lambda _: arrived.set_from_anywhere())
        yield from arrived.__await__()
    except loop.cancelled:
        future.cancel(kill=True)
        raise
    return future.result()


async def next_of(results: IMapIterator[Any], items: Iterator[Any]) -> Any:
    """Waits until there is another result, which it returns or raises, or the end."""
    loop = running()
    try:
        await loop.passed()
        if results._notify():
            arrived = loop.signal()
            # Another task of the loop may have fetched the result: look again.
            while results._notify(arrived.set_from_anywhere):
                await arrived
                arrived = loop.signal()
    except loop.cancelled:
        _cancel(results)
        raise
    try:
        return next(items)
    except StopIteration:
        raise StopAsyncIteration from None


def _cancel(call: ApplyResult[Any] | IMapIterator[Any]) -> None:
    try:
        call.cancel(kill=True)
    except ValueError:
        pass  # The pool is one of threads, which cannot be killed.


class Line:
    """Lets tasks do something one after the other, in the order in which they come."""

    def __init__(self) -> None:
        self._signals: deque[Signal] = deque()

    async def __aenter__(self) -> None:
        loop = running()
        signal = loop.signal()
        self._signals.append(signal)
        if len(self._signals) == 1:
            return
        try:
            await signal
        except BaseException:
            self._leave(signal)
            raise

    async def __aexit__(self, *_: object) -> None:
        self._leave(self._signals[0])

    def _leave(self, signal: Signal) -> None:
        was_first = self._signals[0] is signal
        self._signals.remove(signal)
        if was_first and self._signals:
            self._signals[0].set_from_anywhere()


async def uncancelled(act: Callable[[], Awaitable[None]]) -> None:
    """Does something to its end, though the task is cancelled meanwhile."""
    await running().uncancelled(act)


async def in_thread(call: Callable[[], T], unwanted: Callable[[T], object]) -> T:
    """Has a thread of its own call a function, and waits for what it returns or raises.

    Args:
        call: What is called. It may wait for another machine; nothing ends it early.
        unwanted: Is given, in that thread, what is returned after the task was cancelled.
    """
    loop = running()
    done = loop.signal()
    came: list[tuple[T | None, BaseException | None]] = []
    deciding = threading.Lock()
    is_wanted = True

    def run() -> None:
        outcome: tuple[T | None, BaseException | None]
        try:
            outcome = call(), None
        except BaseException as error:
            outcome = None, error
        with deciding:
            came.append(outcome)
            wanted = is_wanted
        if wanted:
            done.set_from_anywhere()
        elif outcome[1] is None:
            unwanted(outcome[0])

    threading.Thread(target=run, name="procession-connects", daemon=True).start()
    try:
        await done
    except BaseException:
        with deciding:
            is_wanted = False
            late = came
        if late and late[0][1] is None:
            unwanted(late[0][0])  # type: ignore[arg-type]
        raise
    value, error = came[0]
    if error is not None:
        raise error
    return value  # type: ignore[return-value]


def current_task() -> object:
    """Returns the task that runs.

    Raises:
        RuntimeError: No event loop runs.
    """
    return running().task()


async def writable(fd: int | None) -> None:
    """Waits until a descriptor may be written to; about a second if there is none."""
    fds = () if fd is None else (~fd,)
    await running().ready(fds, doubtful=fd is None)


# What an attempt that has not succeeded returns.
NOT_YET: Any = object()


async def try_until(
    attempt: Callable[[], T],
    arm: Callable[[], Watched | None],
    *,
    all_at_once: bool = False,
    doubtful: Callable[[], bool] | None = None,
) -> T:
    """Tries something until it succeeds, and waits in between.

    The task can be cancelled only while it waits, when it has taken nothing yet.

    Args:
        attempt: Returns what the task awaits, or `NOT_YET`.
        arm: Returns descriptors of which one turns ready when it is worth another try;
            None when it is now.
        all_at_once: As for `EventLoop.ready`.
        doubtful: Returns, before each wait, what `EventLoop.ready` is given by that name.
    """
    loop = running()
    await loop.passed()
    again = False
    while (result := attempt()) is NOT_YET:
        watched = arm()
        if watched is not None:
            await loop.ready(
                watched[0],
                all_at_once=all_at_once,
                again=again,
                doubtful=doubtful is not None and doubtful(),
            )
            again = True
    return result
