"""The workers of a `Pool`: how one is started, and what it says of an error.

What a worker process does is native; that of a `ThreadPool`, or of a pool whose subclass
has queues of its own, is `worker`. `pool` has what users see.
"""

from __future__ import annotations

from . import _outcome, _procession, util
from .reduction import ForkingPickler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType
    from typing import Any

    Initializer = tuple[Callable[..., object] | None, Iterable[Any]]

__all__ = ["Bounds", "Starter", "work", "worker"]


class Bounds:
    """What the workers of a pool may use, and what is in their environment."""

    def __init__(
        self,
        memory_limit: int | None,
        max_memory_per_worker: int | None,
        affinity: Iterable[int] | Callable[[int], Iterable[int]] | None,
        env: Mapping[str, str] | Callable[[int], Mapping[str, str]] | None,
    ) -> None:
        for name, value in (
            ("memory_limit", memory_limit),
            ("max_memory_per_worker", max_memory_per_worker),
        ):
            if value is not None and (not isinstance(value, int) or value <= 0):
                raise ValueError(
                    f"{name} must be a positive number of bytes, not {value!r}"
                )
        # Of those that are set.
        self.names = [
            name
            for name, value in (
                ("memory_limit", memory_limit),
                ("max_memory_per_worker", max_memory_per_worker),
                ("affinity", affinity),
                ("env", env),
            )
            if value is not None
        ]
        self.memory_limit = memory_limit
        self._resident = max_memory_per_worker
        self._affinity = affinity
        if affinity is not None and not callable(affinity):
            self._affinity = [*affinity]
        self._env = env

    def at(self, index: int) -> tuple[int | None, int | None, list[int] | None] | None:
        """Returns what the worker at a place may use, or None if that is anything."""
        cpus = self._affinity
        if callable(cpus):
            cpus = cpus(index)
        bounds = self.memory_limit, self._resident, None if cpus is None else [*cpus]
        return None if bounds == (None, None, None) else bounds

    def environment_at(self, index: int) -> dict[str, str] | None:
        """Returns what is in the environment of the worker at a place besides ours."""
        env = self._env
        if callable(env):
            env = env(index)
        return None if env is None else dict(env)


class Starter:
    """Starts workers. It does not know the pool, which could not end otherwise."""

    def __init__(
        self,
        ctx: Any,
        process: Callable[..., Any],
        workers: list[Any],
        initializer: Initializer,
        bounds: Bounds,
    ) -> None:
        self._ctx = ctx
        self._process = process
        self._workers = workers
        self._initializer = initializer
        self._bounds = bounds
        # Why the first one that failed did, for a pool that is being made.
        self.error: Exception | None = None

    def __call__(self, lane: tuple[int, int], index: int) -> _procession.Child:
        """Starts a worker that finds its pool by a lane, for a place in it."""
        try:
            process = self._process(
                self._ctx,
                target=work,
                args=(lane, *self._initializer, self._bounds.at(index)),
            )
            process._worker_index = index
            process._environment = self._bounds.environment_at(index)
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
    bounds: tuple[int | None, int | None, list[int] | None] | None = None,
) -> None:
    """Works for a pool, in a worker process, until there is no more to do."""
    me = _procession.PoolWorker(lane)
    try:
        if bounds is not None:
            me.confine(*bounds)
        if initializer is not None:
            initializer(*initargs)
    except BaseException as error:
        me.fail(_pack(error))
        raise
    me.run(_pack)
    util.debug("worker exiting")


def _pack(error: BaseException, value: object = None) -> Any:
    """Returns an error as data that crosses; `value` is what it kept from crossing."""
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


def worker(
    inqueue: Any,
    outqueue: Any,
    initializer: Callable[..., object] | None = None,
    initargs: Iterable[Any] = (),
    maxtasks: int | None = None,
    wrap_exception: bool = False,
) -> None:
    """Runs the tasks of a queue, in a thread, as in `multiprocessing`.

    A worker process runs something else, which is native.
    """
    if maxtasks is not None and not (isinstance(maxtasks, int) and maxtasks >= 1):
        raise AssertionError(f"Maxtasks {maxtasks!r} is not valid")
    if initializer is not None:
        initializer(*initargs)
    completed = 0
    while maxtasks is None or completed < maxtasks:
        try:
            task = inqueue.get()
        except (EOFError, OSError):
            util.debug("worker got EOFError or OSError -- exiting")
            break
        if task is None:
            util.debug("worker got sentinel -- exiting")
            break
        job, index, func, args, kwds = task
        result: Any
        try:
            result = (True, func(*args, **kwds))
        except Exception as error:
            result = (False, error)
            if wrap_exception:
                traced = ExceptionWithTraceback(error, error.__traceback__)
                result = (False, traced)
        try:
            outqueue.put((job, index, result))
        except Exception as error:
            wrapped = MaybeEncodingError(error, result[1])
            util.debug("possible encoding error while sending result: %s", wrapped)
            outqueue.put((job, index, (False, wrapped)))
        task = job = result = func = args = kwds = None
        completed += 1
    util.debug("worker exiting after %d tasks", completed)


# It is found there by whoever unpickles it.
worker.__module__ = "procession.pool"


class MaybeEncodingError(Exception):
    """Says that a result or an error of a task could not be pickled."""

    __module__ = "procession.pool"

    def __init__(self, exc: object, value: object) -> None:
        self.exc = repr(exc)
        self.value = repr(value)
        super().__init__(self.exc, self.value)

    def __str__(self) -> str:
        return f"Error sending result: '{self.value}'. Reason: '{self.exc}'"

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"


class ExceptionWithTraceback:
    """Pickles an exception so that it has the text of its traceback as its cause."""

    __module__ = "procession.pool"

    def __init__(self, exc: BaseException, tb: TracebackType | None) -> None:
        # Not at the top: most workers never tell of an error.
        import traceback

        text = "".join(traceback.format_exception(type(exc), exc, tb))
        self.exc = exc
        self.tb = f'\n"""\n{text}"""'

    def __reduce__(self) -> tuple[Any, ...]:
        return _outcome.rebuild_exc, (self.exc, self.tb)
