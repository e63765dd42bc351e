"""The engine of procession, as Python sees it. Private: use the package.

Size: it describes one module, whose stub can only be one file.
"""

import threading
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from os import PathLike
from types import GenericAlias
from typing import (
    Any,
    Final,
    Generic,
    NoReturn,
    Self,
    TypeAlias,
    TypeVar,
    final,
    type_check_only,
)

from typing_extensions import Buffer, disjoint_base

__all__ = [
    "SEM_VALUE_MAX",
    "VERSION",
    "ApplyResult",
    "Armed",
    "Barrier",
    "BarrierPlace",
    "Block",
    "CallTimes",
    "Child",
    "Condition",
    "Connection",
    "Event",
    "Feeder",
    "ForkServer",
    "FutureState",
    "GuardedField",
    "Guarding",
    "IMapIterator",
    "IMapUnorderedIterator",
    "KeptFd",
    "Line",
    "LineEnd",
    "Lock",
    "MapResult",
    "Outgoing",
    "Payload",
    "PendingItem",
    "Pool",
    "PoolWorker",
    "Queue",
    "RLock",
    "Semaphore",
    "Server",
    "Task",
    "TraceWriter",
    "Track",
    "WaitPlace",
    "Watcher",
    "bells_must_be_allowed",
    "confine",
    "end_spares",
    "family_secret",
    "fork",
    "fork_failed",
    "is_interrupt",
    "join",
    "launch",
    "leave_outcome",
    "lift_memory_limit",
    "look_at_main",
    "main_has_file",
    "metrics",
    "openmetrics",
    "parent_sentinel",
    "past_streams",
    "pickle_by_program",
    "pipe",
    "quick",
    "readable_now",
    "rebuild_barrier",
    "rebuild_block",
    "rebuild_condition",
    "reclaim_dead",
    "request_stop",
    "spare_pids",
    "spawn",
    "spawn_by",
    "stop_requested",
    "try_to_pickle",
    "under_lock",
    "undo_unless_sent",
    "usable_cpus",
    "usage",
    "view",
    "view_once",
    "wait",
    "wait_for_stop",
    "with_undo",
]

SEM_VALUE_MAX: int

# The version of the package.
VERSION: str

_C = TypeVar("_C", bound=Connection)
_L = TypeVar("_L", bound=_SemLock)

# Waiting.

def wait(
    things: Sequence[int | Queue | Event], timeout: float | None = None
) -> list[int]:
    """Returns the places of those that are ready: descriptors, queues and events.

    Waits until one is or the time is over.

    Raises:
        ValueError: A descriptor is negative.
    """

@final
class Armed:
    """Keeps the descriptors open that an event loop watches."""

@final
class Outgoing:
    """A message that a task sends, as far as there is room."""

@final
class WaitPlace:
    """The place of a task in the line of a condition."""

    def is_notified(self) -> bool:
        """Returns whether it was notified."""
    def leave(self) -> None:
        """Leaves the line; a notification that nobody was told of goes to the next."""

@final
class PendingItem:
    """An item on its way into a queue, for who tries to put it more than once."""

# Locks and the like: the bases of the classes in `synchronize`. An object is empty
# until `_create` or `_attach` is called, once; `_lend` gives what a pickle carries.

@type_check_only
class _Lent:
    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self: ...
    def _lend(self) -> tuple[int, int]:
        """Returns what a pickle carries; keeps it alive until somebody attaches."""

@type_check_only
class _SemLock(_Lent):
    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Takes it; returns whether it could before the time was over.

        Raises:
            OwnerDied: A process died while it held the lock, which is free again now.
        """
    def release(self) -> None:
        """Gives it back: a re-entrant lock once, a semaphore one permit.

        Raises:
            ValueError: The lock is free already; the semaphore has as many permits as it may.
            AssertionError: The caller does not have the re-entrant lock.
        """
    def __enter__(self) -> bool: ...
    def __exit__(self, *_args: object) -> None: ...
    def _acquire_now(self) -> bool:
        """Takes it if that needs no waiting; returns whether it did.

        Raises:
            OwnerDied: As `acquire`.
        """
    def _arm(self) -> tuple[Sequence[int], Armed] | None:
        """Returns descriptors of which one is readable when it is worth another try.

        None when it is now. The second keeps them open.
        """
    def _is_mine(self) -> bool: ...
    def _count(self) -> int: ...
    def _get_value(self) -> int: ...
    def _is_zero(self) -> bool: ...
    @property
    def handle(self) -> int:
        """Where it lies in the arena."""
    @property
    def kind(self) -> int:
        """RECURSIVE_MUTEX or SEMAPHORE, as `multiprocessing` numbers them."""
    @property
    def maxvalue(self) -> int:
        """How often it can be free at once."""

@disjoint_base
class Lock(_SemLock):
    """A lock that anybody may release."""

    def _create(self) -> None:
        """Makes a new one of it."""
    def _attach(self, handle: tuple[int, int]) -> None:
        """Makes it the one that a relative has lent."""

@disjoint_base
class RLock(_SemLock):
    """A lock that its owner may take again."""

    def _create(self) -> None:
        """Makes a new one of it."""
    def _attach(self, handle: tuple[int, int]) -> None:
        """Makes it the one that a relative has lent."""

@disjoint_base
class Semaphore(_SemLock):
    """A number of permits."""

    def _create(self, value: int, maxvalue: int) -> None:
        """Makes a new one of it.

        Raises:
            ValueError: The value is negative or above the highest one.
        """
    def _attach(self, handle: tuple[int, int], maxvalue: int) -> None:
        """Makes it the one that a relative has lent, with its highest value."""

def quick(class_: type[_L], /) -> type[_L]:
    """Gives a class the methods of its native base as its own, which are called faster.

    They are `acquire`, `release` and those of a `with`.

    Raises:
        TypeError: It is no lock and no semaphore.
    """

@disjoint_base
class Event(_Lent):
    """A flag to wait for."""

    def _create(self) -> None:
        """Makes a new one of it."""
    def _attach(self, handle: tuple[int, int]) -> None:
        """Makes it the one that a relative has lent."""
    def is_set(self) -> bool:
        """Returns whether it is set."""
    def set(self) -> None:
        """Sets it and wakes all that wait."""
    def _fileno(self) -> int:
        """Returns a descriptor that is readable while it is set."""
    def _times_set(self) -> int:
        """Returns how often it was set so far."""
    def _arm(self, times: int) -> tuple[Sequence[int], Armed] | None:
        """As that of a lock: until it was set since it had been so many times."""
    def clear(self) -> None:
        """Clears it."""
    def wait(self, timeout: float | None = None) -> bool:
        """Waits until it is set; returns whether it is before the time is over."""

class Guarding:
    """Takes a condition's `_lock` for a `with` statement, and frees it."""

    _lock: Any

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self: ...
    def __enter__(self) -> bool: ...
    def __exit__(self, kind: object, error: object, traceback: object) -> None: ...

@final
class Condition:
    """Those that wait for a condition, without the lock that guards it."""

    def __new__(cls) -> Self: ...
    def wait(
        self, lock: Lock | RLock | Semaphore, timeout: float | None = None
    ) -> bool:
        """Releases the lock, waits to be notified, and takes the lock again.

        Raises:
            AssertionError: The caller does not hold the lock.
        """
    def enlist(self) -> WaitPlace:
        """Gives a task a place at the end of the line."""
    def arm(self, place: WaitPlace) -> tuple[Sequence[int], Armed] | None:
        """Returns descriptors to watch until a place is notified, as `_arm` of a lock."""
    def notify(self, lock: Lock | RLock | Semaphore, n: int) -> None:
        """Wakes up to `n`, the first comers first.

        Raises:
            AssertionError: The caller does not hold the lock.
        """
    def notify_all(self, lock: Lock | RLock | Semaphore) -> None:
        """Wakes all, as `notify`."""
    def n_waiting(self) -> int:
        """Returns how many wait."""
    def __reduce__(self) -> tuple[Any, ...]: ...

def rebuild_condition(offset: int, serial: int) -> Condition:
    """Returns the condition that a pickle tells of."""

@final
class BarrierPlace:
    """The place of a task that has come to a barrier."""

    @property
    def index(self) -> int:
        """How many had come before."""
    def is_open(self) -> bool:
        """Returns whether all have come and may go on.

        Raises:
            threading.BrokenBarrierError: It was broken or reset.
        """
    def leave(self) -> None:
        """Leaves; the task has not come, unless all have."""

@final
class Barrier:
    """A place where processes wait for one another.

    Raises:
        ValueError: There are no parties.
    """

    def __new__(cls, parties: int) -> Self: ...
    def wait(
        self, action: Callable[[], object] | None = None, timeout: float | None = None
    ) -> int:
        """Waits for the others; returns a number that differs for each.

        Raises:
            threading.BrokenBarrierError: It was broken or reset, or the time is over.
        """
    def try_arrive(self, action: Callable[[], object] | None) -> BarrierPlace | None:
        """Comes without waiting; None while the action of those before still runs.

        Raises:
            threading.BrokenBarrierError: It is broken.
        """
    def arm(
        self, place: BarrierPlace | None = None
    ) -> tuple[Sequence[int], Armed] | None:
        """Returns descriptors to watch until it is worth coming, or looking again."""
    def reset(self) -> None:
        """Makes it as new."""
    def abort(self) -> None:
        """Breaks it."""
    @property
    def parties(self) -> int:
        """How many have to come."""
    @property
    def n_waiting(self) -> int:
        """How many are waiting."""
    @property
    def broken(self) -> bool:
        """Whether it is broken."""
    def __reduce__(self) -> tuple[Any, ...]: ...

def readable_now(fds: Sequence[int]) -> list[int]:
    """Returns the places of those descriptors that are readable now, or are none."""

def rebuild_barrier(offset: int, serial: int) -> Barrier:
    """Returns the barrier that a pickle tells of."""

# Memory.

@final
class Block(Buffer):
    """Memory that several processes see; zero at first."""

    def __new__(cls, size: int) -> Self: ...
    def __len__(self) -> int: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

def rebuild_block(offset: int, serial: int, len: int) -> Block:
    """Returns the block that a pickle tells of."""

# Messages.

@disjoint_base
class Queue(_Lent):
    """A queue of pickled objects; the base of the classes in `queues`."""

    _closed: bool
    @property
    def _maxsize(self) -> int: ...
    def _create(self, maxsize: int) -> None:
        """Makes a new one of it."""
    def _attach(self, handle: tuple[int, int]) -> None:
        """Makes it the one that a relative has lent."""
    def put(self, obj: Any, block: bool = True, timeout: float | None = None) -> None:
        """Puts an item.

        Raises:
            ValueError: The queue is closed.
            queue.Full: There was no room before the time was over.
        """
    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Returns an item.

        Raises:
            ValueError: The queue is closed.
            queue.Empty: There was none before the time was over.
        """
    def put_many(
        self, items: Iterable[Any], block: bool = True, timeout: float | None = None
    ) -> None:
        """Puts many items, in fewer steps than one by one.

        Those that were put stay, though the time is over before all are, or one of them
        cannot be pickled.

        Raises:
            ValueError: This process has closed the queue.
            queue.Full: There was no room for all before the time was over; `items_put` of
                the error says how many were put.
            ShutDown: The queue was shut down; `items_put` as above.
        """
    def get_many(
        self, max: int, block: bool = True, timeout: float | None = None
    ) -> list[Any]:
        """Waits for an item, and returns it with those that are there, up to `max`.

        Raises:
            ValueError: `max` is negative, or this process has closed the queue.
            queue.Empty: There was none before the time was over.
            ShutDown: The queue was shut down, and is empty.
        """
    def _shut_down(self, immediate: bool) -> None:
        """Has it take no more items, from any process; throws away those that it has."""
    def _unfinished(self) -> int:
        """Returns how many items were put and are not done."""
    def _task_done(self) -> None:
        """Says that an item is done.

        Raises:
            ValueError: All are.
        """
    def _join(self, timeout: float | None = None) -> bool:
        """Waits until all items are done; tells whether they were in time."""
    def _prepare(self, obj: Any) -> PendingItem | None:
        """Pickles an item; None when a subclass has dealt with an error."""
    def _put_now(self, item: PendingItem) -> bool:
        """Puts an item if there is room; returns whether it is in."""
    def _arm_for_items(self) -> tuple[Sequence[int], Armed] | None:
        """As `_arm` of a lock: until there is something to get."""
    def _arm_for_room(self) -> tuple[Sequence[int], Armed] | None:
        """As `_arm` of a lock: until there is room."""
    def _arm_for_tasks(self) -> tuple[Sequence[int], Armed] | None:
        """As `_arm` of a lock: until all items are done."""
    def put_nowait(self, obj: Any) -> None:
        """Puts an item if there is room now."""
    def get_nowait(self) -> Any:
        """Returns an item if there is one now."""
    def put_bytes(self, data: Buffer) -> None:
        """Puts an item that is pickled already."""
    def get_bytes(self) -> bytes:
        """Waits for an item and returns its pickle."""
    def qsize(self) -> int:
        """Returns how many items there are."""
    def empty(self) -> bool:
        """Returns whether there are none.

        Raises:
            OSError: This process has put items, and closed the queue.
        """
    def full(self) -> bool:
        """Returns whether there is no room."""
    def fileno(self) -> int:
        """Returns a descriptor that is readable while there are items."""

@disjoint_base
class Connection:
    """One end of a pipe or a socket; the base of the class in `connection`."""

    _handle: int | None
    _readable: bool
    _writable: bool
    _is_ours: bool
    def __new__(
        cls,
        handle: int,
        readable: bool = True,
        writable: bool = True,
        *,
        _track: Track | tuple[int, int, int] | None = None,
    ) -> Self: ...
    def _lend_track(self) -> tuple[int, int, int] | None:
        """Returns what goes with the descriptor to another process."""
    @property
    def closed(self) -> bool:
        """Whether the connection is closed."""
    @property
    def readable(self) -> bool:
        """Whether it may be read from."""
    @property
    def writable(self) -> bool:
        """Whether it may be written to."""
    def fileno(self) -> int:
        """Returns the descriptor."""
    def close(self) -> None:
        """Closes the descriptor."""
    def send(self, obj: Any) -> None:
        """Sends an object."""
    def recv(self) -> Any:
        """Waits for an object and returns it."""
    def send_bytes(self, buf: Buffer, offset: int = 0, size: int | None = None) -> None:
        """Sends bytes."""
    def recv_bytes(self, maxlength: int | None = None) -> bytes:
        """Waits for bytes and returns them."""
    def _recv_bytes_within(self, maxlength: int, timeout: float) -> bytes:
        """Waits for bytes, all of which must have come in so many seconds.

        Raises:
            TimeoutError: They have not; the connection is of no use any more.
        """
    def _prepare(self, obj: Any) -> Outgoing:
        """Returns an object as a message to send."""
    def _prepare_bytes(
        self, buf: Buffer, offset: int = 0, size: int | None = None
    ) -> Outgoing:
        """Returns bytes as a message to send."""
    def _send_now(self, message: Outgoing) -> bool:
        """Sends what can be sent without a wait; returns whether that was all."""
    def _arm_to_send(
        self, message: Outgoing
    ) -> tuple[Sequence[int], Armed | None] | None:
        """Returns descriptors to watch until more can be sent, as `_arm` of a lock.

        One that is to be written to is inverted.
        """
    def _give_up(self, message: Outgoing) -> None:
        """Gives up what has not left; if a part has, nothing can be sent any more."""
    def _recv_now(self) -> tuple[Any] | None:
        """Receives an object if it is there, and keeps what has come of it if it is not."""
    def _recv_bytes_now(self, maxlength: int | None = None) -> tuple[bytes] | None:
        """Receives bytes if they are there, and keeps what has come if they are not."""
    def _fileno(self) -> int:
        """Returns the descriptor, for who polls it or hands it on, and sends nothing by it."""
    @property
    def _has_begun(self) -> bool:
        """Whether a part of a message has come."""
    def recv_bytes_into(self, buf: Buffer, offset: int = 0) -> int:
        """Waits for bytes and puts them into a buffer; returns how many they are."""
    def poll(self, timeout: float | None = 0.0) -> bool:
        """Waits until there is something to read or the time is over."""

@final
class Track:
    """The shared part of a pipe that was made in this process; it goes with the descriptor."""

def pipe(class_: type[_C], duplex: bool) -> tuple[_C, _C]:
    """Returns both ends of a pipe; unless it is duplex, only the second can write."""

@final
class LineEnd:
    """One end of a line that has no socket yet.

    Args:
        offered: The offer of another process; without it, an end is made.
    """

    def __new__(cls, offered: Any | None = None) -> Self: ...
    @property
    def offer(self) -> Any:
        """The offer that the other end attaches to, while this one is kept."""
    def open(self, handle: int) -> Line:
        """Returns the line over a connected socket, which becomes the line's own."""

@final
class Line:
    """Asks and answers in turn, by shared memory, with a socket to wake and to end."""

    @property
    def closed(self) -> bool:
        """Whether the line is closed."""
    def call(
        self, ident: str, name: str, args: Any, kwds: dict[str, Any] | None
    ) -> tuple[str, Any]:
        """Sends a request and returns the answer."""
    def send(self, obj: Any) -> None:
        """Sends an object."""
    def recv(self) -> Any:
        """Waits for an object and returns it."""
    def fileno(self) -> int:
        """Returns the descriptor of the socket."""
    def close(self) -> None:
        """Closes the line."""

# Processes.

@final
class Child:
    """A started process, as its parent holds it."""

    @property
    def pid(self) -> int:
        """The process id."""
    @property
    def sentinel(self) -> int:
        """A descriptor that is readable once the process has ended."""
    def poll(self) -> int | None:
        """Returns the exit code, or None while the process runs."""
    def wait(self, timeout: float | None = None) -> int | None:
        """Waits for the end; returns the exit code, or None if the time is over."""
    def send_signal(self, signum: int, tree: bool = False) -> None:
        """Sends a signal, if there is still somebody to get it.

        With `tree`, all that the process has started gets it, too.
        """
    def request_stop(self) -> None:
        """Sets the stop flag."""
    def stop_requested(self) -> bool:
        """Returns whether the stop flag is set."""
    def state(self) -> tuple[str, str | None]:
        """Returns the state, and what a blocked process waits for."""
    def take_outcome(self) -> Any | None:
        """Returns what the ended process has left, once; None if it left nothing."""

@final
class KeptFd:
    """A descriptor that was handed over, and is known from another of its number."""

    def __new__(cls, fd: int) -> Self: ...
    def is_ours(self) -> bool:
        """Returns whether it is open, by nobody else."""
    def fileno(self) -> int:
        """Returns the number.

        Raises:
            OSError: The program has closed it.
        """
    def close(self) -> None:
        """Closes it, unless its number is another's by now."""

def past_streams(fd: int) -> int:
    """Returns a descriptor that was handed over, moved past the standard streams."""

def fork(name: str, daemon: bool, run: Callable[..., NoReturn], *args: object) -> Child:
    """Starts a copy of this process, which calls `run` and ends."""

def bells_must_be_allowed() -> None: ...
def fork_failed(number: int) -> None: ...
def is_interrupt(error: BaseException) -> bool:
    """Returns whether a handler of a signal has raised this."""

@final
class GuardedField:
    """A field of the `_obj` of an object with a `_lock`, read and written while that is held."""

    def __new__(cls, name: str, doc: str) -> Self: ...
    def __get__(self, instance: Any, owner: type | None = None, /) -> Any: ...
    def __set__(self, instance: Any, value: Any, /) -> None: ...
    def __delete__(self, instance: Any, /) -> None: ...

def under_lock(lock: Any, act: Callable[..., _R], *arguments: Any) -> _R:
    """Calls `act` while it holds a lock, which no handler of a signal can leave locked.

    A `with` statement can, from CPython 3.14 on, where a handler raises right after it has
    taken the lock.
    """

def with_undo(
    begin: Callable[[], Any],
    act: Callable[..., Any],
    arguments: tuple[Any, ...],
    undo: Callable[[], Any],
) -> Any:
    """Calls `begin` and `act`, and `undo` if `act` raises.

    An error that the handler of a signal raises when `act` has returned undoes nothing.
    """

def launch(process: Any, children: set[Any]) -> None:
    """Starts a process object by its `_Popen`, and adds it to its parent's children.

    If anything raises meanwhile, no process is left.
    """

@final
class Payload:
    """What a child must know and what it is to run, pickled into the arena.

    Args:
        preparation: Data that the child needs before the process can be unpickled.
        process: The process object.
    """

    def __new__(cls, preparation: Any, process: Any) -> Self: ...

@final
class Task:
    """The payload of a started process."""

    @property
    def fds(self) -> list[int]:
        """The descriptors that the parent has passed on, in its order."""
    def load_preparation(self) -> Any:
        """Unpickles the first object."""
    def load_process(self) -> Any:
        """Unpickles the second object, once."""
    def booted(self) -> None:
        """Says that this process has been started: it knows what it is to do."""
    def function_is_next(self) -> None:
        """Says that nothing but the function is left to do of what this process was started for."""

def spawn(
    exe: bytes,
    argv: Sequence[bytes],
    name: str,
    daemon: bool,
    payload: Payload,
    fds: Sequence[int],
    env: Sequence[tuple[bytes, bytes]] | None = None,
    ahead: bool = True,
) -> Child:
    """Starts a program that calls `join` with the last of its arguments.

    With `ahead` it may have been booted before, unless there is something in its
    environment that is not in this process's.

    Raises:
        OSError: It cannot be started.
    """

def spawn_by(
    start: Callable[[str, list[int]], int],
    name: str,
    daemon: bool,
    payload: Payload,
    fds: Sequence[int],
) -> Child:
    """Starts a child by a function, which returns the pid.

    It is given the last argument of the child's command line, and the descriptors that
    the child must have.
    """

def end_spares() -> None:
    """Ends the interpreters that were booted ahead."""

def spare_pids() -> list[int]:
    """Returns the process ids of the interpreters that were booted ahead."""

def join(argument: str, ahead: Callable[[], object]) -> Task | None:
    """Joins the family that a parent's argument names; returns what there is to do.

    None when this process was booted ahead and is not needed. In one that was booted
    ahead, `ahead` is called before it waits.
    """

def pickle_by_program(is_replaced: bool) -> None:
    """Has messages written and read by the functions of `reduction`, or not any more."""

def look_at_main() -> bool:
    """As `main_has_file`; notes it for what is pickled from now on."""

def main_has_file() -> bool:
    """Returns whether other processes can read the main module, from a file or by name."""

def undo_unless_sent(undo: Callable[[], object]) -> None:
    """Has something called if the message that is being pickled is not sent as it is."""

def try_to_pickle(object: object, reader: str) -> None:
    """Pickles an object and sends nothing.

    Args:
        object: The object.
        reader: "child", "worker", "by name only" or "anybody".
    """

@final
class ForkServer:
    """The fork server as its users hold it; without a handle there is none yet."""

    ATTEMPTS: Final[int]
    """Servers in a row that may be killed before a start fails."""

    def __new__(cls, handle: tuple[int, int] | None = None) -> Self: ...
    def ensure(
        self,
        exe: bytes,
        argv: Sequence[bytes],
        payload: Callable[[], Payload],
        start: Callable[[str, list[int]], int] | None = None,
    ) -> None:
        """Starts the server by a command line, with a payload, unless it runs.

        With `start` it is started by that function, as in `spawn_by`.
        """
    def start(
        self, name: str, daemon: bool, payload: Payload, fds: Sequence[int]
    ) -> Child:
        """Starts a process by the server, which must have been started.

        Raises:
            BlockingIOError: The server cannot fork: it has several threads.
        """
    def stop(self) -> None:
        """Ends the server; what it has started lives on."""
    def is_running(self) -> bool:
        """Returns whether a server runs that may do what this process may."""
    def pid(self) -> int | None:
        """Returns the server's process id, or None if it does not run."""

@final
class Server:
    """The fork server as it sees itself; it joins the family that an argument names."""

    def __new__(cls, argument: str) -> Self: ...
    def handle(self) -> tuple[int, int]:
        """Returns the numbers by which relatives find the server, before it serves."""
    def load_preparation(self) -> Any:
        """Unpickles what the server was started with."""
    def serve(self, ahead: bool = True) -> Task | None:
        """Serves until killed. Returns in the processes that it forks.

        Returns:
            What there is to do, or None when there is nothing.
        """

# This process itself.

def parent_sentinel() -> int:
    """Returns a descriptor that is readable once the parent has ended; close it."""

def family_secret() -> bytes | None:
    """Returns what only processes of this family know, if this process is of one."""

def request_stop() -> None:
    """Asks this process itself to stop."""

def reclaim_dead() -> None:
    """Reclaims all relatives that have died, which tells who waits for what they had."""

def stop_requested() -> bool:
    """Returns whether this process was asked to stop."""

def wait_for_stop(timeout: float | None = None) -> bool:
    """Waits until this process is asked to stop or the time is over; returns whether it was."""

def leave_outcome(outcome: tuple[bool, Any]) -> None:
    """Leaves an object for the parent, which gets it when this process has ended."""

def confine(who: str, memory: int | None, cpus: Sequence[int] | None) -> None:
    """Binds this process to bytes of private memory, and to CPUs.

    Args:
        who: What errors call this process.
        memory: How many bytes it may have.
        cpus: Where it runs.

    Raises:
        ValueError: It has more memory already, or may not run there.
    """

def lift_memory_limit() -> None:
    """Lets this process have as much memory as before `confine`."""

def usable_cpus() -> int:
    """Returns how many CPUs this process may use."""

# The family.

def usage() -> dict[str, int]:
    """Returns what the family's shared memory holds.

    That is the number of blocks in use and their bytes, the objects among them by
    their kind, the members of the family, and the memory taken in all. Memory of dead
    processes is given back first.
    """

# Pools.

# How many seconds a task may take, how often it is run again, after how many seconds it is
# interrupted, its priority, what its error does to its map, and whether the tasks are dealt in a
# fixed order of workers.
_Terms: TypeAlias = tuple[float | None, int, float | None, int, str, bool]

_R = TypeVar("_R")

@disjoint_base
class FutureState:
    """What the future of an executor's call keeps, under the names of `concurrent.futures`."""

    def __new__(cls, caller: Any = None) -> Self: ...
    _state: str
    _result: Any
    _exception: BaseException | None
    _condition: threading.Condition
    _waiters: list[Any]
    _done_callbacks: list[Callable[[Any], object]]
    @property
    def _caller(self) -> Any: ...
    @property
    def _call(self) -> ApplyResult[Any] | None: ...
    def _adopt(self, call: ApplyResult[Any]) -> None:
        """Says which call it is the future of, unless it is done already."""
    def _drop_call(self) -> None:
        """Forgets the call: what it came from is not kept."""
    def _is_open(self) -> bool:
        """Tells whether it is not done."""
    def _has_value(self) -> bool:
        """Tells whether it has a value, rather than an error, or no outcome yet."""

@disjoint_base
class ApplyResult(Generic[_R]):
    """The result of a call that is still on its way."""

    def __new__(
        cls,
        pool: Any,
        callback: Callable[[_R], object] | None,
        error_callback: Callable[[BaseException], object] | None,
        *,
        owner: Any = None,
        listener: Any = None,
    ) -> Self: ...
    def ready(self) -> bool:
        """Returns whether the result is there."""
    def successful(self) -> bool:
        """Returns whether it is a value, not an error.

        Raises:
            ValueError: It is not there yet.
        """
    def wait(self, timeout: float | None = None) -> None:
        """Waits until the result is there or the time is over."""
    def get(self, timeout: float | None = None) -> _R:
        """Waits for the result and returns it.

        Raises:
            TimeoutError: The time is over.
            WorkerDied: The worker died while it ran the task.
            TaskTimeout: The task took longer than it might.
            CancelledError: The task was cancelled.
            Exception: What the function raised, with the worker's traceback as its
                cause.
        """
    def cancel(self, kill: bool = False) -> bool:
        """Cancels the task, or all tasks of a map; `multiprocessing` has no such method.

        The tasks that have not begun never will. Those that run go on, unless they are to
        be killed, with their workers; nothing else is lost. A result that was cancelled is
        a `CancelledError`: that of a map once its tasks that run have ended.

        Args:
            kill: Whether tasks that run are killed.

        Returns:
            Whether there was something to cancel.

        Raises:
            ValueError: The pool is one of threads, or has queues of its own.
        """
    def running(self) -> bool:
        """Returns whether a worker has begun with the task, and not ended it.

        `multiprocessing` has no such method. Of a map it is whether any task is.
        """
    def cancelled(self) -> bool:
        """Returns whether the result is there, and is a `CancelledError`."""
    def __await__(self) -> Generator[Any, None, _R]:
        """Waits in asyncio, uvloop or trio, and returns or raises what `get` does.

        No thread waits meanwhile. If the task that awaits it is cancelled, the call is
        cancelled, too, and killed if it runs.
        """
    def _notify(self, waker: Callable[[], object]) -> bool:
        """Has a function called when the result is there; False if it is there."""
    def _set(
        self,
        i: int,
        obj: tuple[bool, Any],
        *,
        of_task: bool = True,
        told: bool = True,
    ) -> None: ...
    def __class_getitem__(cls, item: Any) -> GenericAlias: ...
    @property
    def _job(self) -> int: ...
    @property
    def _pool(self) -> Any: ...
    @property
    def _cache(self) -> dict[int, Any]: ...
    @property
    def _success(self) -> bool: ...
    @property
    def _value(self) -> Any: ...

@final
class MapResult(ApplyResult[list[_R]]):
    """The result of a map that is still on its way."""

    def __new__(
        cls,
        pool: Any,
        chunksize: int,
        length: int,
        callback: Callable[[list[_R]], object] | None,
        error_callback: Callable[[BaseException], object] | None,
        progress: Any = None,
        *,
        owner: Any = None,
        on_error: str = "continue",
    ) -> Self: ...
    @property
    def _number_left(self) -> int: ...
    @property
    def _chunksize(self) -> int: ...

@disjoint_base
class IMapIterator(Generic[_R]):
    """Results one by one, in the order of the inputs."""

    def __new__(
        cls,
        pool: Any,
        progress: Any = None,
        *,
        owner: Any = None,
        on_error: str = "continue",
        chunksize: int = 1,
        workers: int | None = None,
    ) -> Self: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> _R: ...
    def next(self, timeout: float | None = None) -> _R:
        """Waits for the next result and returns it.

        Raises:
            TimeoutError: The time is over.
            StopIteration: There are no more.
        """
    def cancel(self, kill: bool = False) -> bool:
        """Cancels what is left; `multiprocessing` has no such method.

        No more inputs are asked for: if any are left, the last result is a
        `CancelledError`. Tasks that have not begun never will, and in the place of the
        result of each stands one, too. Those that run go on, unless they are to be killed,
        with their workers. All results can still be fetched.

        Args:
            kill: Whether tasks that run are killed.

        Returns:
            Whether there was something to cancel.

        Raises:
            ValueError: The pool is one of threads, or has queues of its own.
        """
    def __class_getitem__(cls, item: Any) -> GenericAlias: ...
    def close(self) -> None:
        """Cancels what is left, and gives up all results: there are no more to fetch.

        For who breaks off in the middle, as `contextlib.closing` does; else the pool goes
        on until it has a bounded number of results that nobody fetches. `multiprocessing`
        has no such method.
        """
    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Awaitable[_R]:
        """Waits for the next result in asyncio, uvloop or trio.

        No thread waits meanwhile. If the task that awaits it is cancelled, all that is left
        is cancelled, too, and killed if it runs.
        """
    def _notify(self, waker: Callable[[], object] | None = None) -> bool:
        """Has a function called when `next` does not wait; False if it does not now."""
    def _set(
        self, i: int, obj: tuple[bool, Any], *, of_task: bool = True, size: int = 0
    ) -> None: ...
    def _set_length(self, length: int) -> None: ...
    def _set_last(self, index: int, count: int) -> None:
        """Says that the task at a place has fewer inputs than others: it is the last."""
    def _is_full(self, tasks: int) -> bool:
        """Returns whether no more tasks are to be made for now, after so many.

        The owner is told by `resume` when that changes.
        """
    def _is_cancelled(self) -> bool:
        """Returns whether tasks that were not made yet are not wanted."""
    def _set_cancelled(self) -> None:
        """Says that the tasks that were not made yet are not wanted."""
    def _make_all(self) -> None:
        """Has all tasks made, however many results there are."""
    @property
    def _job(self) -> int: ...
    @property
    def _index(self) -> int: ...
    @property
    def _length(self) -> int | None: ...

@final
class IMapUnorderedIterator(IMapIterator[_R]):
    """Results one by one, as they come."""

@final
class CallTimes:
    """How long the calls of a pool took."""

    @property
    def total(self) -> float:
        """All together, in seconds."""
    @property
    def shortest(self) -> float | None:
        """The shortest, in seconds; None while there was none."""
    @property
    def longest(self) -> float | None:
        """The longest."""
    def quantile(self, part: float) -> float | None:
        """Returns the time within which such a part of the calls was done."""

@final
class Pool:
    """The workers of a pool and what they have to do.

    Calls take the `Pool` that they are for, because results keep it alive, and how many
    seconds a task may take and how often it is run again.

    Args:
        start: Its `make` returns the process object for a channel and a place in the pool,
            its `note` is told of one that has started.
        size: The number of workers.
        tasks_per_worker: After how many tasks a worker is replaced.
        errors: Makes the error of a task that has no reply; it is given "died",
            "cancelled" or "ended", and the error as it would be.
        most: The number of workers that `grow` may lead to.
        by_name_only: Whether tasks are pickled plainly, with nothing by value.
        idle_timeout: After how many seconds without a task a worker ends.
        setup_limit: How many seconds a worker may take to set itself up, and what does that,
            for the text of errors.
    """

    def __new__(
        cls,
        start: Any,
        size: int,
        tasks_per_worker: int | None = None,
        errors: Callable[[str, Any], BaseException] | None = None,
        most: int | None = None,
        by_name_only: bool = False,
        idle_timeout: float | None = None,
        setup_limit: tuple[float, str] | None = None,
    ) -> Self: ...
    @property
    def cache(self) -> dict[int, Any]:
        """The results that are still on their way, by number."""
    def start(self) -> None:
        """Starts the workers; if that fails, the pool ends."""
    def resize(self, size: int) -> None:
        """Changes the number of workers; raises why one could not be started."""
    def stats(self) -> dict[str, Any]:
        """Returns what the pool has done, and does, as `_pool_stats` reads it."""
    def worker_views(self) -> list[tuple[int, int, int]]:
        """Returns of each worker its place, its process id, and how many tasks it has done."""
    def apply(
        self, pool: Any, func: Any, args: Any, kwds: Any, terms: _Terms | None = None
    ) -> Any:
        """Calls a function in a worker and waits for what it returns."""
    def apply_async(
        self,
        pool: Any,
        func: Any,
        args: Any,
        kwds: Any,
        callback: Any = None,
        error_callback: Any = None,
        terms: _Terms | None = None,
    ) -> ApplyResult[Any]:
        """Has a function called in a worker; returns the result to come."""
    def submit(
        self,
        pool: Any,
        future: Any,
        func: Any,
        args: Any,
        kwds: Any,
        terms: _Terms | None = None,
    ) -> ApplyResult[Any]:
        """Has a function called in a worker; `future._settle` is told what came of it.

        It is given whether the call succeeded, the value or the error, and whether that
        is told in a thread which waits for this or another result. There are more workers
        afterwards if all had something to do.

        Raises:
            OSError: The pool takes no more tasks.
        """
    def map(
        self,
        pool: Any,
        func: Any,
        items: Any,
        chunksize: int,
        star: bool,
        terms: _Terms | None = None,
        progress: Any = None,
    ) -> list[Any]:
        """Calls a function with each of the items and waits for the results."""
    def map_async(
        self,
        pool: Any,
        func: Any,
        items: Any,
        chunksize: int,
        star: bool,
        callback: Any = None,
        error_callback: Any = None,
        terms: _Terms | None = None,
        progress: Any = None,
    ) -> MapResult[Any]:
        """Has a function called with each of the items; returns the result to come."""
    def imap(
        self,
        pool: Any,
        func: Any,
        iterable: Any,
        chunksize: int,
        ordered: bool,
        terms: _Terms | None = None,
        star: bool = False,
        unbounded: bool = False,
        progress: Any = None,
    ) -> tuple[IMapIterator[Any], Feeder | None]:
        """Has a function called with what an iterable yields.

        Args:
            pool: The `Pool` that it is for.
            func: The function.
            iterable: What yields the inputs.
            chunksize: How many inputs make a task.
            ordered: Whether the results come in the order of the inputs.
            terms: How long a task may take, and how often it is run again.
            star: Whether an input is the arguments of a call.
            unbounded: Whether results are made that nobody fetches.
            progress: Its `arrived` is told of each task that is done, by its place,
                whether it has succeeded, and its value or error, its `ended` when nothing more will come.

        Returns:
            The results, and what is to be run in a thread if the iterable may block.
        """
    def populate(self, pool: Any) -> None:
        """Replaces the workers that have ended; has as many as `_processes` of the pool says."""
    def grow(self, tasks: int) -> None:
        """Has as many workers as there are tasks, within the bounds of the pool."""
    def cancel(self) -> None:
        """Cancels all that has not begun."""
    def broken(self) -> str | None:
        """Returns why it runs no more tasks, if nobody has asked for its end."""
    def close(self) -> None:
        """Takes no more tasks; the workers end when they have done what they have."""
    def terminate(self) -> None:
        """Ends the workers, busy or not."""
    def join(self) -> None:
        """Waits until all workers have ended."""

@final
class Feeder:
    """Asks an iterable for inputs and makes tasks of them."""

    def run(self) -> None:
        """Feeds the pool until the inputs or the pool have ended."""

@final
class PoolWorker:
    """A worker of a pool, in its own process.

    Args:
        channel: The handle of its channel, by which it finds its pool.
    """

    def __new__(cls, channel: tuple[int, int]) -> Self: ...
    def confine(
        self, memory: int | None, resident: int | None, cpus: Sequence[int] | None
    ) -> None:
        """Binds this process, before it sets itself up.

        Args:
            memory: How many bytes of private memory it may have.
            resident: It is replaced between tasks when it has more bytes in RAM.
            cpus: Where it runs.
        """
    def begin_setup(self) -> None:
        """Notes that it begins to set itself up, for which the pool has a time limit."""
    def crash_fd(self) -> int | None:
        """Returns the descriptor that `faulthandler` is to write to; None if it knows that.

        Nothing needs to be open there, and nothing is until this process crashes.
        """
    def report_crash(self, fd: int | None) -> None:
        """Has the pool told what `faulthandler`, which is enabled, writes in a crash."""
    def fail(self, packed: Any) -> None:
        """Tells the pool, by a packed error, that this worker cannot be set up."""
    def fail_briefly(self) -> None:
        """Tells the same, where there is no memory to pack an error."""
    def run(
        self, pack: Callable[[BaseException, Any], Any], by_name_only: bool = False
    ) -> None:
        """Works until there are no more tasks.

        Args:
            pack: Makes what can be sent of an error, and of the value that it kept
                from being sent or None.
        """

@final
class TraceWriter:
    """Writes what the processes of this family do into a file, until it is ended.

    Raises:
        OSError: The file cannot be made.
        ValueError: A process of the family writes a trace already.
    """

    def __new__(cls, path: str | bytes | PathLike[str]) -> Self: ...
    @property
    def path(self) -> str:
        """The full name of the file."""
    def end(self) -> None:
        """Ends the trace, and waits until the file has all of it.

        Raises:
            OSError: The file could not be written.
        """

def view_once(pid: int | None, form: str) -> str:
    """Returns what families do now, in a form: text, json or openmetrics.

    Raises:
        OSError: The process is another user's, or there is none.
        ValueError: It belongs to no family, or there is no such form.
    """

def openmetrics(pid: int | None = None) -> str:
    """Returns the metrics of a process's family; by default of this process's.

    Raises:
        OSError: The process is another user's, or there is none.
        ValueError: It belongs to no family.
    """

@final
class Watcher:
    """Looks again and again at the family of a process; by default at all of this user.

    A family that is mapped once is seen until its last process has ended.
    """

    def __new__(cls, pid: int | None = None) -> Self: ...
    def look(self, form: str) -> str:
        """Returns what they do now, in a form: text, json or openmetrics.

        Raises:
            OSError: The process is another user's, or there is none.
            ValueError: It belongs to no family, or there is no such form.
        """
    def metrics(self) -> list[_Metric]:
        """Returns the metrics of what they do now.

        Raises:
            OSError: The process is another user's, or there is none.
            ValueError: It belongs to no family.
        """

# A name, counter or gauge, the unit, what it says, and the values by their labels.
_Metric: TypeAlias = tuple[
    str, str, str | None, str, list[tuple[dict[str, str], float]]
]

def metrics() -> list[_Metric]:
    """Returns the metrics of this process's family."""

def view(pid: int | None) -> None:
    """Shows in this terminal what families do, until the user leaves."""
