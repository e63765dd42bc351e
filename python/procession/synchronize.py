"""Locks, semaphores, conditions, events and barriers between processes.

The classes are those of `multiprocessing.synchronize`; what they do is done by the
native module, on words in the family's arena. Differences: they may be pickled at any
time, not only for a child that is being started; what a killed process held is
noticed (`OwnerDied`, and permits of a semaphore come back); waits are fair.
"""

from __future__ import annotations

import threading

from . import _procession, _registry, context
from ._attributes import public, public_names
from ._checks import checked_callback, checked_whole
from ._predicates import WaitsForPredicate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, TypeVar

    T = TypeVar("T")

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "Lock",
    "RLock",
    "Semaphore",
]

RECURSIVE_MUTEX, SEMAPHORE = 0, 1
SEM_VALUE_MAX = _procession.SEM_VALUE_MAX


class SemLock:
    """The common part of locks and semaphores, beside their native bases."""

    __dir__ = public_names

    @property
    def _semlock(self) -> Any:
        """The object itself, for clients of `multiprocessing` that use this attribute."""
        return self

    def locked(self) -> bool:
        """Returns whether the lock is taken, as in `multiprocessing` of Python 3.14."""
        return self._semlock._is_zero()  # type: ignore[no-any-return]

    async def acquire_async(self) -> bool:
        """Waits, in a task of asyncio or trio, until it can be taken, and takes it.

        As `acquire`, and as there its owner is this process: any task or thread of the
        process may release it, and if the process dies others are told. (The owner of an
        `RLock` is the task, which has to release it in the same thread.) No thread waits.
        A task that is cancelled has taken nothing.

        Returns:
            True: deadlines are those of the loop, such as `asyncio.timeout`.

        Raises:
            OwnerDied: A process died while it held it; it is free again now.
            RuntimeError: No event loop runs.

        Example:
            >>> import asyncio
            >>> import procession
            >>> async def main():
            ...     lock = procession.Lock()
            ...     async with lock:
            ...         print(lock.locked())
            ...     async with asyncio.timeout(10):
            ...         return await lock.acquire_async()
            >>> asyncio.run(main())
            True
            True
        """
        from ._awaiting import try_until

        taken: bool = await try_until(self._taker(), self._semlock._arm)
        return taken

    def _taker(self) -> Callable[[], Any]:
        """Returns what tries to take it for this task, and returns NOT_YET until it can."""
        from ._awaiting import NOT_YET

        semlock = self._semlock
        return lambda: semlock._acquire_now() or NOT_YET

    async def __aenter__(self) -> bool:
        return await self.acquire_async()

    async def __aexit__(self, *_: object) -> None:
        self._give_back()

    def _give_back(self) -> None:
        """Releases it, for the task that has taken it."""
        self._semlock.release()

    def __getstate__(self) -> Any:
        return (self._semlock._lend(),)

    def __setstate__(self, state: Any) -> None:
        self._semlock._attach(*state)


@_procession.quick
class Semaphore(SemLock, _procession.Semaphore):
    """A semaphore, as in `multiprocessing`.

    The permits that a process held when it died come back, though never above the
    first value.

    Args:
        value: How often it can be taken before somebody has to wait.
        ctx: The context that makes it; it makes no difference here.

    Example:
        >>> import procession
        >>> seats = procession.Semaphore(2)
        >>> with seats:
        ...     print(seats.get_value(), seats.locked())
        1 False
        >>> seats.get_value()
        2
    """

    def __init__(
        self, value: int = 1, *, ctx: context.BaseContext | None = None
    ) -> None:
        self._create(value, SEM_VALUE_MAX)

    def get_value(self) -> int:
        """Returns how often it can be taken now."""
        return self._get_value()

    def __getstate__(self) -> Any:
        return self._lend(), self.maxvalue

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(value={_value_of(self)})>"


@_procession.quick
class BoundedSemaphore(Semaphore):
    """A semaphore that cannot rise above its first value, as in `multiprocessing`.

    Example:
        >>> import procession
        >>> seats = procession.BoundedSemaphore(1)
        >>> seats.acquire(), seats.acquire(timeout=0.01), seats.get_value()
        (True, False, 0)
        >>> seats.release()
        >>> seats.locked()
        False
    """

    def __init__(
        self, value: int = 1, *, ctx: context.BaseContext | None = None
    ) -> None:
        # A value below zero is refused by `_create`.
        self._create(value, max(value, 0))

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"<{name}(value={_value_of(self)}, maxvalue={self.maxvalue})>"


@_procession.quick
class Lock(SemLock, _procession.Lock):
    """A lock that anybody may release, as in `multiprocessing`.

    If the process that took it dies, one of those that wait, or else the next who
    takes it, gets `OwnerDied`; afterwards the lock is free.

    Example:
        >>> import procession
        >>> printing = procession.Lock()
        >>> printing.acquire()
        True
        >>> printing.locked(), printing.acquire(timeout=0.01)
        (True, False)
        >>> printing.release()
    """

    def __init__(self, *, ctx: context.BaseContext | None = None) -> None:
        self._create()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(owner={_owner_of(self)[0]})>"


@_procession.quick
class RLock(SemLock, _procession.RLock):
    """A lock that its owner may take again, as in `multiprocessing`.

    If the process that holds it dies, one other gets `OwnerDied`, as for `Lock`. Its owner
    is a thread, or a task that has awaited it: then other tasks of that thread wait, and
    only the task itself may take it again, by `acquire_async` or `async with`.

    Example:
        >>> import procession
        >>> tree = procession.RLock()
        >>> tree.acquire(), tree.acquire()
        (True, True)
        >>> tree.release()
        >>> tree.locked()  # It was taken twice.
        True
        >>> tree.release()
    """

    # The task that owns it, if one does.
    _task: Any = None

    def __init__(self, *, ctx: context.BaseContext | None = None) -> None:
        self._create()

    def _taker(self) -> Callable[[], Any]:
        from ._awaiting import NOT_YET, current_task

        task = current_task()

        def attempt() -> Any:
            # The engine would give the thread the lock, whichever of its tasks has it.
            if self._is_mine() and self._task is not task or not self._acquire_now():
                return NOT_YET
            self._task = task
            return True

        return attempt

    def _give_back(self) -> None:
        if self._count() == 1:
            self._task = None
        self.release()

    def __repr__(self) -> str:
        owner, count = _owner_of(self)
        return f"<{type(self).__name__}({owner}, {count})>"


def _value_of(semaphore: Semaphore) -> int | str:
    try:
        return semaphore._get_value()
    except Exception:
        return "unknown"


def _owner_of(semlock: Lock | RLock) -> tuple[str, int | str]:
    """Returns who holds a lock and how often, in the words of `multiprocessing`."""
    try:
        if semlock._is_mine():
            name = _registry.current_process().name
            thread = threading.current_thread().name
            if thread != "MainThread":
                name = f"{name}|{thread}"
            return name, semlock._count()
        if semlock._get_value() == 1:
            return "None", 0
        if semlock._count() > 0:
            return "SomeOtherThread", "nonzero"
        return "SomeOtherProcess", "nonzero"
    except Exception:
        return "unknown", "unknown"


class Condition(_procession.Guarding, WaitsForPredicate):
    """A condition variable, as in `multiprocessing`.

    Waiters are woken in the order in which they came; a waiter that has died is passed
    over.

    Args:
        lock: A `Lock` or `RLock` of this package; by default a new `RLock`.
        ctx: The context that makes it.

    Example:
        >>> import procession
        >>> import threading
        >>> shelf, changed = [], procession.Condition()
        >>> def fill():
        ...     with changed:
        ...         shelf.append("bread")
        ...         changed.notify_all()
        >>> with changed:
        ...     threading.Thread(target=fill).start()
        ...     print(changed.wait_for(lambda: shelf, timeout=30))
        ['bread']
    """

    __dir__ = public_names

    def __init__(
        self, lock: Any = None, *, ctx: context.BaseContext | None = None
    ) -> None:
        if lock is not None and not hasattr(lock, "_semlock"):
            raise TypeError(
                f"the lock of a condition must be a Lock or RLock of procession, not {lock!r}"
            )
        self._lock: Lock | RLock = lock or RLock(ctx=ctx)
        self._waiters = _procession.Condition()
        self._make_methods()

    def _make_methods(self) -> None:
        # What counts how often the lock was taken; one of the standard library has it apart.
        self._held = self._lock._semlock
        self.acquire = self._lock.acquire
        self.release = self._lock.release
        # Clients of `multiprocessing` read how many wait from these.
        self._sleeping_count = _Count(self._waiters.n_waiting)
        self._woken_count = _Count(lambda: 0)
        self._wait_semaphore = _Count(lambda: 0)

    def __getstate__(self) -> tuple[Any, Any]:
        return self._lock, self._waiters

    def __setstate__(self, state: tuple[Any, Any]) -> None:
        self._lock, self._waiters = state
        self._make_methods()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}({self._lock}, {self._waiters.n_waiting()})>"

    def wait(self, timeout: float | None = None) -> bool:
        """Releases the lock, waits to be notified, and takes the lock again.

        Returns:
            Whether it was notified before the time was over.

        Raises:
            AssertionError: The caller does not hold the lock.
            OwnerDied: The process that held the lock meanwhile has died; the caller
                does not hold it.
        """
        return self._waiters.wait(self._held, timeout)

    def notify(self, n: int = 1) -> None:
        """Wakes up to `n` of those that wait, the first comers first.

        Raises:
            AssertionError: The caller does not hold the lock.

        Example:
            >>> import procession
            >>> import threading
            >>> turn = procession.Condition()
            >>> def wake():
            ...     with turn:
            ...         turn.notify(1)
            >>> with turn:
            ...     threading.Thread(target=wake).start()
            ...     print(turn.wait(timeout=30))
            True
        """
        self._waiters.notify(self._held, n)

    def notify_all(self) -> None:
        """Wakes all that wait."""
        self._waiters.notify_all(self._held)

    async def wait_async(self) -> bool:
        """As `wait`, in a task of asyncio or trio, that holds the lock by await.

        No thread waits. A task that is cancelled takes the lock again before it goes on,
        however long that takes, and a notification that it got goes to the next in line.

        Returns:
            True: deadlines are those of the loop, such as `asyncio.timeout`.

        Raises:
            AssertionError: The caller does not hold the lock.
            OwnerDied: Who held the lock meanwhile has died; the caller does not hold it.
            RuntimeError: No event loop runs.

        Example:
            >>> import asyncio
            >>> import procession
            >>> changed = procession.Condition()
            >>> async def wait():
            ...     async with changed:
            ...         return await changed.wait_async()
            >>> async def main():
            ...     waiting = asyncio.create_task(wait())
            ...     await asyncio.sleep(0)
            ...     async with changed:
            ...         changed.notify()
            ...     return await waiting
            >>> asyncio.run(main())
            True
        """
        from ._awaiting import NOT_YET, try_until, uncancelled

        if not self._held._is_mine():
            raise AssertionError("must acquire() condition before using wait_async()")
        lock, waiters = self._lock, self._waiters
        times = self._held._count()
        place = waiters.enlist()

        async def take_again() -> None:
            for _ in range(times):
                await lock.acquire_async()

        def attempt() -> Any:
            return place.is_notified() or NOT_YET

        for _ in range(times):
            lock._give_back()
        try:
            await try_until(attempt, lambda: waiters.arm(place), all_at_once=True)
        finally:
            place.leave()
            await uncancelled(take_again)
        return True

    async def wait_for_async(self, predicate: Callable[[], T]) -> T:
        """As `wait_for`, in a task of asyncio or trio; returns the predicate's value.

        Args:
            predicate: It is called with the lock held.

        Example:
            >>> import asyncio
            >>> import procession
            >>> async def main():
            ...     changed = procession.Condition()
            ...     async with changed:
            ...         return await changed.wait_for_async(lambda: "at once")
            >>> asyncio.run(main())
            'at once'
        """
        while not (result := predicate()):
            await self.wait_async()
        return result

    async def __aenter__(self) -> bool:
        return await self._lock.acquire_async()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # If `wait_async` could not take the lock back, its error is raised, as in a
        # `with` statement.
        if error is None or self._held._is_mine():
            self._lock._give_back()


class _Count:
    """A number that can be read like the value of a semaphore."""

    def __init__(self, get_value: Callable[[], int]) -> None:
        self.get_value = get_value


class Event(_procession.Event):
    """A flag that processes can wait for, as in `multiprocessing`.

    Example:
        >>> import procession
        >>> open_for_business = procession.Event()
        >>> open_for_business.wait(timeout=0.01)
        False
        >>> open_for_business.set()
        >>> open_for_business.wait(), open_for_business.is_set()
        (True, True)
        >>> open_for_business.clear()
    """

    __dir__ = public_names

    def __init__(self, *, ctx: context.BaseContext | None = None) -> None:
        self._create()

    async def wait_async(self) -> bool:
        """Waits, in a task of asyncio or trio, until the flag is set; returns True.

        No thread waits. Deadlines are those of the loop, such as `asyncio.timeout`.

        Raises:
            RuntimeError: No event loop runs.

        Example:
            >>> import asyncio
            >>> import procession
            >>> async def main():
            ...     event = procession.Event()
            ...     process = procession.Process(target=event.set)
            ...     process.start()
            ...     await event.wait_async()
            ...     await process.join_async()
            ...     return event.is_set()
            >>> asyncio.run(main())
            True
        """
        from ._awaiting import NOT_YET, try_until

        times = self._times_set()

        def attempt() -> bool:
            # The event may have been set and cleared meanwhile.
            return self.is_set() or self._times_set() != times or NOT_YET

        return await try_until(attempt, lambda: self._arm(times), all_at_once=True)

    def __getstate__(self) -> Any:
        return (self._lend(),)

    def __setstate__(self, state: Any) -> None:
        self._attach(*state)

    def __repr__(self) -> str:
        status = "set" if self.is_set() else "unset"
        return f"<{type(self).__qualname__} at {id(self):#x} {status}>"


class Barrier:
    """A place where processes wait until enough of them are there.

    As in `multiprocessing`. A process that dies while it waits counts as having come,
    so the others do not wait for ever.

    Args:
        parties: How many have to come.
        action: A function that one of them calls before they go on; it must be
            picklable if the barrier goes to a process that is not forked.
        timeout: The default for `wait`.
        ctx: The context that makes it.

    Example:
        >>> import procession
        >>> meeting = procession.Barrier(2, action=list)
        >>> child = procession.Process(target=meeting.wait)
        >>> child.start()
        >>> meeting.wait(timeout=30) in (0, 1)
        True
        >>> child.join()
        >>> meeting.parties, meeting.n_waiting, meeting.broken
        (2, 0, False)
    """

    __dir__ = public_names

    def __init__(
        self,
        parties: int,
        action: Callable[[], object] | None = None,
        timeout: float | None = None,
        *,
        ctx: context.BaseContext | None = None,
    ) -> None:
        parties = checked_whole("parties", parties)
        if parties < 1:
            raise ValueError(f"a barrier needs at least one party, not {parties}")
        checked_callback("action", action)
        self._barrier = _procession.Barrier(parties)
        self._action = action
        self._timeout = timeout

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the others; returns a number below `parties`, another for each.

        Raises:
            threading.BrokenBarrierError: It was broken or reset, or the time is over.
        """
        if timeout is None:
            timeout = self._timeout
        return self._barrier.wait(self._action, timeout)

    async def wait_async(self) -> int:
        """As `wait`, in a task of asyncio or trio; returns the same number.

        No thread waits. Deadlines are those of the loop, such as `asyncio.timeout`; the
        barrier's own `timeout` is for `wait` alone. A task that is cancelled while it
        waits has not come, as at `asyncio.Barrier`: the others go on waiting for one
        more, and nothing is broken. The action, if this task is the last to come, is
        called in the loop.

        Raises:
            threading.BrokenBarrierError: It was broken or reset.
            RuntimeError: No event loop runs.

        Example:
            >>> import asyncio
            >>> import procession
            >>> async def main():
            ...     meeting = procession.Barrier(2)
            ...     child = procession.Process(target=meeting.wait)
            ...     child.start()
            ...     index = await meeting.wait_async()
            ...     await child.join_async()
            ...     return index in (0, 1)
            >>> asyncio.run(main())
            True
        """
        from ._awaiting import NOT_YET, try_until

        barrier, action = self._barrier, self._action

        def arrive() -> Any:
            place = barrier.try_arrive(action)
            return NOT_YET if place is None else place

        place = await try_until(arrive, barrier.arm, all_at_once=True)
        try:
            # The last to come has opened the barrier, so this task has come and is not
            # cancelled.
            if not place.is_open():
                await try_until(
                    lambda: place.is_open() or NOT_YET,
                    lambda: barrier.arm(place),
                    all_at_once=True,
                )
        finally:
            place.leave()
        index: int = place.index
        return index

    def reset(self) -> None:
        """Makes it as new; those that wait get BrokenBarrierError."""
        self._barrier.reset()

    def abort(self) -> None:
        """Breaks it for all that wait or come, until it is reset.

        Example:
            >>> import procession
            >>> meeting = procession.Barrier(2)
            >>> meeting.abort()
            >>> meeting.broken
            True
            >>> meeting.reset()
            >>> meeting.broken
            False
        """
        self._barrier.abort()

    @property
    def parties(self) -> int:
        """How many have to come."""
        return self._barrier.parties

    @property
    def n_waiting(self) -> int:
        """How many are waiting."""
        return self._barrier.n_waiting

    @property
    def broken(self) -> bool:
        """Whether it is broken."""
        return self._barrier.broken

    def __repr__(self) -> str:
        name = f"{type(self).__module__}.{type(self).__qualname__}"
        if self.broken:
            return f"<{name} at {id(self):#x}: broken>"
        return f"<{name} at {id(self):#x}: waiters={self.n_waiting}/{self.parties}>"


def __dir__() -> list[str]:
    return public(globals())
