"""The class `Process`: an activity that runs in a process of its own.

This is the part that all start methods share: what a process is called and belongs
to, what may be done with it and when, and how a child boots and ends. How a child is
started is the business of the `popen_*` modules, which `context` chooses from.

Beyond `multiprocessing`: `state`, `blocked_on`, `result`, `request_stop`,
`stop_requested`, `wait_for_stop`, and what a process may use and has in its environment. A
target that cannot be called is refused at once.
"""

from __future__ import annotations

import os
import sys
import threading
from weakref import WeakSet

from . import _outcome, _procession, _records, _registry, _theirs, util
from ._attributes import overridable, public_names
from ._errors import TimeoutError, WorkerDied, describe_exit, signal_name
from ._records import name_this_child
from ._registry import active_children, become, current_process, parent_process
from ._spawning import get_spawning_popen
from ._theirs import is_used

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, NoReturn

    from .popen_fork import Popen

__all__ = ["BaseProcess", "active_children", "current_process", "parent_process"]

try:
    ORIGINAL_DIR: str | None = os.path.abspath(os.getcwd())
except OSError:
    ORIGINAL_DIR = None


class BaseProcess:
    """An activity that runs in a process of its own, as in `multiprocessing`.

    Args:
        group: Always None; it is there because `threading.Thread` has it.
        target: What `run` calls, or None.
        name: The name, by default made of the class and the place in the family.
        args: The positional arguments for the target.
        kwargs: The keyword arguments for the target.
        daemon: Whether it ends with its parent; by default as the parent is.
        env: What is in its environment besides what would be there. Under spawn the
            interpreter is started with it; under fork and forkserver what has been
            imported already does not see it.
        affinity: The CPUs that it runs on, by number.
        memory_limit: How much private memory it may have, in bytes or as text such as
            "512MiB". The system refuses it more: then `result` raises a MemoryError, or
            the process dies if native code does not check. Shared memory is not
            counted.

    Raises:
        TypeError: The target is not callable, where `multiprocessing` fails in the child,
            or a name or value of `env` is not text.
        ValueError: There is no such CPU, environment or size.

    Example:
        >>> import procession
        >>> class Greeter(procession.Process):
        ...     def run(self):
        ...         return f"{self.name} says hello"
        >>> greeter = Greeter(name="Ada")
        >>> greeter.start()
        >>> greeter.result()
        'Ada says hello'
    """

    __dir__ = public_names

    _start_method: str | None = None
    _target: Callable[..., Any] | None
    _args: tuple[Any, ...]
    _kwargs: dict[str, Any]
    _popen: Popen | None
    _sentinel: int | None
    _identity: tuple[int, ...]
    _parent_pid: int | None
    _name: str
    # Whether the process ends with its parent though it is no daemon: so does each that the
    # package has started for itself, such as a worker.
    _ends_with_parent: bool = False
    # The place of a worker in its pool.
    _worker_index: int | None = None
    # The state that a worker has made for its tasks, behind the key by which they name it.
    _worker_state: tuple[object, Any] | None = None
    # Variables that are added to the environment of the process.
    _environment: dict[str, str] | None = None
    # The limits of the process: bytes of memory, and CPUs.
    _limits: tuple[int | None, list[int] | None] | None = None
    # Its parent as a forked child sees it, made before the fork.
    _parent_seen: _ParentProcess | None = None
    # What a forked child found in the main module, where no other process can read that.
    _found_by_name: dict[str, Any] | None = None
    # The handle by which a worker finds its pool.
    _pool_channel: tuple[int, int] | None = None

    @staticmethod
    def _Popen(process_obj: Any) -> Popen:
        raise NotImplementedError

    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] | None = None,
        name: str | None = None,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        daemon: bool | None = None,
        env: Mapping[str, str] | None = None,
        affinity: Iterable[int] | None = None,
        memory_limit: int | str | None = None,
    ) -> None:
        _require(group is None, "group argument must be None for now")
        if target and not callable(target):
            raise TypeError(f"target must be callable, not {type(target).__name__}")
        creator = current_process()
        self._identity = (*creator._identity, next(_registry.counter))
        self._config: dict[str, Any] = creator._config.copy()
        self._parent_pid = os.getpid()
        self._parent_name = creator.name
        self._popen = None
        self._closed = False
        self._target = target
        self._args = tuple(args)
        self._kwargs = dict(kwargs) if kwargs else {}
        self._name = name or "-".join(
            (type(self).__name__, ":".join(map(str, self._identity)))
        )
        if daemon is not None:
            self.daemon = daemon
        if (env, affinity, memory_limit) != (None, None, None):
            self._confine(env, affinity, memory_limit)
        _dangling.add(self)

    def _confine(
        self,
        env: Mapping[str, str] | None,
        affinity: Iterable[int] | None,
        memory_limit: int | str | None,
    ) -> None:
        # Not at the top: few processes are confined.
        from ._sizes import parse_size
        from ._workers import checked_cpus, checked_environment

        if env is not None:
            self._environment = checked_environment(env)
        memory = parse_size("memory_limit", memory_limit)
        cpus = None if affinity is None else checked_cpus(affinity)
        if memory is not None or cpus is not None:
            self._limits = memory, cpus

    def run(self) -> Any:
        """Does what the process is for; by default it calls the target.

        A subclass overrides it, as in `multiprocessing`. What it returns is what
        `result` gives to the parent.

        Example:
            >>> import procession
            >>> child = procession.Process(target=len, args=("three",))
            >>> child.run()  # Here, and in no other process.
            5
        """
        if self._target:
            return self._target(*self._args, **self._kwargs)
        return None

    def start(self) -> None:
        """Starts the process, as in `multiprocessing`.

        Raises:
            AssertionError: It was started before, or belongs to another process.
            ValueError: It is closed.

        Example:
            >>> import procession
            >>> child = procession.Process(target=abs, args=(-1,))
            >>> child.ident is None, child.pid is None
            (True, True)
            >>> child.start()
            >>> child.ident == child.pid > 0
            True
            >>> child.join()
        """
        self._check_closed()
        _require(self._popen is None, "cannot start a process twice")
        _require(
            self._parent_pid == os.getpid(),
            "can only start a process object created by current process",
        )
        # A process that has just forked copies each page that it writes to, and to call a
        # function writes to some four. So those that would have nothing to do are not called,
        # here and in `popen_fork`.
        if _registry.children:
            _registry.make_room()
        # Before the fork, or the child would copy the pages.
        if sys.modules.get("logging") is not _records.named:
            _records.name_processes()
        # Native, so that a handler of a signal that raises meanwhile leaves no
        # half-started process.
        _procession.launch(self, _registry.children)
        # The target may refer to this object, and the cycle would keep both alive.
        del self._target, self._args, self._kwargs

    def terminate(self, *, tree: bool = False) -> None:
        """Sends SIGTERM to the process, as in `multiprocessing`.

        Args:
            tree: Whether all that the process has started, directly or not and by
                whatever means, gets it too; `multiprocessing` cannot do that. Nobody
                escapes by starting others meanwhile. Those whose own parent had ended
                before are not found.

        Example:
            >>> import procession
            >>> import time
            >>> child = procession.Process(target=time.sleep, args=(60,))
            >>> child.start()
            >>> child.terminate()
            >>> child.join()
            >>> child.exitcode
            -15
        """
        popen = self._started("terminate")
        popen.terminate(tree) if tree else popen.terminate()

    def kill(self, *, tree: bool = False) -> None:
        """Sends SIGKILL to the process, as in `multiprocessing`.

        Args:
            tree: As for `terminate`.

        Example:
            >>> import procession
            >>> import time
            >>> child = procession.Process(target=time.sleep, args=(60,))
            >>> child.start()
            >>> child.kill(tree=True)  # And all that it has started.
            >>> child.join()
            >>> child.exitcode
            -9
        """
        popen = self._started("kill")
        popen.kill(tree) if tree else popen.kill()

    def interrupt(self) -> None:
        """Sends SIGINT to the process, as in `multiprocessing` of Python 3.14.

        Example:
            >>> import procession
            >>> def work(began):
            ...     try:
            ...         began.set()
            ...         procession.Event().wait()
            ...     except KeyboardInterrupt:
            ...         return "tidied up"
            >>> began = procession.Event()
            >>> child = procession.Process(target=work, args=(began,))
            >>> child.start()
            >>> began.wait()
            True
            >>> child.interrupt()
            >>> child.result()
            'tidied up'
        """
        self._started("interrupt").interrupt()

    def join(self, timeout: float | None = None) -> None:
        """Waits until the process has ended or the time is over.

        As in `multiprocessing`, except that it cannot block on items that the process
        has put into a queue.

        Raises:
            AssertionError: It was not started, or by another process.
            ValueError: It is closed.

        Example:
            >>> import procession
            >>> import time
            >>> child = procession.Process(target=time.sleep, args=(60,))
            >>> child.start()
            >>> child.join(timeout=0.01)
            >>> child.is_alive()  # The time was over first.
            True
            >>> child.kill()
            >>> child.join()
        """
        self._check_closed()
        _require(self._parent_pid == os.getpid(), "can only join a child process")
        _require(self._popen is not None, "can only join a started process")
        if self._popen.wait(timeout) is not None:  # type: ignore[union-attr]
            _registry.children.discard(self)

    async def join_async(self) -> None:
        """Waits, in a task of asyncio or trio, until the process has ended.

        No thread waits. A task that is cancelled leaves the process as it is.

        Raises:
            AssertionError: The process was not started, or by another process.
            ValueError: The process is closed.
            RuntimeError: No event loop runs.

        Example:
            >>> import asyncio
            >>> import procession
            >>> async def main():
            ...     process = procession.Process(target=pow, args=(2, 10))
            ...     process.start()
            ...     await process.join_async()
            ...     return await process.result_async()
            >>> asyncio.run(main())
            1024
        """
        from ._awaiting import NOT_YET, try_until

        def attempt() -> object:
            # `join` refuses a process that cannot be joined.
            self.join(0)
            return NOT_YET if self.exitcode is None else None

        await try_until(attempt, lambda: ((self.sentinel,), self), all_at_once=True)

    async def result_async(self) -> Any:
        """Waits, in a task of asyncio or trio, and returns what `run` returned.

        Raises:
            Exception: As from `result`.
        """
        await self.join_async()
        return self.result()

    def result(self, timeout: float | None = None) -> Any:
        """Waits for the end of the process and returns what `run` returned.

        `multiprocessing` has no such method.

        Raises:
            WorkerDied: It was killed, or exited with a code other than 0.
            RemoteError: The value or the exception could not cross.
            TimeoutError: The time is over; the process goes on.
            Exception: What `run` raised, with the child's traceback as its cause.

        Example:
            >>> import os
            >>> import procession
            >>> child = procession.Process(target=os._exit, args=(3,), name="Odd")
            >>> child.start()
            >>> try:
            ...     child.result()
            ... except procession.WorkerDied as error:
            ...     print(error.exitcode, str(error).endswith("exited with code 3"))
            3 True
        """
        self.join(timeout)
        popen = self._popen
        assert popen is not None, "join has checked it"
        exitcode = popen.poll()
        if exitcode is None:
            raise TimeoutError(
                f"process {self._name!r} has not ended within {timeout} s"
            )
        outcome = popen.outcome()
        if outcome is not None:
            return _outcome.open(outcome)
        if exitcode == 0:
            return None
        where = "" if popen.node is None else f" on node {popen.node}"
        raise WorkerDied(
            f"process {self._name!r} (pid {popen.pid}) {describe_exit(exitcode)}{where}",
            popen.pid,
            exitcode,
            node=popen.node,
        )

    def is_alive(self) -> bool:
        """Returns whether the process runs, as in `multiprocessing`."""
        self._check_closed()
        if self is _registry.current:
            return True
        _require(self._parent_pid == os.getpid(), "can only test a child process")
        if self._popen is None:
            return False
        if self._popen.poll() is None:
            return True
        _registry.children.discard(self)
        return False

    def close(self) -> None:
        """Frees what the object holds, as in `multiprocessing`.

        Raises:
            ValueError: The process still runs.

        Example:
            >>> import procession
            >>> child = procession.Process(target=abs, args=(-1,))
            >>> child.start()
            >>> child.join()
            >>> child.close()
            >>> child.is_alive()
            Traceback (most recent call last):
            ValueError: process object is closed
        """
        if self._popen is not None:
            if self._popen.poll() is None:
                raise ValueError(
                    "Cannot close a process while it is still running. "
                    "You should first call join() or terminate()."
                )
            # Set first: the object counts as closed even if the rest is interrupted.
            self._closed = True
            self._popen.close()
            self._popen = None
            del self._sentinel
            _registry.children.discard(self)
        self._closed = True

    def request_stop(self) -> None:
        """Asks the process to stop: its `stop_requested` becomes true.

        Nothing else happens to it; a process that does not look goes on.
        `multiprocessing` has no such method.

        Example:
            >>> import procession
            >>> import time
            >>> def work():
            ...     while not procession.current_process().stop_requested:
            ...         time.sleep(0.01)
            ...     return "as you wish"
            >>> child = procession.Process(target=work)
            >>> child.start()
            >>> child.request_stop()
            >>> child.result(), child.stop_requested
            ('as you wish', True)
        """
        if self is _registry.current:
            _procession.request_stop()
        else:
            self._started("stop").request_stop()

    @overridable
    def stop_requested(self) -> bool:
        """Whether `request_stop` was called for this process."""
        if self is _registry.current:
            return _procession.stop_requested()
        return self._started("ask").stop_requested()

    def wait_for_stop(self, timeout: float | None = None) -> bool:
        """Waits until this process is asked to stop or the time is over.

        Args:
            timeout: The seconds to wait at most; None for as long as it takes.

        Returns:
            Whether `request_stop` was called.

        Raises:
            ValueError: This is another process than the one that calls: only a process
                itself waits for being asked.

        Example:
            >>> import procession
            >>> def work():
            ...     return procession.current_process().wait_for_stop()
            >>> child = procession.Process(target=work)
            >>> child.start()
            >>> child.request_stop()
            >>> child.result()
            True
        """
        if self is not _registry.current:
            raise ValueError(
                f"only {self.name} itself can wait until it is asked to stop"
            )
        return _procession.wait_for_stop(timeout)

    @overridable
    def state(self) -> str:
        """Where the process stands: "new", "running", "blocked" or "terminated".

        Blocked means that the operating system does not run it because it waits for
        something; `blocked_on` tells for what. `multiprocessing` has no such property.

        Example:
            >>> import procession
            >>> child = procession.Process(target=abs, args=(-1,))
            >>> child.state
            'new'
            >>> child.start()
            >>> child.join()
            >>> child.state
            'terminated'
        """
        self._check_closed()
        if self is _registry.current:
            return "running"
        if self._popen is None:
            return "new"
        return self._popen.state()[0]

    @overridable
    def blocked_on(self) -> str | None:
        """What a blocked process waits for, as far as can be told, or None.

        Example:
            >>> import procession
            >>> import time
            >>> gate = procession.Event()
            >>> child = procession.Process(target=gate.wait)
            >>> child.start()
            >>> while not (child.blocked_on or "").startswith("event"):
            ...     time.sleep(0.01)  # It may sleep on its way there, too.
            >>> gate.set()
            >>> child.join()
        """
        self._check_closed()
        if self._popen is None or self is _registry.current:
            return None
        return self._popen.state()[1]

    @property
    def name(self) -> str:
        """The name, which serves people only, as in `multiprocessing`.

        Example:
            >>> import procession
            >>> child = procession.Process(target=print)
            >>> child.name = "printer"
            >>> child
            <Process name='printer' parent=... initial>
        """
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        _require(isinstance(name, str), "name must be a string")
        self._name = name

    @overridable
    def worker_index(self) -> int | None:
        """The place of a worker in its pool, from 0; None for other processes.

        No two workers of a pool have the same place at the same time; a worker that
        replaces another gets its place. `multiprocessing` has nothing like it.

        Example:
            >>> import procession
            >>> def place():
            ...     return procession.current_process().worker_index
            >>> with procession.Pool(1) as pool:
            ...     pool.apply(place)
            0
        """
        return self._worker_index

    @overridable
    def worker_state(self) -> Any:
        """What `worker_state` of a pool has made in this worker; None for other processes.

        `multiprocessing` has nothing like it.

        Example:
            >>> import procession
            >>> def count():
            ...     state = procession.current_process().worker_state
            ...     state["calls"] = state.get("calls", 0) + 1
            ...     return state["calls"]
            >>> with procession.Pool(1, worker_state=dict) as pool:
            ...     print(pool.apply(count), pool.apply(count))
            1 2
            >>> print(procession.current_process().worker_state)
            None
        """
        return None if self._worker_state is None else self._worker_state[1]

    @property
    def daemon(self) -> bool:
        """Whether the process ends with its parent.

        As in `multiprocessing`, and by any end of the parent: a kill as well.

        Example:
            >>> import procession
            >>> import time
            >>> child = procession.Process(target=time.sleep, args=(60,), daemon=True)
            >>> child.start()  # It is killed when this process ends.
            >>> child.daemon
            True
        """
        return bool(self._config.get("daemon", False))

    @daemon.setter
    def daemon(self, daemonic: bool) -> None:
        _require(self._popen is None, "process has already started")
        self._config["daemon"] = daemonic

    @property
    def authkey(self) -> AuthenticationString:
        """The key that connections of this family know, as in `multiprocessing`.

        Example:
            >>> import procession
            >>> me = procession.current_process()
            >>> child = procession.Process(target=print)
            >>> child.authkey == me.authkey
            True
        """
        key: AuthenticationString = self._config["authkey"]
        return key

    @authkey.setter
    def authkey(self, authkey: bytes) -> None:
        self._config["authkey"] = AuthenticationString(authkey)

    @property
    def exitcode(self) -> int | None:
        """The exit code, -N after signal N, or None while there is none.

        Example:
            >>> import procession
            >>> import sys
            >>> child = procession.Process(target=sys.exit, args=(4,))
            >>> child.exitcode is None
            True
            >>> child.start()
            >>> child.join()
            >>> child.exitcode
            4
        """
        self._check_closed()
        return None if self._popen is None else self._popen.poll()

    @property
    def ident(self) -> int | None:
        """The process id, or None before the start, as in `multiprocessing`."""
        self._check_closed()
        if self is _registry.current:
            return os.getpid()
        return None if self._popen is None else self._popen.pid

    pid = ident

    @property
    def sentinel(self) -> int:
        """A descriptor that is readable once the process has ended.

        As in `multiprocessing`; here it is a pidfd, so that a descendant which
        outlives the process does not hold it back.

        Raises:
            ValueError: The process was not started, or is closed.

        Example:
            >>> import procession
            >>> import select
            >>> child = procession.Process(target=abs, args=(-1,))
            >>> child.start()
            >>> readable, _, _ = select.select([child.sentinel], [], [], 30)
            >>> readable == [child.sentinel]
            True
            >>> child.join()
        """
        self._check_closed()
        sentinel: int | None = getattr(self, "_sentinel", None)
        if sentinel is None:
            raise ValueError("process not started")
        return sentinel

    def __repr__(self) -> str:
        exitcode = None
        if self is _registry.current:
            status = "started"
        elif self._closed:
            status = "closed"
        elif self._parent_pid != os.getpid():
            status = "unknown"
        elif self._popen is None:
            status = "initial"
        else:
            exitcode = self._popen.poll()
            status = "started" if exitcode is None else "stopped"
        parts = [type(self).__name__, f"name={self._name!r}"]
        if self._popen is not None:
            parts.append(f"pid={self._popen.pid}")
        parts += [f"parent={self._parent_pid}", status]
        if exitcode is not None:
            name = signal_name(exitcode)
            parts.append(f"exitcode={f'-{name}' if name else exitcode}")
        if self.daemon:
            parts.append("daemon")
        return f"<{' '.join(parts)}>"

    def _check_closed(self) -> None:
        if self._closed:
            raise ValueError("process object is closed")

    def _started(self, action: str) -> Popen:
        """Returns the `Popen`, for an action that only a started process knows."""
        self._check_closed()
        if self._popen is None:
            # The type is the one that `multiprocessing` happens to raise here.
            raise AttributeError(f"cannot {action} a process that was not started")
        return self._popen

    def _be_seen_by_children(self) -> _ParentProcess:
        """Makes the view that a forked child has of this process.

        The child would copy pages to make it.
        """
        seen = _registry.seen_by_children = self._see_parent(None)
        return seen

    def _see_parent(self, sentinel: int | None) -> _ParentProcess:
        return _ParentProcess(self._parent_name, self._parent_pid, sentinel)

    # What follows runs in the child. A forked child copies each page that it writes to,
    # and any use of a function, a module or a name writes to it, as references are
    # counted. So the child calls no function that would have nothing to do.

    def _bootstrap(self, parent_sentinel: int | None = None) -> int:
        """Runs the process to its end, in the child; returns its exit code."""
        if is_used():
            return _theirs.boot(self, parent_sentinel)
        return self._boot(parent_sentinel)

    def _boot(self, parent_sentinel: int | None) -> int:
        try:
            if self._limits is not None and self._parent_seen is not None:
                # A child that was not forked was confined before it read anything of its
                # parent's.
                confine(self.name, self._limits)
            self._become_current(parent_sentinel)
            relay = self._config.get("log_relay")
            if relay is not None:
                from ._log_relay import send_home

                send_home(relay)
            if util._logger:
                util.info("child process calling self.run()")
            if _registry.task is not None:
                _registry.task.function_is_next()
                _registry.task = None
            value = self.run()
            if value is not None:
                _outcome.leave_value(value)
            exitcode = 0
        except SystemExit as request:
            exitcode = _exit_code_of(request)
        except BaseException as error:
            exitcode = 1
            if self._limits is not None:
                # Lifted, as the memory that is left may not be enough to report the
                # error.
                _procession.lift_memory_limit()
            text = _outcome.leave_error(error)
            sys.stderr.write(f"Process {self.name}:\n{text}")
        finally:
            if is_used():
                _theirs.end()
            _end_threads()
            if util._logger:
                util.info("process exiting with exitcode %d", exitcode)
            util._flush_std_streams()
        return exitcode

    def _become_current(self, parent_sentinel: int | None) -> None:
        if self._start_method is not None:
            _registry.force_start_method(self._start_method)
        util._close_stdin()
        # The parent's object is kept until the after-fork functions, which may look at it,
        # have run.
        previous = _registry.current
        become(self, self._parent_seen or self._see_parent(parent_sentinel))
        if is_used():
            _theirs.become(self)
        name_this_child()
        threading.main_thread()._set_native_id()  # type: ignore[attr-defined]
        self._after_fork()
        del previous

    @staticmethod
    def _after_fork() -> None:
        util._finalizer_registry.clear()
        util._run_after_forkers()
        if is_used():
            _theirs.after_fork()


def confine(name: str, limits: tuple[int | None, list[int] | None]) -> None:
    """Limits this process to the memory and the CPUs that its parent has named."""
    _procession.confine(f"process {name!r}", *limits)


class AuthenticationString(bytes):
    """A key that is never pickled but for a child, as in `multiprocessing`."""

    def __reduce__(self) -> tuple[type[AuthenticationString], tuple[bytes]]:
        if get_spawning_popen() is None:
            raise TypeError(
                "Pickling an AuthenticationString object is "
                "disallowed for security reasons"
            )
        return AuthenticationString, (bytes(self),)


class _ParentProcess(BaseProcess):
    """The parent as its child sees it: it has a name and an end, and no more."""

    def __init__(self, name: str, pid: int | None, sentinel: int | None) -> None:
        self._identity = ()
        self._name = name
        self._pid = pid
        self._parent_pid = None
        self._popen = None
        self._closed = False
        self._sentinel = sentinel
        self._kept: _procession.KeptFd | None = None
        self._config = {}

    @property
    def sentinel(self) -> int:
        """A descriptor that is readable once the parent has ended."""
        if self._sentinel is not None:
            return self._sentinel
        # Opened when it is first asked for: most children never ask, and some close all
        # descriptors that they have not opened themselves.
        if self._kept is None or not self._kept.is_ours():
            self._kept = _procession.KeptFd(_procession.parent_sentinel())
        return self._kept.fileno()

    def is_alive(self) -> bool:
        """Returns whether the parent runs, as in `multiprocessing`."""
        return not _procession.wait([self.sentinel], 0)

    def join(self, timeout: float | None = None) -> None:
        """Waits until the parent has ended or the time is over."""
        _procession.wait([self.sentinel], timeout)

    @property
    def ident(self) -> int | None:
        """The process id of the parent."""
        return self._pid

    pid = ident


class _MainProcess(BaseProcess):
    """The process that founds a family.

    The standard library's package may have started it, as loky does its workers. Then it has
    the name and the key that it has there.
    """

    def __init__(self) -> None:
        self._own_name = "MainProcess"
        self._parent_pid = None
        self._popen = None
        self._closed = False
        # All descendants inherit this. "semprefix" is there for clients that read it: no
        # object of the package has a name.
        self._config = {
            "authkey": AuthenticationString(_theirs.authkey() or os.urandom(32)),
            "semprefix": "/mp",
        }

    @property
    def _identity(self) -> tuple[int, ...]:  # type: ignore[override]
        started = _theirs.started_process() if is_used() else None
        return () if started is None else started._identity

    @property
    def _name(self) -> str:
        started = _theirs.started_process() if is_used() else None
        return self._own_name if started is None else started._name

    @_name.setter
    def _name(self, name: str) -> None:
        self._own_name = name

    def close(self) -> None:
        """Does nothing: there is no child to give back."""


def _end_threads() -> None:
    """Joins the threads that are no daemons, and calls the functions that wait for that."""
    # Most children have no such threads, and would copy pages for nothing.
    module: Any = threading
    if len(module._active) > 1 or module._limbo or module._threading_atexits:
        module._shutdown()


def _require(holds: object, message: str) -> None:
    """Raises the AssertionError of `multiprocessing`, under `python -O` as well."""
    if not holds:
        raise AssertionError(message)


def _exit_code_of(request: SystemExit) -> int:
    """Returns the code that a `SystemExit` asks for; prints its message if it has one."""
    if request.code is None:
        return 0
    if isinstance(request.code, int):
        return request.code
    sys.stderr.write(f"{request.code}\n")
    return 1


# Process objects that live: `test.support` looks here for leaks.
_dangling: WeakSet[BaseProcess] = WeakSet()

# Forked copies keep it, as they would copy pages to free it.
_main_process = _MainProcess()
_registry.current = _main_process


def __getattr__(name: str) -> Any:
    """Answers for the globals that `multiprocessing.process` keeps and clients read."""
    if name in _KEPT_ELSEWHERE:
        return getattr(_registry, _KEPT_ELSEWHERE[name])
    if name == "_exitcode_to_name":
        import signal

        return {-number: f"-{number.name}" for number in signal.Signals}
    _no_attribute(name)


_KEPT_ELSEWHERE = {
    "_children": "children",
    "_current_process": "current",
    "_parent_process": "parent",
    "_process_counter": "counter",
    "_cleanup": "forget_ended",
}


def _no_attribute(name: str) -> NoReturn:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
