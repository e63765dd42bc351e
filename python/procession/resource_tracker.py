"""A tracker for programs that extend it; procession itself needs none.

`multiprocessing` runs a process that removes named semaphores and shared memory which
others forgot. Everything of ours lies in the family's memory file, which the kernel
frees with the last process that has it: the package's own tracker tracks nothing. A
program that makes an object of the class, or extends it as loky does, has a tracker
that runs.
"""

from __future__ import annotations

import collections
import os
import sys
import threading
import warnings

from . import _descriptors, spawn, util
from ._thread_lock import under_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["ensure_running", "register", "unregister"]


class ReentrantCallError(RuntimeError):
    """A call was made from within another; subclasses of the tracker catch it."""


class ResourceTracker:
    """Has a process remove by name what a program leaves behind, as in `multiprocessing`.

    The process reads lines from a pipe. Its end is the end of all who could write there.
    Subclasses may replace any step; each goes through the ones below it.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._fd: int | None = None
        self._pid: int | None = None
        # Lines that a finalizer wrote while a collection had interrupted another call.
        self._put_off: collections.deque[bytes] = collections.deque()
        # Lines of words, which all readers know, and not of JSON as from Python 3.15 on;
        # a name that would break such a line is sent as JSON in any case.
        self._use_simple_format = True

    def getfd(self) -> int | None:
        """Returns the descriptor by which the process is written to."""
        self.ensure_running()
        return self._fd

    def register(self, name: str, rtype: str) -> None:
        """Registers a resource, to be removed once no process is left that could do it."""
        self._send("REGISTER", name, rtype)

    def unregister(self, name: str, rtype: str) -> None:
        """Forgets a resource that was removed."""
        self._send("UNREGISTER", name, rtype)

    def _send(self, cmd: str, name: str, rtype: str) -> None:
        message = self._message(cmd, name, rtype)
        if len(message) > 512:
            raise ValueError(
                f"the name of the {rtype} is too long for the resource tracker:"
                f" {len(message)} bytes, and 512 are written in one piece"
            )
        if self._in_the_middle():
            self._put_off.append(message)
            return
        # Older subclasses replace this one, and know nothing of messages.
        self.ensure_running()
        under_lock(self._lock, self._write_all, message)

    def _write_all(self, message: bytes) -> None:
        """Writes what was put off, and then a message."""
        while self._put_off:
            self._write(self._put_off.popleft())
        self._write(message)

    def _message(self, cmd: str, name: str, rtype: str) -> bytes:
        if self._use_simple_format and name.isascii() and "\n" not in name:
            return f"{cmd}:{name}:{rtype}\n".encode("ascii")
        # Imported here: nothing of ours is registered.
        import base64
        import json

        raw = name.encode("utf-8", "surrogateescape")
        coded = base64.urlsafe_b64encode(raw).decode("ascii")
        words = {"cmd": cmd, "rtype": rtype, "base64_name": coded}
        return json.dumps(words, separators=(",", ":")).encode("ascii") + b"\n"

    def ensure_running(self) -> None:
        """Starts the process unless it runs."""
        self._ensure_running_and_write()

    def _ensure_running_and_write(self, msg: bytes | None = None) -> None:
        if self._in_the_middle():
            if msg is not None:
                self._put_off.append(msg)
            return
        under_lock(self._lock, self._run_and_write, msg)

    def _run_and_write(self, msg: bytes | None) -> None:
        if self._fd is not None and not self._check_alive():
            self._teardown_dead_process()
        if self._fd is None:
            self._launch()
        if msg is not None:
            self._write(msg)

    def _in_the_middle(self) -> bool:
        """Returns whether this thread was interrupted in the middle of a call."""
        return self._lock._is_owned()  # type: ignore[attr-defined, no-any-return]

    def _check_alive(self) -> bool:
        """Returns whether somebody reads what is written."""
        try:
            self._write(b"PROBE:0:noop\n")
        except OSError:
            return False
        return True

    def _write(self, msg: bytes) -> None:
        assert self._fd is not None, "it was started before"
        written = os.write(self._fd, msg)
        if written != len(msg):
            raise AssertionError(f"{written} of {len(msg)} bytes were written")

    def _teardown_dead_process(self) -> None:
        self._forget()
        warnings.warn(
            "resource_tracker: process died unexpectedly, relaunching. "
            "Some resources might leak.",
            stacklevel=2,
        )

    def _launch(self) -> None:
        reader, writer = map(_descriptors.past_streams, os.pipe())
        try:
            self._pid = _start(reader)
        except BaseException:
            os.close(writer)
            raise
        finally:
            os.close(reader)
        self._fd = writer

    def _stop(self) -> None:
        """Ends the process, which removes what is still registered."""
        under_lock(self._lock, self._forget)

    def _forget(self) -> None:
        """Closes the pipe, and waits for the end of the process if it is our child."""
        if self._fd is None:
            return
        os.close(self._fd)
        pid, self._fd, self._pid = self._pid, None, None
        if pid is not None:
            try:
                os.waitpid(pid, 0)
            except ChildProcessError:
                pass  # It was reaped, or is the child of the process that forked us.


class _Nothing(ResourceTracker):
    """The package's own tracker, which tracks nothing and runs no process."""

    def ensure_running(self) -> None:
        """Opens a descriptor that takes what is written to it, and forgets it.

        Some hand it on to children that they start.
        """
        if self._fd is None:
            fd = os.open(os.devnull, os.O_WRONLY)
            self._fd = _descriptors.past_streams(fd)

    def register(self, name: str, rtype: str) -> None:
        """Does nothing."""

    def unregister(self, name: str, rtype: str) -> None:
        """Does nothing."""

    def _stop(self) -> None:
        """Does nothing."""


_resource_tracker = _Nothing()
# Another thread of the parent may have held it.
os.register_at_fork(after_in_child=_resource_tracker._lock._at_fork_reinit)  # type: ignore[attr-defined]
ensure_running = _resource_tracker.ensure_running
register = _resource_tracker.register
unregister = _resource_tracker.unregister
getfd = _resource_tracker.getfd


# The process of a tracker.


def _start(reader: int) -> int:
    """Starts the process that reads a pipe; returns its pid."""
    import signal

    fds = [reader]
    try:
        fds.append(sys.stderr.fileno())
    except (AttributeError, OSError, ValueError):
        pass  # This process has no stderr: what the tracker prints is lost.
    command = [*spawn.helper_command_line("resource_tracker"), str(reader)]
    executable = command[0]
    if executable is None:
        raise ValueError("no executable is set to start a resource tracker with")
    # It must not be ended by a Ctrl-C that comes before it ignores that.
    ends = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    try:
        return util.spawnv_passfds(os.fsencode(executable), command, fds)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _unlink_semaphore(name: str) -> None:
    import _multiprocessing  # type: ignore[import-not-found]

    _multiprocessing.sem_unlink(name)


def _unlink_shared_memory(name: str) -> None:
    import _posixshmem  # type: ignore[import-not-found]

    _posixshmem.shm_unlink(name)


def cleanup_noop(name: str) -> None:
    """Refuses to remove a probe, which only asks whether the tracker runs."""
    raise RuntimeError(f"{name} is a probe of the resource tracker, not a resource")


_CLEANUP_FUNCS: dict[str, Callable[[str], object]] = {
    "noop": cleanup_noop,
    # Tests register it, where nothing is to be removed.
    "dummy": lambda name: None,
    "semaphore": _unlink_semaphore,
    "shared_memory": _unlink_shared_memory,
}


def main(fd: int | str) -> None:
    """Reads what is registered until nobody can write any more, and removes what is left."""
    import signal

    # Ignored, as the tracker has work to do when all others were interrupted.
    ends = {signal.SIGINT, signal.SIGTERM}
    for sig in ends:
        signal.signal(sig, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ends)
    for stream in (sys.stdin, sys.stdout):
        if stream is not None:
            stream.close()
    left: dict[str, set[str]] = {rtype: set() for rtype in _CLEANUP_FUNCS}
    try:
        with open(int(fd), "rb") as lines:
            _read(lines, left)
    finally:
        for rtype, names in left.items():
            _remove(rtype, names)


def _read(lines: Iterable[bytes], left: dict[str, set[str]]) -> None:
    for line in lines:
        try:
            cmd, rtype, name = _decode_message(line)
            if rtype not in left:
                raise ValueError(
                    f"{name} is of type {rtype!r}, which the tracker cannot remove"
                )
            if cmd == "REGISTER":
                left[rtype].add(name)
            elif cmd == "UNREGISTER":
                left[rtype].remove(name)
            elif cmd != "PROBE":
                raise ValueError(f"unknown command {cmd!r}")
        except Exception:
            # Printed, and the other lines are still read.
            sys.excepthook(*sys.exc_info())


def _decode_message(line: bytes) -> tuple[str, str, str]:
    """Returns command, type and name of a line, in either form."""
    if not line.startswith(b"{"):
        cmd, _, rest = line.strip().decode("ascii").partition(":")
        name, _, rtype = rest.rpartition(":")
        return cmd, rtype, name
    import base64
    import json

    try:
        words = json.loads(line)
        cmd, rtype, coded = words["cmd"], words["rtype"], words.get("base64_name", "")
        if not all(isinstance(word, str) for word in (cmd, rtype, coded)):
            raise TypeError("a part of the message is not text")
        raw = base64.urlsafe_b64decode(coded)
    except (ValueError, TypeError, LookupError) as error:
        raise ValueError(f"malformed resource_tracker message: {line!r}") from error
    return cmd, rtype, raw.decode("utf-8", "surrogateescape")


def _remove(rtype: str, names: set[str]) -> None:
    if names:
        _tell(f"There appear to be {len(names)} leaked {rtype} objects to clean up")
    for name in names:
        try:
            _CLEANUP_FUNCS[rtype](name)
        except Exception as error:
            _tell(f"{name!r}: {error}")


def _tell(message: str) -> None:
    try:
        warnings.warn(f"resource_tracker: {message}", stacklevel=2)
    except Warning:
        pass  # Warnings are errors here, and there is nobody to tell.
