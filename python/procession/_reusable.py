"""A pool that a program uses again and again, wherever it needs one: `get_pool`."""

from __future__ import annotations

import threading

from . import util
from ._thread_lock import under_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .context import BaseContext
    from .pool import Pool

__all__ = ["get_pool"]

# Seconds after which idle workers end.
_IDLE = 10.0


class _Reusable:
    """The pool of this process, and what it was made with."""

    def __init__(self) -> None:
        self.renew()
        self._is_forgotten_by_copies = False

    def renew(self) -> None:
        """Forgets the pool: in a forked copy of the process, it is the original's."""
        self.pool: Pool | None = None
        self.options: dict[str, Any] = {}
        self.lock = threading.Lock()
        self._ends_with_program = False

    def get(self, processes: int | None, options: dict[str, Any]) -> Pool:
        """Returns the pool, which from here on has this number of workers and these options."""
        if not self._is_forgotten_by_copies:
            # Not before: most programs have no such pool, and each of their children would
            # pay for the call. Twice does no harm, where two threads come at once.
            self._is_forgotten_by_copies = True
            util.register_after_fork(self, _Reusable.renew)
        return under_lock(self.lock, self._get, processes, options)

    def _get(self, processes: int | None, options: dict[str, Any]) -> Pool:
        pool = self.pool
        if pool is not None and not (
            _is_usable(pool) and _are_equal(options, self.options)
        ):
            # The old pool finishes its tasks: threads that wait for results get
            # them.
            pool.close()
            pool = self.pool = None
        if pool is None:
            # Not at the top: a program may never have a pool.
            from . import get_context

            made = {**options}
            context: BaseContext = made.pop("context") or get_context()
            pool = context.Pool(processes, **made)
            if not self._ends_with_program:
                self._ends_with_program = True
                util.Finalize(None, self.end, exitpriority=16)
            self.pool, self.options = pool, options
        elif processes is not None and processes != pool._processes:
            pool.resize(processes)
        return pool

    def end(self) -> None:
        """Ends the pool, before the program does."""
        if self.pool is not None:
            self.pool.terminate()


def _is_usable(pool: Pool) -> bool:
    engine: Any = pool._engine
    return pool._state == "RUN" and engine.broken() is None


def _are_equal(options: dict[str, Any], others: dict[str, Any]) -> bool:
    try:
        return bool(options == others)
    except Exception:
        return False  # Arrays, say, raise an error when they are compared.


_reusable = _Reusable()


def get_pool(
    processes: int | None = None,
    *,
    context: BaseContext | None = None,
    idle_timeout: float | None = _IDLE,
    **options: Any,
) -> Pool:
    """Returns the pool that this process uses again and again.

    It is always the same one, and its workers go on from call to call; those that have had
    nothing to do for ten seconds end, and are started again when there are tasks. If the pool
    was ended or is broken, or other options are asked for, another takes its place; what
    the one before has to do is done. So do not keep the pool, but ask for it each time. It
    need not be closed, and ends with the program.

    Args:
        processes: How many workers it has from here on; by default as many as it has, and
            one for each usable CPU at first.
        context: The context that the workers are started with.
        idle_timeout: After how many seconds without a task a worker ends; None for never.
        options: What else is given to `procession.Pool` by name.

    Raises:
        ValueError: One of these cannot be.

    Example:
        >>> import procession
        >>> pool = procession.get_pool(2)
        >>> pool.map(abs, [-1, -2])
        [1, 2]
        >>> procession.get_pool() is pool
        True
        >>> pool.terminate()
        >>> procession.get_pool(1) is pool
        False
    """
    options |= {"context": context, "idle_timeout": idle_timeout}
    return _reusable.get(processes, options)
