"""Starts a process by fork; the base of the other ways to start.

The child begins as a copy of its parent, made as `os.fork` makes it, so that everything
that was told to renew itself after a fork does; if `os.fork` was replaced, by what took its
place. The engine has reserved the child's place in the family before and attached it to
whatever the parent holds.
"""

from __future__ import annotations

import gc
import os
import posix
import sys
import threading

# Bound here, as a look-up in a module makes a child copy pages.
from atexit import _clear, _run_exitfuncs, register

from . import _procession, _registry, reduction, util
from ._signalled import Signalled
from ._thread_lock import under_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

__all__ = ["Popen"]


class Popen(Signalled):
    """A started process as its parent holds it, as in `multiprocessing`.

    Args:
        process_obj: The process to start.
    """

    method = "fork"
    # The name of the node that it is on, if that is another.
    node: str | None = None
    pid: int
    sentinel: int
    _child: _procession.Child

    def __init__(self, process_obj: Any) -> None:
        util._flush_std_streams()
        self.returncode: int | None = None
        self._outcome: tuple[bool, Any] | None = None
        self._outcome_lock = threading.Lock()
        self._launch(process_obj)

    def _launch(self, process_obj: Any) -> None:
        global _has_frozen
        # What has nothing to do is not called; see `start`.
        _has_frozen = _has_frozen or gc.get_freeze_count() > 0
        stdin = util._empty_stdin
        if stdin is None or stdin[0].closed or not stdin[1]():
            util._make_empty_stdin()
        seen = _registry.seen_by_children
        if (
            seen is None
            or seen._pid != process_obj._parent_pid
            or seen._name != process_obj._parent_name
        ):
            seen = process_obj._be_seen_by_children()
        process_obj._parent_seen = seen
        if not _procession.look_at_main():
            process_obj._found_by_name = reduction.found_by_forked()
        self._adopt(
            _procession.fork(
                process_obj._name,
                ends_with_parent(process_obj),
                _run_forked,
                process_obj,
                process_obj._environment,
            )
        )
        if _WARNS and os.fork is posix.fork:
            others = threading.active_count() - 1 - _registry.threads_that_pause
            if others > 0:
                _warn_of_threads()

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
        # The outcome can be taken only once, and other threads may ask while it is
        # unpickled.
        return under_lock(self._outcome_lock, self._take_outcome)

    def _take_outcome(self) -> tuple[bool, Any] | None:
        if self._outcome is None:
            self._outcome = self._child.take_outcome()
        return self._outcome

    def close(self) -> None:
        """Closes the sentinel, once the process has ended."""
        del self._child


# From 3.12 on, `os.fork` warns of threads; native code that forks has to do so itself.
_WARNS = sys.version_info >= (3, 12)


def _warn_of_threads() -> None:
    """Warns as `os.fork` does. The process has been started: no warning costs that."""
    import warnings

    message = (
        f"This process (pid={os.getpid()}) is multi-threaded, use of fork() may lead to"
        " deadlocks in the child."
    )
    try:
        warnings.warn(message, DeprecationWarning, stacklevel=2)
    except DeprecationWarning:
        util.sub_warning("%s", message)


def ends_with_parent(process_obj: Any) -> bool:
    """Returns whether a process is to end with its parent, by whatever cause."""
    return bool(process_obj._ends_with_parent or process_obj.daemon)


def fork() -> int:
    """Forks as `os.fork` does; an error says what keeps this process from it."""
    try:
        return os.fork()
    except OSError as error:
        _procession.fork_failed(error.errno or 0)
        raise


# Whether this program has frozen objects, which a child is to leave frozen: it would count all of
# them each time.
_has_frozen = False


def _run_forked(process_obj: Any, environment: dict[str, str] | None) -> NoReturn:
    """Runs the process in the forked child, which ends here and nowhere else."""
    code = 1
    try:
        # The parent's young objects count as old from here on, or the first collection would
        # visit each of them, and so copy its page.
        if not _has_frozen:
            gc.freeze()
            gc.unfreeze()
        # The parent's exit functions must not run in the child.
        _clear()
        register(util._exit_function)
        if environment:
            os.environ.update(environment)
        code = process_obj._bootstrap()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        _run_exitfuncs()
        util._flush_std_streams()
        os._exit(code)
