"""What a hub keeps: locks, semaphores, conditions, events, barriers, queues, and cells.

Nothing here waits. A request is tried, and tried again after each change, in the order
in which the requests came; what cannot be done yet stays in line. All is called in the
hub's one thread. What a request takes is given back (`Taken.undo`) unless its client
confirms that it has it; `lose` frees what a lost process held.
"""

from __future__ import annotations

import threading
from collections import deque

from .._errors import OwnerDied
from ..queues import ShutDown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar

__all__ = ["KINDS", "NOT_YET", "Kept", "Request", "Taken", "User"]

# What a request gives that has to wait.
NOT_YET: Any = object()


class User:
    """A process that uses a hub.

    Args:
        key: By what its connections name it.
        name: What errors call it.
        is_here: Whether it is the process that the hub is in.
    """

    def __init__(self, key: bytes, name: str, is_here: bool = False) -> None:
        self.is_here = is_here
        self.key = key
        self.name = name
        self.peers: set[Any] = set()
        # What it holds, or may hold.
        self.holds: set[Kept] = set()
        # The numbers of the objects that it has handles of.
        self.has: set[int] = set()


class Request:
    """A call of an operation of a kept object, by a connection that waits for the answer.

    Args:
        peer: The connection.
        kept: The object.
        op: The name of the operation.
        args: Its arguments.
        deadline: When it is too late, by the clock of `time.monotonic`, or None.
    """

    __slots__ = ("args", "deadline", "kept", "op", "peer", "state")

    def __init__(
        self,
        peer: Any,
        kept: Kept,
        op: str,
        args: tuple[Any, ...],
        deadline: float | None,
    ) -> None:
        self.peer = peer
        self.kept = kept
        self.op = op
        self.args = args
        self.deadline = deadline
        # What the object keeps of it between two tries.
        self.state: Any = None

    @property
    def user(self) -> User:
        """The process that has asked."""
        user: User = self.peer.user
        return user


class Taken:
    """The outcome of a request that takes something.

    Args:
        value: The outcome.
        undo: Gives it back, if the client does not confirm that it has it.
    """

    __slots__ = ("undo", "value")

    def __init__(self, value: Any, undo: Callable[[], None]) -> None:
        self.value = value
        self.undo = undo


class Kept:
    """One object of a hub.

    Args:
        number: The number by which clients name it.
        find: Returns the object of another number.
    """

    noun = "object"
    # The operations whose requests stand in one line: they wait for the same.
    lines: ClassVar[dict[str, str]] = {}

    def __init__(self, number: int, find: Callable[[int], Kept]) -> None:
        self.number = number
        self.find = find
        self.waiting: dict[str, deque[Request]] = {}
        # The processes that have handles of it; whether others may come to have one.
        self.users: set[User] = set()
        self.is_sent = False

    def __str__(self) -> str:
        return f"{self.noun} #{self.number} of the hub"

    def attempt(self, request: Request) -> Any:
        """Does what is asked for; returns the outcome, or NOT_YET."""
        operation: Callable[..., Any] | None = getattr(self, f"op_{request.op}", None)
        if operation is None:
            raise AttributeError(f"{self} has no operation {request.op!r}")
        return operation(request, *request.args)

    def park(self, request: Request) -> None:
        """Has a request wait."""
        line = self.lines.get(request.op, request.op)
        self.waiting.setdefault(line, deque()).append(request)

    def expire(self, request: Request) -> Any:
        """Returns the outcome of a request whose time is over; NOT_YET if it goes on."""
        self.remove(request)
        return LATE

    def leave(self, request: Request, died: bool) -> None:
        """Forgets a request that waits and whose client does not, or is dead."""
        self.remove(request)

    def remove(self, request: Request) -> None:
        """Takes a request out of its line."""
        line = self.waiting.get(self.lines.get(request.op, request.op))
        if line is not None and request in line:
            line.remove(request)

    def lose(self, user: User) -> None:
        """Frees or repairs what a lost process held."""

    def affected(self) -> tuple[Kept, ...]:
        """Returns the objects for which there may be something to do when this has changed."""
        return (self,)


# The outcome of a request whose time is over.
LATE: Any = object()


class Lock(Kept):
    """A lock: its owner is a process, or, if it can be taken again, a thread or a task of one."""

    noun = "lock"
    lines: ClassVar[dict[str, str]] = dict.fromkeys(
        ("acquire", "reacquire", "guarded"), "free"
    )

    def __init__(
        self, number: int, find: Callable[[int], Kept], is_reentrant: bool
    ) -> None:
        super().__init__(number, find)
        self.is_reentrant = is_reentrant
        self.owner: tuple[User, int] | None = None
        self.count = 0
        # The process that has died holding it, until one that acquires it is told.
        self._dead = ""
        if is_reentrant:
            self.noun = "re-entrant lock"

    def _who(self, user: User, thread: int) -> tuple[User, int]:
        # Any thread of a process may release a lock that cannot be taken again.
        return user, thread if self.is_reentrant else 0

    def _tell_of_death(self) -> None:
        if self._dead:
            dead, self._dead = self._dead, ""
            raise OwnerDied(f"{dead} died while it held {self}, which is free again")

    def op_acquire(self, request: Request, thread: int) -> Any:
        """Takes it."""
        who = self._who(request.user, thread)
        if self.is_reentrant and self.owner == who:
            self.count += 1
            return Taken(True, lambda: self._give_back(who))
        self._tell_of_death()
        if self.owner is not None:
            return NOT_YET
        return self._take(who, 1, True)

    def _take(self, who: tuple[User, int], count: int, value: Any) -> Taken:
        self.owner, self.count = who, count
        who[0].holds.add(self)
        return Taken(value, lambda: self._give_back(who, count))

    def _give_back(self, who: tuple[User, int], count: int = 1) -> None:
        if self.owner == who:
            self.count -= count
            if self.count <= 0:
                self.free()

    def free(self) -> None:
        """Makes it nobody's."""
        if self.owner is not None:
            self.owner[0].holds.discard(self)
        self.owner, self.count = None, 0

    def op_release(self, request: Request, thread: int) -> int:
        """Gives it back; returns how often it is still taken."""
        if self.is_reentrant and not self.is_held_by(request.user, thread):
            raise AssertionError(f"{self} is not held by this thread")
        if self.owner is None:
            raise ValueError(f"{self} was released too many times")
        self.count -= 1
        if not self.count:
            self.free()
        return self.count

    def op_locked(self, request: Request) -> bool:
        """Returns whether it is taken."""
        return self.owner is not None

    def op_count(self, request: Request, thread: int) -> int:
        """Returns how often the caller has it."""
        return self.count if self.is_held_by(request.user, thread) else 0

    def is_held_by(self, user: User, thread: int) -> bool:
        """Returns whether a thread, or a task, of a process has it."""
        return self.owner == self._who(user, thread)

    def op_guarded(
        self, request: Request, thread: int, cell: int, op: str, args: tuple[Any, ...]
    ) -> Any:
        """Reads or writes a cell while nobody else has the lock."""
        if not self.is_held_by(request.user, thread):
            self._tell_of_death()
            if self.owner is not None:
                return NOT_YET
        return getattr(self.find(cell), f"op_{op}")(request, *args)

    def op_reacquire(
        self, request: Request, condition: Condition, thread: int, count: int
    ) -> Any:
        """Takes it again, for one that has waited at a condition."""
        self._tell_of_death()
        if self.owner is not None:
            return NOT_YET
        taken = self._take(self._who(request.user, thread), count, request.state)
        give_back = taken.undo

        def undo() -> None:
            give_back()
            if request.state:
                condition.notify(1)

        taken.undo = undo
        return taken

    def leave(self, request: Request, died: bool) -> None:
        self.remove(request)
        if request.op == "reacquire" and request.state:
            # The notification is passed on to a waiter that goes on.
            request.args[0].notify(1)

    def lose(self, user: User) -> None:
        if self.owner is not None and self.owner[0] is user:
            self.free()
            self._dead = user.name


class Semaphore(Kept):
    """A semaphore; `maximum` is None where it may rise above its first value."""

    noun = "semaphore"

    def __init__(
        self, number: int, find: Callable[[int], Kept], value: int, is_bounded: bool
    ) -> None:
        super().__init__(number, find)
        self._first = self._value = value
        self._is_bounded = is_bounded
        self._held: dict[User, int] = {}

    def op_acquire(self, request: Request, thread: int) -> Any:
        """Takes a permit."""
        if not self._value:
            return NOT_YET
        self._value -= 1
        user = request.user
        self._held[user] = self._held.get(user, 0) + 1
        user.holds.add(self)
        return Taken(True, lambda: self._give_back(user))

    def op_release(self, request: Request, thread: int) -> None:
        """Gives a permit back."""
        if self._is_bounded and self._value >= self._first:
            raise ValueError(f"{self} was released too many times")
        self._give_back(request.user)

    def _give_back(self, user: User) -> None:
        self._value += 1
        if user not in self._held and len(self._held) == 1:
            # If there is one holder, its permit is meant. Otherwise a wrong record
            # stays.
            [user] = self._held
        if user in self._held:
            self._held[user] -= 1
            if not self._held[user]:
                del self._held[user]
                user.holds.discard(self)

    def op_value(self, request: Request) -> int:
        """Returns how often it can be taken now."""
        return self._value

    def op_locked(self, request: Request) -> bool:
        """Returns whether it cannot be taken."""
        return not self._value

    def lose(self, user: User) -> None:
        held = self._held.pop(user, 0)
        room = self._first - self._value - sum(self._held.values())
        self._value += max(min(held, room), 0)


class Condition(Kept):
    """A condition variable; `lock` is the number of the lock that it belongs to."""

    noun = "condition"

    def __init__(self, number: int, find: Callable[[int], Kept], lock: int) -> None:
        super().__init__(number, find)
        found = find(lock)
        if not isinstance(found, Lock):
            raise TypeError(f"a condition needs a lock, not {found}")
        self._lock = found
        self._sleepers: deque[Request] = deque()

    def _require_lock(self, request: Request, thread: int, message: str) -> None:
        if not self._lock.is_held_by(request.user, thread):
            raise AssertionError(message)

    def op_wait(self, request: Request, thread: int) -> Any:
        """Releases the lock, and has the request sleep."""
        self._require_lock(
            request, thread, "must acquire() condition before using wait()"
        )
        request.args = self, thread, self._lock.count
        self._lock.free()
        return NOT_YET

    def park(self, request: Request) -> None:
        self._sleepers.append(request)

    def op_notify(self, request: Request, thread: int, count: int | None) -> None:
        """Wakes some that sleep, or all."""
        self._require_lock(request, thread, "lock is not owned")
        self.notify(len(self._sleepers) if count is None else count)

    def notify(self, count: int) -> None:
        """Has some that sleep take the lock again."""
        while count > 0 and self._sleepers:
            self._wake(self._sleepers.popleft(), True)
            count -= 1

    def _wake(self, request: Request, is_notified: bool) -> None:
        request.kept, request.op, request.state = self._lock, "reacquire", is_notified
        request.deadline = None
        self._lock.park(request)

    def op_sleepers(self, request: Request) -> int:
        """Returns how many wait."""
        return len(self._sleepers)

    def expire(self, request: Request) -> Any:
        self._sleepers.remove(request)
        self._wake(request, False)
        return NOT_YET

    def remove(self, request: Request) -> None:
        self._sleepers.remove(request)

    def affected(self) -> tuple[Kept, ...]:
        return self, self._lock


class Event(Kept):
    """A flag."""

    noun = "event"

    def __init__(self, number: int, find: Callable[[int], Kept]) -> None:
        super().__init__(number, find)
        self._is_set = False

    def op_set(self, request: Request) -> None:
        """Sets it."""
        self._is_set = True

    def op_clear(self, request: Request) -> None:
        """Clears it."""
        self._is_set = False

    def op_is_set(self, request: Request) -> bool:
        """Returns whether it is set."""
        return self._is_set

    def op_wait(self, request: Request) -> Any:
        """Waits until it is set."""
        return True if self._is_set else NOT_YET


class _Round:
    """One use of a barrier: those that wait for each other."""

    def __init__(self) -> None:
        self.count = 0
        # The process that has come last, which runs the action.
        self.leader: Any = None
        self.is_open = False
        self.broken = ""


class Barrier(Kept):
    """A barrier. A process that dies while it waits has come, and counts."""

    noun = "barrier"

    def __init__(self, number: int, find: Callable[[int], Kept], parties: int) -> None:
        super().__init__(number, find)
        self._parties = parties
        self._round = _Round()

    def op_wait(self, request: Request, has_action: bool) -> Any:
        """Comes, and waits for the others."""
        if request.state is None:
            now = self._round
            if now.broken:
                raise threading.BrokenBarrierError(now.broken)
            if now.leader is not None:
                return NOT_YET
            request.state = now, now.count
            now.count += 1
            if now.count == self._parties:
                if has_action:
                    now.leader = request.peer
                    request.user.holds.add(self)
                    return Taken(
                        ("lead", request.state[1]), lambda: self._unlead(request)
                    )
                self._open()
        mine, index = request.state
        if mine.is_open:
            return "go", index
        if mine.broken:
            raise threading.BrokenBarrierError(mine.broken)
        return NOT_YET

    def _unlead(self, request: Request) -> None:
        """Has one not come that was to run the action, and does not know it."""
        now, _ = request.state
        if now is self._round and now.leader is request.peer:
            now.leader = None
            now.count -= 1

    def _open(self) -> None:
        self._round.is_open = True
        self._round = _Round()

    def op_led(self, request: Request) -> None:
        """Lets all go on: the action is done."""
        now = self._round
        if now.broken:
            raise threading.BrokenBarrierError(now.broken)
        if now.leader is not None and now.leader.user is request.user:
            self._open()

    def op_abort(self, request: Request) -> None:
        """Breaks it for all."""
        self._break(f"{request.user.name} has aborted {self}")

    def _break(self, reason: str) -> None:
        self._round.broken = self._round.broken or reason

    def op_reset(self, request: Request) -> None:
        """Makes it as new; those that wait are told."""
        if self._round.count and not self._round.broken:
            self._break(f"{request.user.name} has reset {self}")
        self._round = _Round()

    def op_state(self, request: Request) -> tuple[int, bool]:
        """Returns how many wait, and whether it is broken."""
        now = self._round
        return (0 if now.broken else now.count), bool(now.broken)

    def expire(self, request: Request) -> Any:
        self.remove(request)
        reason = f"a process waited for too long at {self}"
        if request.state is None or request.state[0] is self._round:
            self._break(reason)
        return threading.BrokenBarrierError(reason)

    def leave(self, request: Request, died: bool) -> None:
        self.remove(request)
        if not died and request.state is not None and request.state[0] is self._round:
            self._round.count -= 1

    def lose(self, user: User) -> None:
        leader = self._round.leader
        if leader is not None and leader.user is user:
            self._break(f"{user.name} died in the action of {self}")


class Queue(Kept):
    """A queue of pickled items."""

    noun = "queue"
    lines: ClassVar[dict[str, str]] = dict.fromkeys(("get", "get_many"), "get")

    def __init__(self, number: int, find: Callable[[int], Kept], maxsize: int) -> None:
        super().__init__(number, find)
        self._maxsize = maxsize
        self._items: deque[Any] = deque()
        # How many items there have been that are not done.
        self._unfinished = 0
        self._is_shut = False

    def op_put(self, request: Request, item: Any) -> Any:
        """Puts an item."""
        self._require_open()
        if 0 < self._maxsize <= len(self._items):
            return NOT_YET
        self._items.append(item)
        self._unfinished += 1
        return None

    def op_put_many(self, request: Request, items: list[Any]) -> None:
        """Puts items into a queue that has room for any number."""
        self._require_open()
        self._items.extend(items)
        self._unfinished += len(items)

    def _require_open(self) -> None:
        if self._is_shut:
            raise ShutDown(f"{self} was shut down")

    def op_get(self, request: Request) -> Any:
        """Gets an item."""
        if self._items:
            item = self._items.popleft()
            return Taken(item, lambda: self._items.appendleft(item))
        self._require_open()
        return NOT_YET

    def op_get_many(self, request: Request, most: int) -> Any:
        """Gets what there is, at least one item."""
        if not self._items:
            self._require_open()
            return NOT_YET
        count = min(most, len(self._items))
        items = [self._items.popleft() for _ in range(count)]
        return Taken(items, lambda: self._items.extendleft(reversed(items)))

    def op_size(self, request: Request) -> tuple[int, int]:
        """Returns how many items there are, and how many are not done."""
        return len(self._items), self._unfinished

    def op_task_done(self, request: Request) -> None:
        """Notes that an item is done."""
        if not self._unfinished:
            raise ValueError(
                f"{self} has no unfinished task: task_done() called too many times"
            )
        self._unfinished -= 1

    def op_join(self, request: Request) -> Any:
        """Waits until all items are done."""
        return NOT_YET if self._unfinished else None

    def op_shutdown(self, request: Request, immediate: bool) -> None:
        """Ends it: what is in it can be got, or is thrown away."""
        self._is_shut = True
        if immediate:
            self._unfinished -= len(self._items)
            self._items.clear()


class Cell(Kept):
    """The bytes of a value or an array."""

    noun = "value"

    def __init__(self, number: int, find: Callable[[int], Kept], data: bytes) -> None:
        super().__init__(number, find)
        self._data = bytearray(data)

    def op_read(self, request: Request, begin: int, end: int) -> bytes:
        """Returns some of the bytes."""
        return bytes(self._data[begin:end])

    def op_write(self, request: Request, pieces: list[tuple[int, bytes]]) -> None:
        """Changes some of the bytes."""
        for begin, data in pieces:
            self._data[begin : begin + len(data)] = data


KINDS: dict[str, Callable[..., Kept]] = {
    "barrier": Barrier,
    "cell": Cell,
    "condition": Condition,
    "event": Event,
    "lock": Lock,
    "queue": Queue,
    "semaphore": Semaphore,
}
