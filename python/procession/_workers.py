"""The workers of a `Pool`: how one is started, and how it reports an error.

The loop of a worker process is native; that of a `ThreadPool`, or of a pool whose
subclass has queues of its own, is `worker`. `pool` has the classes that users see.
"""

from __future__ import annotations

import faulthandler
import os
import reprlib
import sys
from types import CoroutineType

from . import _outcome, _procession, _registry, reduction, util
from ._checks import checked_whole
from ._sizes import parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType
    from typing import Any

    from ._worker_life import LifeOptions, WorkerLife

    Initializer = tuple[Callable[..., object] | None, Iterable[Any]]

__all__ = [
    "Bounds",
    "Starter",
    "checked_cpus",
    "checked_environment",
    "checked_initargs",
    "is_plain",
    "refuse",
    "work",
    "worker",
]


class Bounds:
    """The limits of a pool's workers, and the additions to their environment."""

    def __init__(
        self,
        memory_limit: int | str | None,
        max_memory_per_worker: int | str | None,
        affinity: Iterable[int] | Callable[[int], Iterable[int]] | None,
        env: Mapping[str, str] | Callable[[int], Mapping[str, str]] | None,
        life: LifeOptions,
    ) -> None:
        # The names of the options that are set.
        self.names = [
            name
            for name, value in (
                ("memory_limit", memory_limit),
                ("max_memory_per_worker", max_memory_per_worker),
                ("affinity", affinity),
                ("env", env),
            )
            if value is not None
        ] + life.names
        self.life = life.of_worker
        self._usual_environment = life.environment
        self.memory_limit = parse_size("memory_limit", memory_limit)
        self._resident = parse_size("max_memory_per_worker", max_memory_per_worker)
        self._affinity = affinity
        if affinity is not None and not callable(affinity):
            self._affinity = checked_cpus(affinity)
        self._env = env
        if env is not None and not callable(env):
            self._env = checked_environment(env)

    def at(self, index: int) -> tuple[int | None, int | None, list[int] | None] | None:
        """Returns the limits of the worker at a place, or None if it has none."""
        cpus = self._affinity
        if callable(cpus):
            cpus = checked_cpus(cpus(index))
        bounds = self.memory_limit, self._resident, None if cpus is None else [*cpus]
        return None if bounds == (None, None, None) else bounds

    def environment_at(self, index: int) -> dict[str, str] | None:
        """Returns the variables that are added to the environment of the worker at a place."""
        env = self._env
        if callable(env):
            env = checked_environment(env(index))
        if env is None:
            return dict(self._usual_environment) or None
        return {**self._usual_environment, **env}


def checked_cpus(cpus: Iterable[int]) -> list[int]:
    """Returns the CPUs of an `affinity`, after trying whether this process may run on them.

    Raises:
        TypeError: They are not numbers.
        ValueError: There are none, or this process may not run on one of them.
    """
    try:
        given = [*cpus]
    except TypeError:
        raise TypeError(f"affinity must be numbers of CPUs, not {cpus!r}") from None
    wanted = [checked_whole("a CPU of affinity", cpu) for cpu in given]
    if not wanted:
        raise ValueError("affinity names no CPU")
    # The affinity of this thread, which no other thread shares.
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, wanted)
        possible = os.sched_getaffinity(0)
    except (OSError, OverflowError, ValueError) as error:
        raise ValueError(
            f"a process cannot be made to run on the CPUs {wanted}: {error}"
        ) from error
    finally:
        os.sched_setaffinity(0, before)
    others = sorted({*wanted} - possible)
    if others:
        raise ValueError(f"affinity names CPUs that this process may not use: {others}")
    return wanted


def checked_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Returns the variables of an `env`, which a process can have in its environment.

    Raises:
        TypeError: It is no mapping, or a name or a value is not text.
        ValueError: The operating system does not allow it.
    """
    try:
        checked = dict(env)
    except (TypeError, ValueError):
        raise TypeError(f"env must be a mapping of text, not {env!r}") from None
    for name, value in checked.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"env must be of text, not {name!r}: {value!r}")
        os.fsencode(name + value)  # Not all text is of the operating system's.
        if not name or "=" in name or "\0" in name or "\0" in value:
            raise ValueError(
                f"env: {name!r} and {value!r} cannot be the name and value of a variable"
            )
    return checked


def checked_initargs(initargs: Iterable[Any]) -> tuple[Any, ...]:
    """Returns the arguments of an initializer, which each worker is given anew."""
    try:
        return tuple(initargs)
    except TypeError:
        raise TypeError(
            f"initargs must be the arguments of the initializer, in a tuple, not "
            f"{initargs!r}"
        ) from None


def is_plain(pickler: str) -> bool:
    """Returns whether a `pickler` sends nothing by value."""
    if pickler not in ("auto", "plain"):
        raise ValueError(f"pickler must be 'auto' or 'plain', not {pickler!r}")
    return pickler == "plain"


class Starter:
    """Makes workers. It does not refer to the pool, which would then never be freed.

    Workers of an executor are no daemons: they may start processes of their own.
    """

    def __init__(
        self,
        ctx: Any,
        process: Callable[..., Any],
        workers: list[Any],
        initializer: Initializer,
        bounds: Bounds,
        for_executor: bool = False,
        log_relay: Any = None,
        by_name_only: bool = False,
    ) -> None:
        self._ctx = ctx
        self._process = process
        self._workers = workers
        self._initializer = initializer
        self._bounds = bounds
        self._is_for_executor = for_executor
        self._log_relay = log_relay
        self._by_name_only = by_name_only
        # The places that have had a worker.
        self._filled: set[int] = set()

    def make(self, channel: tuple[int, int], index: int) -> Any:
        """Returns a worker for a place in a pool, which it finds by the handle of its channel."""
        # A program's own class may take only the arguments that the standard library
        # gives.
        more: dict[str, Any] = {}
        if self._by_name_only:
            more.setdefault("kwargs", {})["by_name_only"] = True
        if self._bounds.life is not None:
            more.setdefault("kwargs", {})["life"] = self._bounds.life
        process = self._process(
            self._ctx,
            target=execute if self._is_for_executor else work,
            args=(channel, *self._initializer, self._bounds.at(index)),
            **more,
        )
        process._worker_index = index
        process._pool_channel = channel
        process._environment = self._bounds.environment_at(index)
        if self._log_relay is not None:
            process._config["log_relay"] = self._log_relay
        if self._is_for_executor:
            process._ends_with_parent = True
            return process
        process.name = process.name.replace("Process", "PoolWorker")
        process.daemon = True
        return process

    def note(self, process: Any) -> None:
        """Adds a worker that has started; if it replaces another, removes those that have ended."""
        if process._worker_index in self._filled:
            for worker in _registry.ended(self._workers):
                util.debug("cleaning up worker %s", worker.name)
                worker.join()
                self._workers.remove(worker)
        self._filled.add(process._worker_index)
        self._workers.append(process)
        util.debug("added worker")


def work(
    channel: tuple[int, int],
    initializer: Callable[..., object] | None,
    initargs: Iterable[Any],
    bounds: tuple[int | None, int | None, list[int] | None] | None = None,
    by_name_only: bool = False,
    life: WorkerLife | None = None,
) -> None:
    """Works for a pool, in a worker process, until there is no more to do."""
    me = _set_up(channel, initializer, initargs, bounds, life)
    if me is not None:
        me.run(_pack, by_name_only)
        if life is not None:
            life.end(_pack)
        util.debug("worker exiting")


def execute(
    channel: tuple[int, int],
    initializer: Callable[..., object] | None,
    initargs: Iterable[Any],
    bounds: tuple[int | None, int | None, list[int] | None] | None = None,
    by_name_only: bool = False,
    life: WorkerLife | None = None,
) -> None:
    """Does the same for an executor, and reports errors as `concurrent.futures` does."""
    logged = False

    def initialize() -> None:
        nonlocal logged
        assert initializer is not None
        try:
            initializer(*initargs)
        except BaseException:
            # Not at the top: most workers have nothing to log.
            import logging

            # Logged before the executor is told, which may then end this process.
            logging.getLogger("concurrent.futures").critical(
                "Exception in initializer:", exc_info=True
            )
            logged = True
            raise

    try:
        first = None if initializer is None else initialize
        me = _set_up(channel, first, (), bounds, life)
    except BaseException:
        if logged:
            return
        raise
    if me is not None:
        me.run(_pack_as_raised, by_name_only)
        if life is not None:
            life.end(_pack_as_raised)
        util.debug("worker exiting")


def _set_up(
    channel: tuple[int, int],
    initializer: Callable[..., object] | None,
    initargs: Iterable[Any],
    bounds: tuple[int | None, int | None, list[int] | None] | None,
    life: WorkerLife | None,
) -> _procession.PoolWorker | None:
    """Returns a worker that is ready for tasks, or None if the pool has ended meanwhile."""
    try:
        me = _procession.PoolWorker(channel)
    except FileNotFoundError:
        return None
    try:
        _report_crash(me)
        if bounds is not None:
            me.confine(*bounds)
        if life is not None:
            if life.is_timed:
                me.begin_setup()
            life.limit_threads()
        if initializer is not None:
            initializer(*initargs)
        if life is not None:
            life.begin()
    except BaseException as error:
        try:
            packed = _pack(error)
        except MemoryError:
            me.fail_briefly()
        else:
            me.fail(packed)
        raise
    return me


def _report_crash(me: _procession.PoolWorker) -> None:
    """Arranges that the pool is told where this worker was, if it crashes.

    A program that has enabled `faulthandler` itself keeps its own choice of a file.
    """
    fd = me.crash_fd()
    if fd is not None:
        if faulthandler.is_enabled():
            return
        try:
            if sys.version_info >= (3, 14):
                # To write the stack of C allocates memory, which may be what has crashed.
                faulthandler.enable(fd, c_stack=False)
            else:
                faulthandler.enable(fd)
        except (OSError, RuntimeError):
            return  # A worker that may not handle signals works nevertheless.
    me.report_crash(fd)


def refuse(channel: tuple[int, int], error: Exception) -> None:
    """Tells a pool that its workers cannot be set up, and why.

    Raises:
        FileNotFoundError: The pool has ended meanwhile, and with it what it gave to them.
    """
    _procession.PoolWorker(channel).fail(_pack(error))


def _pack(error: BaseException, value: object = None) -> Any:
    """Returns an error as data that crosses; `value` is what could not cross, if any."""
    if isinstance(error, MemoryError):
        _let_go_of_frames(error)
    _note_coroutines(error, value)
    if value is not None:
        refused = MaybeEncodingError(error, value)
        for note in getattr(error, "__notes__", ()):
            refused.add_note(note)
        return _outcome.pack_error(refused)
    packed = _outcome.pack_error(error)
    if not isinstance(error, Exception):
        # In the owner, a SystemExit or KeyboardInterrupt is an error of the task, and must
        # not end any process.
        return (None, *packed[1:])
    if packed[0] is not None:
        return packed
    try:
        reduction.dumps(error)
        reason = None
    except Exception as refusal:
        reason = refusal
    *rest, _ = _outcome.pack_error(MaybeEncodingError(reason, error))
    return (*rest, packed[3])


def _pack_as_raised(error: BaseException, value: object = None) -> Any:
    """Returns an error of a task, or of its value, as data that crosses."""
    if isinstance(error, MemoryError):
        _let_go_of_frames(error)
    elif value is not None:
        error.add_note(
            "What cannot be pickled is what the task returned, of the class"
            f" {type(value).__qualname__!r}: have it return what can cross, such as the list of"
            " what a generator yields, or the path of a file that it has written."
        )
    _note_coroutines(error, value)
    return _outcome.pack_error(error)


def _note_coroutines(error: BaseException, value: object) -> None:
    """Says what to do with an `async` function, whose results cannot cross."""
    results = value if isinstance(value, list) else [value]
    coroutines = [each for each in results if isinstance(each, CoroutineType)]
    for coroutine in coroutines:
        coroutine.close()  # Nobody will await it.
    if coroutines:
        error.add_note(
            f"{coroutines[0].__qualname__} is a coroutine function, of which a worker gets a"
            " coroutine: call it in a function that runs it, by `asyncio.run`."
        )


def _let_go_of_frames(error: BaseException) -> None:
    """Frees the local variables of the frames that an error came from, which may be all memory."""
    entry = error.__traceback__
    while entry is not None:
        try:
            entry.tb_frame.clear()
        except RuntimeError:
            pass  # The frame still runs: it is one of ours.
        entry = entry.tb_next


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


# Processes that unpickle it find it in `procession.pool`.
worker.__module__ = "procession.pool"


class MaybeEncodingError(Exception):
    """Says that a result or an error of a task could not be pickled."""

    __module__ = "procession.pool"

    def __init__(self, exc: object, value: object) -> None:
        self.exc = _shown(exc)
        # If there is no memory for the value, there is none for its text either.
        briefly = isinstance(exc, MemoryError)
        self.value = _Brief().repr(value) if briefly else _shown(value)
        super().__init__(self.exc, self.value)

    def __str__(self) -> str:
        return f"Error sending result: '{self.value}'. Reason: '{self.exc}'"

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"


# The most characters of an object that an error shows.
_LONGEST = 10_000


def _shown(value: object) -> str:
    text = repr(value)
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}... ({len(text)} characters)"


class _Brief(reprlib.Repr):
    """Shows objects, large bytes included, without making all of their text first."""

    def repr_bytes(self, x: bytes, level: int) -> str:
        if len(x) <= self.maxother:
            return repr(x)
        return f"{x[: self.maxother]!r}... ({len(x)} bytes)"

    repr_bytearray = repr_bytes


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
