"""The workers of a `Pool`: how one is started, and what it says of an error.

What a worker does is native; `pool` has what users see.
"""

from __future__ import annotations

from . import _outcome, _procession, util
from .reduction import ForkingPickler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

__all__ = ["Starter", "work"]


class Starter:
    """Starts workers. It does not know the pool, which could not end otherwise."""

    def __init__(
        self,
        ctx: Any,
        process: Callable[..., Any],
        workers: list[Any],
        initializer: Callable[..., object] | None,
        initargs: Iterable[Any],
    ) -> None:
        self._ctx = ctx
        self._process = process
        self._workers = workers
        self._initializer = initializer
        self._initargs = initargs
        # Why the first one that failed did, for a pool that is being made.
        self.error: Exception | None = None

    def __call__(self, lane: tuple[int, int]) -> _procession.Child:
        """Starts a worker that finds its pool by a lane."""
        try:
            process = self._process(
                self._ctx,
                target=work,
                args=(lane, self._initializer, self._initargs),
            )
            process.name = process.name.replace("Process", "PoolWorker")
            process.daemon = True
            process.start()
        except Exception as error:
            self.error = self.error or error
            raise
        for worker in [*self._workers]:
            if worker.exitcode is not None:
                util.debug("cleaning up worker %s", worker.name)
                worker.join()
                self._workers.remove(worker)
        self._workers.append(process)
        util.debug("added worker")
        child: _procession.Child = process._popen._child
        return child


def work(
    lane: tuple[int, int],
    initializer: Callable[..., object] | None,
    initargs: Iterable[Any],
) -> None:
    """Works for a pool, in a worker process, until there is no more to do."""
    me = _procession.PoolWorker(lane)
    if initializer is not None:
        try:
            initializer(*initargs)
        except BaseException as error:
            me.fail(_pack(error))
            raise
    me.run(_pack)
    util.debug("worker exiting")


def _pack(error: BaseException, value: object = None) -> Any:
    """Returns an error as data that crosses; `value` is what it kept from crossing."""
    # Not at the top: few workers need it, and it is theirs who start them.
    from .pool import MaybeEncodingError

    if value is not None:
        return _outcome.pack_error(MaybeEncodingError(error, value))
    packed = _outcome.pack_error(error)
    if not isinstance(error, Exception):
        # A SystemExit or KeyboardInterrupt is an error there, and must not end anybody.
        return (None, *packed[1:])
    if packed[0] is not None:
        return packed
    try:
        ForkingPickler.dumps(error)
        reason = None
    except Exception as refusal:
        reason = refusal
    *rest, _ = _outcome.pack_error(MaybeEncodingError(reason, error))
    return (*rest, packed[3])
