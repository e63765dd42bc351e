"""Log records of children, handled by the process that wants them.

A child has one handler, which puts records into a queue in shared memory: a record is in
it when the call of the logger returns, so none is lost however the child ends. A thread
of the process that relays takes them out and has its loggers handle them, as if they
were its own.

The thread stands still while its process forks: it holds a lock while it handles a
record, which a fork takes first. So a child never has a copy of a record half handled.
A fork does not wait for ever: a handler may wait for what the forking thread holds.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import threading
import traceback

from . import _registry, util
from ._thread_lock import under_lock
from ._thread_start import start_daemon
from .queues import Queue, ShutDown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Self

__all__ = ["LogRelay", "send_home"]

# How many seconds a fork waits for a handler at the most.
_PATIENCE = 5

# Held while a record is handled, and while this process forks.
_handling: Any = threading.RLock()


def _before_fork() -> None:
    _handling.acquire(timeout=_PATIENCE)


def _after_fork_in_parent() -> None:
    # Only if this thread got the lock before the fork; several threads may fork.
    if _handling._is_owned():
        _handling.release()


def _after_fork_in_child() -> None:
    _handling._at_fork_reinit()
    _registry.threads_that_pause = 0


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)


class LogRelay:
    """Relays what children log to the loggers of this process, until it is stopped.

    It can be used in a `with` statement. `procession.relay_logs` makes one for all children,
    a pool with `log_relay` one for its workers.

    Example:
        >>> import logging
        >>> import procession
        >>> import sys
        >>> logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s")
        >>> with procession.relay_logs() as relay:
        ...     child = procession.Process(target=logging.error, args=("no petrol",))
        ...     child.start()
        ...     child.join()
        ...     relay.stop()  # So does the end of the block.
        ERROR no petrol
    """

    def __init__(self) -> None:
        self._queue: Queue[logging.LogRecord] = Queue(ctx=None)
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._is_over = False
        self._has_ended = threading.Event()
        start_daemon(self._run, "procession-log-relay")
        _registry.threads_that_pause += 1
        # Called after the children were joined, when all that they have logged is
        # there.
        self._finalizer = util.Finalize(None, self.stop, exitpriority=-10)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Handles all records that are there, and ends; children that live go on.

        What they log from then on is not relayed: warnings and worse go to their
        standard error. May be called more than once; in a forked copy of the process it
        does nothing.
        """
        if os.getpid() != self._pid:
            return
        if under_lock(self._lock, self._was_over):
            self._has_ended.wait()
            return
        config = _registry.current_process()._config
        if config.get("log_relay", (None,))[0] is self._queue:
            del config["log_relay"]
        # From here on the queue refuses records; those that are in it can still be
        # taken out.
        self._queue.shutdown()
        self._has_ended.wait()
        _registry.threads_that_pause -= 1
        self._finalizer.cancel()

    def _was_over(self) -> bool:
        """Notes that the relay has ended; returns whether it had ended before."""
        was_over, self._is_over = self._is_over, True
        return was_over

    def for_children(self) -> tuple[Any, dict[str, int]]:
        """Returns what a child needs: the queue, and the levels of the loggers here."""
        levels = {"": logging.getLogger().level}
        for name, logger in logging.root.manager.loggerDict.items():
            if isinstance(logger, logging.Logger) and logger.level != logging.NOTSET:
                levels[name] = logger.level
        return self._queue, levels

    def _run(self) -> None:
        try:
            while True:
                try:
                    self._handle(self._queue.get())
                except ShutDown:
                    return
                except Exception:
                    # A filter has raised it, or a record that cannot be unpickled here. As
                    # with an error in a handler, it is told, and costs this record only.
                    traceback.print_exc()
        finally:
            self._has_ended.set()

    def _handle(self, record: logging.LogRecord) -> None:
        with _handling:
            logger = logging.getLogger(record.name)
            if logger.isEnabledFor(record.levelno):
                logger.handle(record)


def send_home(given: tuple[Any, dict[str, int]]) -> None:
    """Makes all loggers of this process, a child, put their records into a queue."""
    queue, levels = given
    handler = _ToQueue(queue)
    root = logging.getLogger()
    for name in list(logging.root.manager.loggerDict):
        logger = logging.getLogger(name)
        if logger.handlers:
            # A logger that does not propagate its records needs the handler itself.
            logger.handlers[:] = [] if logger.propagate else [handler]
    root.handlers[:] = [handler]
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


class _ToQueue(logging.handlers.QueueHandler):
    """Puts records into a queue, as long as it takes them."""

    def enqueue(self, record: logging.LogRecord) -> None:
        queue: Any = self.queue
        try:
            queue.put(record)
        except ShutDown:
            last = logging.lastResort
            if last is not None and record.levelno >= last.level:
                last.handle(record)
