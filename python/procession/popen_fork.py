"""Starts a process by fork; the base of the other ways to start.

The child begins as a copy of its parent, by the interpreter's own `os.fork`, so that
everything that was told to renew itself after a fork does. The engine has reserved
the child's place in the family before and attached it to whatever the parent holds.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading

from . import _procession, util

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

__all__ = ["Popen"]


class Popen:
    """A started process as its parent holds it, as in `multiprocessing`.

    Args:
        process_obj: The process to start.
    """

    method = "fork"
    pid: int
    sentinel: int
    _child: _procession.Child

    def __init__(self, process_obj: Any) -> None:
        util._flush_std_streams()
        self.returncode: int | None = None
        self._outcome: tuple[bool, Any] | None = None
        self._launch(process_obj)

    def _launch(self, process_obj: Any) -> None:
        if threading.active_count() > 1:
            _warn_of_threads()
        util._have_empty_stdin()
        place = _procession.prepare_fork(process_obj._name, process_obj.daemon)
        try:
            pid = os.fork()
        except BaseException:
            place.cancel()
            raise
        if pid == 0:
            _run_forked(place, process_obj)
        self._adopt(place.started(pid))

    def _adopt(self, child: _procession.Child) -> None:
        self._child = child
        self.pid = child.pid
        self.sentinel = child.sentinel

    def duplicate_for_child(self, fd: int) -> int:
        """Returns the number that a descriptor has in the child."""
        return fd

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        """Returns the exit code, or None while the process runs.

        Args:
            flag: 0 to wait for the end, as for `os.waitpid`.
        """
        if self.returncode is None:
            self.returncode = (
                self._child.poll() if flag == os.WNOHANG else self._child.wait(None)
            )
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        """Waits for the end; returns the exit code, or None if the time is over."""
        if self.returncode is None:
            self.returncode = self._child.wait(timeout)
        return self.returncode

    def terminate(self, tree: bool = False) -> None:
        """Sends SIGTERM; with `tree`, to all that the process has started, too."""
        self._send_signal(signal.SIGTERM, tree)

    def kill(self, tree: bool = False) -> None:
        """Sends SIGKILL; with `tree`, to all that the process has started, too."""
        self._send_signal(signal.SIGKILL, tree)

    def interrupt(self) -> None:
        """Sends SIGINT."""
        self._send_signal(signal.SIGINT)

    def _send_signal(self, sig: int, tree: bool = False) -> None:
        if self.returncode is None:
            self._child.send_signal(sig, tree)

    def request_stop(self) -> None:
        """Sets the stop flag of the process."""
        self._child.request_stop()

    def stop_requested(self) -> bool:
        """Returns whether the stop flag of the process is set."""
        return self._child.stop_requested()

    def state(self) -> tuple[str, str | None]:
        """Returns the state of the process, and what it waits for if it is blocked."""
        return self._child.state()

    def outcome(self) -> tuple[bool, Any] | None:
        """Returns what the ended process left: see `_outcome`."""
        if self._outcome is None:
            self._outcome = self._child.take_outcome()
        return self._outcome

    def close(self) -> None:
        """Closes the sentinel, once the process has ended."""
        del self._child


def _warn_of_threads() -> None:
    """Warns whoever starts a process that threads make a fork risky.

    In the words of CPython 3.12 and later, which warn too, but name a line of ours, so
    that it is not shown.
    """
    import warnings

    this = threading.current_thread()
    others = ", ".join(one.name for one in threading.enumerate() if one is not this)
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_globals.get("__package__") == __package__:
        level, frame = level + 1, frame.f_back
    warnings.warn(
        f"This process (pid={os.getpid()}) is multi-threaded, use of fork() may lead to"
        f" deadlocks in the child: it runs {others}, whose locks stay locked there; the"
        " start methods 'forkserver' and 'spawn' have no such risk",
        DeprecationWarning,
        stacklevel=level,
    )


def _run_forked(place: _procession.ForkPlace, process_obj: Any) -> NoReturn:
    """Runs the process in the forked child, which ends here and nowhere else."""
    code = 1
    try:
        place.entered()
        # What the parent wants done at its exit is not the child's to do.
        atexit._clear()
        atexit.register(util._exit_function)
        if process_obj._environment:
            os.environ.update(process_obj._environment)
        code = process_obj._bootstrap()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        atexit._run_exitfuncs()
        util._flush_std_streams()
        os._exit(code)
