"""The exceptions of the package.

The first four are those of `multiprocessing`; the others say what only procession
notices. Leaves out `queue.Empty` and `queue.Full`, which are the standard library's
own here too.
"""

from __future__ import annotations

import errno

__all__ = [
    "AuthenticationError",
    "BufferTooShort",
    "CancelledError",
    "MemoryLimitExceeded",
    "OwnerDied",
    "ProcessError",
    "RemoteError",
    "RemoteTraceback",
    "SoftTimeout",
    "TaskTimeout",
    "TimeoutError",
    "WorkerDied",
    "describe_exit",
    "signal_name",
]


class ProcessError(Exception):
    """The base of all errors of the package, as in `multiprocessing`.

    Example:
        >>> import procession
        >>> issubclass(procession.WorkerDied, procession.ProcessError)
        True
    """

    __module__ = "procession.context"


class BufferTooShort(ProcessError):
    """A message does not fit the buffer it was to be read into.

    `args[0]` is the message, as in `multiprocessing`.

    Example:
        >>> import procession
        >>> here, there = procession.Pipe()
        >>> here.send_bytes(b"six by six")
        >>> try:
        ...     there.recv_bytes_into(bytearray(4))
        ... except procession.BufferTooShort as error:
        ...     print(error.args[0])
        b'six by six'
    """

    __module__ = "procession.context"


class TimeoutError(ProcessError):
    """The time given to a call is over, as in `multiprocessing`.

    Example:
        >>> import procession
        >>> import time
        >>> with procession.Pool(1) as pool:
        ...     slow = pool.apply_async(time.sleep, (60,))
        ...     try:
        ...         slow.get(timeout=0.01)
        ...     except procession.TimeoutError:
        ...         print("still running:", not slow.ready())
        still running: True
    """

    __module__ = "procession.context"


class AuthenticationError(ProcessError):
    """The other end of a connection does not know the key, as in `multiprocessing`.

    Example:
        >>> import procession
        >>> import threading
        >>> from procession.connection import Client, Listener
        >>> def accept(listener):
        ...     try:
        ...         listener.accept()
        ...     except procession.AuthenticationError:
        ...         print("a stranger was sent away")
        >>> with Listener(authkey=b"ours") as listener:
        ...     door = threading.Thread(target=accept, args=(listener,))
        ...     door.start()
        ...     try:
        ...         Client(listener.address, authkey=b"a guess")
        ...     except procession.AuthenticationError:
        ...         door.join()
        a stranger was sent away
    """

    __module__ = "procession.context"


class OwnerDied(ProcessError, OSError):
    """A process died while it held a lock.

    It is raised in exactly one of those that wait for the lock, which is free again
    afterwards; what it guarded may be half changed. It is an `OSError` too, with
    `errno` EOWNERDEAD. `multiprocessing` has nothing like it: there the lock stays
    taken for ever.

    Example:
        >>> import procession
        >>> lock = procession.Lock()
        >>> child = procession.Process(target=lock.acquire)
        >>> child.start()
        >>> child.join()  # It has ended without a release.
        >>> try:
        ...     lock.acquire()
        ... except procession.OwnerDied:
        ...     print("what the lock guards may be half changed")
        what the lock guards may be half changed
        >>> lock.acquire()
        True
    """

    __module__ = "procession.context"

    def __init__(self, message: str = "the owner of the lock died") -> None:
        super().__init__(errno.EOWNERDEAD, message)

    def __reduce__(self) -> tuple[type[OwnerDied], tuple[str]]:
        return type(self), (self.strerror or "",)

    def __str__(self) -> str:
        return self.strerror or ""


class WorkerDied(ProcessError):
    """A process ended before it could give its result.

    `multiprocessing` has nothing like it: there a pool waits for ever.

    Attributes:
        pid: Its process id.
        exitcode: Its exit code, negative for the signal that killed it.
        signal: The name of that signal, such as "SIGKILL", or None.
        task: What a worker of a pool was running, such as "module.function on input 3";
            None for other processes.
        tries: How many workers have died in that task, this one included.
        stack: Where a worker of a pool was when it crashed, by SIGSEGV, SIGFPE, SIGABRT,
            SIGBUS or SIGILL: the text that `faulthandler` writes of all threads. None of
            other deaths, and where the program has `faulthandler` write elsewhere.
        node: The name of the node that it was on, in a pool whose workers are on others
            than this; otherwise None.

    Example:
        >>> import os
        >>> import procession
        >>> with procession.Pool(2) as pool:
        ...     lost = pool.apply_async(os._exit, (3,))
        ...     try:
        ...         lost.get()
        ...     except procession.WorkerDied as error:
        ...         print(error.exitcode, error.task)
        ...     print(pool.map(abs, [-1, -2]))
        3 posix._exit
        [1, 2]
    """

    __module__ = "procession.context"

    def __init__(
        self,
        message: str,
        pid: int | None = None,
        exitcode: int | None = None,
        task: str | None = None,
        tries: int = 1,
        stack: str | None = None,
        node: str | None = None,
    ) -> None:
        super().__init__(message, pid, exitcode, task, tries, stack, node)
        self.pid = pid
        self.exitcode = exitcode
        self.signal = signal_name(exitcode)
        self.task = task
        self.tries = tries
        self.stack = stack
        self.node = node
        if stack is not None:
            self.add_note(f"Process {pid} crashed here:\n{stack}")

    def __str__(self) -> str:
        return str(self.args[0])


class _TaskLimit(TimeoutError):
    """The base of the errors that tell which task has run for longer than which limit."""

    __module__ = "procession.context"

    def __init__(
        self,
        message: str,
        task: str | None = None,
        limit: float | None = None,
        pid: int | None = None,
    ) -> None:
        super().__init__(message, task, limit, pid)
        self.task = task
        self.limit = limit
        self.pid = pid

    def __str__(self) -> str:
        return str(self.args[0])


class TaskTimeout(_TaskLimit):
    """A task of a pool took longer than its `timeout`; it was killed with its worker.

    `multiprocessing` has nothing like it: there a task takes what it takes.

    Attributes:
        task: What it was, such as "module.function on input 3".
        limit: How many seconds it might take.
        pid: The process id of the worker.

    Example:
        >>> import procession
        >>> import time
        >>> with procession.Pool(1) as pool:
        ...     try:
        ...         pool.apply(time.sleep, (60,), timeout=0.1)
        ...     except procession.TaskTimeout as error:
        ...         print(error.task, error.limit)
        time.sleep 0.1
    """

    __module__ = "procession.context"


class SoftTimeout(_TaskLimit):
    """A task of a pool has run for longer than its `soft_timeout`.

    It is raised within the task, which may handle it: it is not killed for that.

    Attributes:
        task: What it was, such as "module.function".
        limit: After how many seconds it was told.
        pid: The process id of the worker.

    Example:
        >>> import procession
        >>> import time
        >>> def careful():
        ...     try:
        ...         time.sleep(60)
        ...     except procession.SoftTimeout as error:
        ...         return f"stopped after {error.limit} s"
        >>> with procession.Pool(1) as pool:
        ...     print(pool.apply(careful, soft_timeout=0.1, timeout=30))
        stopped after 0.1 s
    """

    __module__ = "procession.context"


class MemoryLimitExceeded(ProcessError, MemoryError):
    """A task of a pool needed more memory than its worker may have.

    The task has failed, and its worker may have died of it. `multiprocessing` has nothing
    like it: there a task takes what it takes, and the machine may fall over.

    Attributes:
        task: What it was, such as "module.function on input 3".
        limit: How many bytes the worker may have.

    Example:
        >>> import procession
        >>> with procession.Pool(1, memory_limit=2 << 30) as pool:
        ...     try:
        ...         pool.apply(bytes, (8 << 30,))
        ...     except procession.MemoryLimitExceeded as error:
        ...         print(error.task, error.limit == 2 << 30)
        builtins.bytes True
    """

    __module__ = "procession.context"

    def __init__(
        self, message: str, task: str | None = None, limit: int | None = None
    ) -> None:
        super().__init__(message, task, limit)
        self.task = task
        self.limit = limit

    def __str__(self) -> str:
        return str(self.args[0])


class CancelledError(ProcessError):
    """A task of a pool was cancelled; `multiprocessing` has nothing like it.

    Example:
        >>> import procession
        >>> import time
        >>> with procession.Pool(1) as pool:
        ...     running = pool.apply_async(time.sleep, (60,))
        ...     running.cancel(kill=True)
        ...     try:
        ...         running.get()
        ...     except procession.CancelledError:
        ...         print("given up")
        True
        given up
    """

    __module__ = "procession.context"


class RemoteError(ProcessError):
    """Stands for an exception of another process that cannot be rebuilt in this one.

    An exception is rebuilt with its `args` and attributes, whatever arguments its class takes;
    but not if its class is not found here, or has a `__reduce__` that names what fails here.

    Attributes:
        type_name: The qualified name of the exception's class.
        traceback: The text of its traceback, as the other process would print it.

    Example:
        >>> import procession
        >>> class Refused(Exception):
        ...     def __reduce__(self):
        ...         return int, ("nothing",)  # It would be rebuilt by `int("nothing")`.
        >>> def enter():
        ...     raise Refused("no shoes")
        >>> with procession.Pool(1) as pool:
        ...     try:
        ...         pool.apply(enter)
        ...     except procession.RemoteError as error:
        ...         print(error)
        __main__.Refused: no shoes
    """

    __module__ = "procession.context"

    def __init__(self, type_name: str, message: str, traceback: str = "") -> None:
        super().__init__(type_name, message, traceback)
        self.type_name = type_name
        self.traceback = traceback

    def __str__(self) -> str:
        return f"{self.type_name}: {self.args[1]}"


class RemoteTraceback(Exception):
    """The cause of an exception that came from another process: its traceback there."""

    __module__ = "procession.pool"

    def __init__(self, tb: str) -> None:
        self.tb = tb

    def __str__(self) -> str:
        return self.tb


def describe_exit(exitcode: int) -> str:
    """Returns what an exit code says, as the end of a sentence about a process."""
    name = signal_name(exitcode)
    if name is not None:
        return f"was killed by {name}"
    if exitcode < 0:
        return f"was killed by signal {-exitcode}"
    return f"exited with code {exitcode}"


def signal_name(exitcode: int | None) -> str | None:
    """Returns the name of the signal that an exit code tells of, or None."""
    if exitcode is None or exitcode >= 0:
        return None
    # Not at the top: few processes die, and `signal` imports `enum`.
    import signal

    try:
        return signal.Signals(-exitcode).name
    except ValueError:
        return None
