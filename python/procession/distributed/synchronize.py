"""Locks, semaphores, conditions, events and barriers of a cluster's context, kept by its hub.

The names are those of `procession.synchronize`. What a lost process held is freed as on
one machine: one of those that wait for its lock gets `OwnerDied`, and the permits of a
semaphore come back.
"""

from __future__ import annotations

import itertools
import threading
from weakref import WeakKeyDictionary

from .._awaiting import current_task, uncancelled
from .._errors import OwnerDied
from .._predicates import WaitsForPredicate
from ._errors import EngineUnavailable
from ._handle import Handle
from ._session import seconds_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "Lock",
    "RLock",
    "Semaphore",
]

_SEM_VALUE_MAX = 2**31 - 1


class _Acquired(Handle):
    """What can be taken and given back."""

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Takes it, and waits until that is possible.

        Returns:
            Whether it was taken before the time was over.

        Raises:
            OwnerDied: The process that had it died; it is free again now.
        """
        wait = seconds_of(timeout) if block else 0.0
        owner = self._owner()
        is_taken = self._wait("acquire", owner, timeout=wait)[0]
        if is_taken:
            self._note_taken(owner)
        return is_taken

    async def acquire_async(self) -> bool:
        """Takes it, in a task of asyncio or trio, as `procession.Lock.acquire_async`.

        No thread waits, but that a connection to the hub may have to be made. A task that is
        cancelled has taken nothing.

        Returns:
            True: deadlines are those of the loop, such as `asyncio.timeout`.

        Raises:
            EngineUnavailable: The hub is gone.
            OwnerDied: The process that had it died; it is free again now.
            RuntimeError: No event loop runs.
        """
        owner = self._owner()
        taken: bool = await self._call_async("acquire", owner)
        self._note_taken(owner)
        return taken

    def release(self) -> None:
        """Gives it back.

        Raises:
            EngineUnavailable: The connection by which it was taken has broken: it was given back
                then, and another may have it.
        """
        owner = self._owner()
        self._note_released(owner)
        self._call("release", owner)

    def _note_taken(self, owner: int) -> None:
        """Notes by which connection a thread, or a task, has it."""
        taken = vars(self).setdefault("_taken", {})
        session, count = taken.get(owner, (None, 0))
        is_same = session is self._session
        taken[owner] = self._session, count + 1 if is_same else 1

    def _note_released(self, owner: int) -> None:
        """Notes that it is given back, if it was not when a connection broke.

        Raises:
            EngineUnavailable: It was.
        """
        taken = vars(self).get("_taken", {})
        session, count = taken.pop(owner, (None, 0))
        if session is None:
            return
        if count > 1:
            taken[owner] = session, count - 1
        if session.is_broken:
            raise EngineUnavailable(
                f"{self!r} was set free when the connection broke by which it was taken"
            )

    def _owner(self) -> int:
        """Returns what the hub knows the caller by, as the owner of a lock."""
        return threading.get_ident()

    async def __aenter__(self) -> bool:
        return await self.acquire_async()

    async def __aexit__(self, *_: object) -> None:
        # Not awaited, as a task that is cancelled would not know whether it was done.
        self.release()

    def locked(self) -> bool:
        """Returns whether it cannot be taken."""
        locked: bool = self._call("locked")
        return locked

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class Lock(_Acquired):
    """A lock that anybody may release.

    If the process that took it is lost, one of those that wait, or else the next who takes
    it, gets `OwnerDied`; afterwards the lock is free.
    """

    def __init__(self, address: Any) -> None:
        self._make(address, "lock", False)


# What the hub knows tasks by that have awaited a lock, unlike any thread.
_numbers = itertools.count(-1, -1)


class _OfTask:
    """What is known of a task that has awaited a lock."""

    def __init__(self) -> None:
        self.number = next(_numbers)
        # The locks that it has, by the hub's address and their numbers.
        self.locks: set[tuple[Any, int]] = set()


_of_tasks: WeakKeyDictionary[Any, _OfTask] = WeakKeyDictionary()


class RLock(_Acquired):
    """A lock that its owner may take again: a thread of a process, or a task that has awaited it."""

    def __init__(self, address: Any) -> None:
        self._make(address, "lock", True)

    async def acquire_async(self) -> bool:
        """Takes it for the current task, which has to release it; the thread's other tasks wait."""
        of_task = _of_tasks.setdefault(current_task(), _OfTask())
        taken: bool = await self._call_async("acquire", of_task.number)
        of_task.locks.add((self._address, self._number))
        self._note_taken(of_task.number)
        return taken

    def release(self) -> None:
        """Gives it back, for the task that has it, or else for the thread."""
        of_task = self._of_task()
        owner = self._owner()
        self._note_released(owner)
        left = self._call("release", owner)
        if of_task is not None and not left:
            of_task.locks.discard((self._address, self._number))

    def _owner(self) -> int:
        of_task = self._of_task()
        return super()._owner() if of_task is None else of_task.number

    def _of_task(self) -> _OfTask | None:
        """Returns what is known of the current task, if that has the lock."""
        if not _of_tasks:
            return None
        try:
            of_task = _of_tasks.get(current_task())
        except RuntimeError:
            return None  # No loop runs in this thread.
        if of_task is None or (self._address, self._number) not in of_task.locks:
            return None
        return of_task


class Semaphore(_Acquired):
    """A semaphore; the permits of a process that is lost come back."""

    _is_bounded = False

    def __init__(self, address: Any, value: int = 1) -> None:
        if not isinstance(value, int):
            raise TypeError(f"value must be a number, not {type(value).__name__}")
        if not 0 <= value <= _SEM_VALUE_MAX:
            raise ValueError(
                f"a semaphore cannot have the value {value} of at most {_SEM_VALUE_MAX}"
            )
        self._make(address, "semaphore", value, self._is_bounded)

    def get_value(self) -> int:
        """Returns how often it can be taken now."""
        value: int = self._call("value")
        return value


class BoundedSemaphore(Semaphore):
    """A semaphore that cannot rise above its first value."""

    _is_bounded = True


class Condition(WaitsForPredicate, Handle):
    """A condition variable; its lock is a `Lock` or `RLock` of the same hub."""

    def __init__(self, address: Any, lock: Lock | RLock | None = None) -> None:
        if lock is None:
            lock = RLock(address)
        elif not isinstance(lock, (Lock, RLock)) or lock._address != address:
            raise TypeError(
                f"the lock of a condition must be a Lock or RLock of the same context, not "
                f"{lock!r}"
            )
        self._lock = lock
        self._make(address, "condition", lock._number)

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Takes the lock."""
        return self._lock.acquire(block, timeout)

    def release(self) -> None:
        """Gives the lock back."""
        self._lock.release()

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._give_back(kind)

    def _give_back(self, kind: type[BaseException] | None) -> None:
        # If a wait could not take the lock back, its error is raised, and no other.
        if kind is None or self._lock._call("count", self._lock._owner()):
            self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Releases the lock, waits to be notified, and takes the lock again.

        Returns:
            Whether it was notified before the time was over.

        Raises:
            AssertionError: The caller does not hold the lock.
            OwnerDied: The process that held the lock meanwhile has died; the caller does
                not hold it.
        """
        owner = self._lock._owner()
        held = self._lock._call("count", owner)
        try:
            notified: bool = self._wait("wait", owner, timeout=seconds_of(timeout))[1]
        except (AssertionError, OwnerDied, EngineUnavailable):
            raise
        except BaseException:
            # A handler of a signal has raised: the caller goes on with the lock.
            for _ in range(held):
                self._lock.acquire()
            raise
        return notified

    async def wait_async(self) -> bool:
        """As `wait`, in a task of asyncio or trio that has awaited the lock.

        A task that is cancelled takes the lock again before it goes on, however long that takes,
        and a notification that it got goes to the next in line.

        Returns:
            True: deadlines are those of the loop, such as `asyncio.timeout`.

        Raises:
            AssertionError: The caller does not hold the lock.
            EngineUnavailable: The hub is gone.
            OwnerDied: The process that held the lock meanwhile has died; the caller does
                not hold it.
            RuntimeError: No event loop runs.
        """
        owner = self._lock._owner()
        held = self._lock._call("count", owner)
        try:
            await self._call_async("wait", owner)
        except (AssertionError, OwnerDied, EngineUnavailable):
            raise
        except BaseException:
            await uncancelled(lambda: self._take_again(owner, held))
            raise
        return True

    async def _take_again(self, owner: int, times: int) -> None:
        """Takes the lock as often as a task had it that was cancelled while it waited."""
        # A call that was cancelled in the middle may have taken it.
        while self._lock._call("count", owner) < times:
            await self._lock._call_async("acquire", owner)

    async def wait_for_async(self, predicate: Callable[[], Any]) -> Any:
        """As `wait_for`, in a task of asyncio or trio; returns the predicate's value."""
        while not (result := predicate()):
            await self.wait_async()
        return result

    async def __aenter__(self) -> bool:
        return await self._lock.acquire_async()

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._give_back(kind)

    def notify(self, n: int = 1) -> None:
        """Wakes up to `n` of those that wait, the first comers first.

        Raises:
            AssertionError: The caller does not hold the lock.
        """
        self._call("notify", self._lock._owner(), n)

    def notify_all(self) -> None:
        """Wakes all that wait."""
        self._call("notify", self._lock._owner(), None)


class Event(Handle):
    """A flag that processes can wait for."""

    def __init__(self, address: Any) -> None:
        self._make(address, "event")

    def is_set(self) -> bool:
        """Returns whether it is set."""
        is_set: bool = self._call("is_set")
        return is_set

    def set(self) -> None:
        """Sets it; all that wait go on."""
        self._call("set")

    def clear(self) -> None:
        """Clears it."""
        self._call("clear")

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until it is set; returns whether that was before the time was over."""
        return self._wait("wait", timeout=seconds_of(timeout))[0]

    async def wait_async(self) -> bool:
        """Waits, in a task of asyncio or trio, until it is set; returns True."""
        was_set: bool = await self._call_async("wait")
        return was_set


class Barrier(Handle):
    """Lets a number of processes go on once all of them have come."""

    def __init__(
        self,
        address: Any,
        parties: int,
        action: Callable[[], object] | None = None,
        timeout: float | None = None,
    ) -> None:
        if not isinstance(parties, int):
            raise TypeError(f"parties must be a number, not {type(parties).__name__}")
        if parties < 1:
            raise ValueError("a barrier needs at least one party")
        if action is not None and not callable(action):
            raise TypeError(f"the action {action!r} cannot be called")
        self._parties = parties
        self._action = action
        self._timeout = seconds_of(timeout)
        self._make(address, "barrier", parties)

    def wait(self, timeout: float | None = None) -> int:
        """Comes, and waits for the others; returns a number that no other of them gets.

        Raises:
            threading.BrokenBarrierError: It was broken or reset, or the time was over.
        """
        patience = self._timeout if timeout is None else seconds_of(timeout)
        return self._go_on(
            self._wait("wait", self._action is not None, timeout=patience)[1]
        )

    async def wait_async(self) -> int:
        """As `wait`, in a task of asyncio or trio, without the barrier's own timeout.

        A task that is cancelled while it waits has not come, as at `asyncio.Barrier`. The
        action, if this task is the last to come, is called in the loop.
        """
        return self._go_on(await self._call_async("wait", self._action is not None))

    def _go_on(self, told: tuple[str, int]) -> int:
        what, index = told
        if what == "lead" and self._action is not None:
            try:
                self._action()
                self._call("led")
            except BaseException:
                self.abort()
                raise
        return index

    def reset(self) -> None:
        """Makes it as new; those that wait get BrokenBarrierError."""
        self._call("reset")

    def abort(self) -> None:
        """Breaks it for all that wait or come, until it is reset."""
        self._call("abort")

    @property
    def parties(self) -> int:
        """How many have to come."""
        return self._parties

    @property
    def n_waiting(self) -> int:
        """How many are waiting."""
        waiting: int = self._call("state")[0]
        return waiting

    @property
    def broken(self) -> bool:
        """Whether it is broken."""
        broken: bool = self._call("state")[1]
        return broken
