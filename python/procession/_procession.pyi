"""The engine of procession, as Python sees it. Private: use the package."""

from collections.abc import Buffer, Callable, Sequence
from typing import Any, Self, final

SEM_VALUE_MAX: int

# Waiting.

def wait(
    things: Sequence[int | Queue | Event], timeout: float | None = None
) -> list[int]:
    """Returns the places of those that are ready: descriptors, queues and events.

    Waits until one is or the time is over.

    Raises:
        ValueError: A descriptor is negative.
    """

# Locks and the like. Each may be pickled at any time, and is the same object in the
# process that unpickles it.

@final
class Lock:
    """A lock that anybody may release."""

    def __new__(cls) -> Self: ...
    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Takes it; returns whether it could before the time was over.

        Raises:
            OwnerDied: A process died while it held it; it is free again now.
        """
    def release(self) -> None:
        """Gives it back.

        Raises:
            ValueError: Nobody has it.
        """
    def __enter__(self) -> bool: ...
    def __exit__(self, *args: object) -> None: ...
    def __reduce__(self) -> tuple[Any, ...]: ...
    def _is_mine(self) -> bool: ...
    def _count(self) -> int: ...
    def _get_value(self) -> int: ...
    def _is_zero(self) -> bool: ...
    @property
    def handle(self) -> int: ...
    @property
    def kind(self) -> int: ...
    @property
    def maxvalue(self) -> int: ...
    @property
    def name(self) -> None: ...

@final
class RLock:
    """A lock that its owner may take again."""

    def __new__(cls) -> Self: ...
    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Takes it; returns whether it could before the time was over.

        Raises:
            OwnerDied: A process died while it held it; it is free again now.
        """
    def release(self) -> None:
        """Gives it back, once.

        Raises:
            AssertionError: The caller does not have it.
        """
    def __enter__(self) -> bool: ...
    def __exit__(self, *args: object) -> None: ...
    def __reduce__(self) -> tuple[Any, ...]: ...
    def _is_mine(self) -> bool: ...
    def _count(self) -> int: ...
    def _get_value(self) -> int: ...
    def _is_zero(self) -> bool: ...
    @property
    def handle(self) -> int: ...
    @property
    def kind(self) -> int: ...
    @property
    def maxvalue(self) -> int: ...
    @property
    def name(self) -> None: ...

@final
class Semaphore:
    """A number of permits.

    Raises:
        ValueError: The value is negative or above the highest one.
    """

    def __new__(cls, value: int, maxvalue: int) -> Self: ...
    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Takes a permit; returns whether it could before the time was over."""
    def release(self) -> None:
        """Gives a permit.

        Raises:
            ValueError: There are as many as there may be.
        """
    def __enter__(self) -> bool: ...
    def __exit__(self, *args: object) -> None: ...
    def __reduce__(self) -> tuple[Any, ...]: ...
    def _is_mine(self) -> bool: ...
    def _count(self) -> int: ...
    def _get_value(self) -> int: ...
    def _is_zero(self) -> bool: ...
    @property
    def handle(self) -> int: ...
    @property
    def kind(self) -> int: ...
    @property
    def maxvalue(self) -> int: ...
    @property
    def name(self) -> None: ...

@final
class Condition:
    """Those that wait for a condition, without the lock that guards it."""

    def __new__(cls) -> Self: ...
    def wait(
        self, lock: Lock | RLock | Semaphore, timeout: float | None = None
    ) -> bool:
        """Releases the lock, waits to be notified, and takes the lock again."""
    def notify(self, n: int = 1) -> None:
        """Wakes up to `n`, the first comers first."""
    def notify_all(self) -> None:
        """Wakes all."""
    def n_waiting(self) -> int:
        """Returns how many wait."""
    def __reduce__(self) -> tuple[Any, ...]: ...

@final
class Event:
    """A flag to wait for."""

    def __new__(cls) -> Self: ...
    def is_set(self) -> bool:
        """Returns whether it is set."""
    def set(self) -> None:
        """Sets it and wakes all that wait."""
    def clear(self) -> None:
        """Clears it."""
    def wait(self, timeout: float | None = None) -> bool:
        """Waits until it is set; returns whether it is before the time is over."""
    def __reduce__(self) -> tuple[Any, ...]: ...

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
    def reset(self) -> None:
        """Makes it as new."""
    def abort(self) -> None:
        """Breaks it."""
    @property
    def parties(self) -> int: ...
    @property
    def n_waiting(self) -> int: ...
    @property
    def broken(self) -> bool: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

# Memory.

@final
class Block(Buffer):
    """Memory that several processes see; zero at first."""

    def __new__(cls, size: int) -> Self: ...
    def __len__(self) -> int: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

# Messages.

class Queue:
    """A queue of pickled objects; the base of the classes in `queues`."""

    _closed: bool
    _maxsize: int
    def __new__(cls, *args: Any, **kwargs: Any) -> Self: ...
    def _create(self, maxsize: int) -> None: ...
    def _lend(self) -> tuple[int, int]: ...
    def _attach(self, handle: tuple[int, int]) -> None: ...
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
        """Returns whether there are none."""
    def full(self) -> bool:
        """Returns whether there is no room."""
    def fileno(self) -> int:
        """Returns a descriptor that is readable while there are items."""

class Connection:
    """One end of a pipe or a socket; the base of the class in `connection`."""

    _handle: int | None
    _readable: bool
    _writable: bool
    def __new__(
        cls,
        handle: int,
        readable: bool = True,
        writable: bool = True,
        *,
        _family: bool = False,
    ) -> Self: ...
    @property
    def _family(self) -> bool: ...
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
    def recv_bytes_into(self, buf: Buffer, offset: int = 0) -> int:
        """Waits for bytes and puts them into a buffer; returns how many they are."""
    def poll(self, timeout: float | None = 0.0) -> bool:
        """Waits until there is something to read or the time is over."""

def pipe() -> tuple[int, int]:
    """Returns two descriptors that are connected in both directions."""

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
    def send_signal(self, signum: int) -> None:
        """Sends a signal, if there is still somebody to get it."""
    def request_stop(self) -> None:
        """Sets the stop flag."""
    def stop_requested(self) -> bool:
        """Returns whether the stop flag is set."""
    def state(self) -> tuple[str, str | None]:
        """Returns the state, and what a blocked process waits for."""
    def take_outcome(self) -> Any | None:
        """Returns what the ended process has left, once; None if it left nothing."""
    def close(self) -> None:
        """Closes the sentinel."""

@final
class ForkPlace:
    """The place of a child while it is being forked."""

    def cancel(self) -> None:
        """Gives the place up: there is no child."""
    def started(self, pid: int) -> Child:
        """In the parent: returns the child that has the place."""
    def entered(self) -> int | None:
        """In the child: returns a descriptor that tells of the parent's end."""

def prepare_fork(daemon: bool) -> ForkPlace:
    """Sets a place aside for the child that the caller forks next."""

def request_stop() -> None:
    """Asks this process itself to stop."""

def stop_requested() -> bool:
    """Returns whether this process was asked to stop."""

def leave_outcome(outcome: Any) -> None:
    """Leaves an object for the parent, which gets it when this process has ended."""
