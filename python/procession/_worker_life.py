"""The work of a pool's worker besides its tasks: at its beginning and at its end.

Both sides are here: the options of the pool, and the worker's calls.
"""

from __future__ import annotations

import itertools
import os

from . import _registry
from ._checks import checked_seconds, checked_whole
from ._chunks import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .context import BaseContext

__all__ = ["LifeOptions", "WorkerLife", "name_of"]

# Libraries count threads in a C int.
_MOST_THREADS = 2**31 - 1

# The variables by which libraries limit threads of their own: OpenMP, OpenBLAS, MKL,
# BLIS, Accelerate, numexpr, numba, and the thread pool of Rust programs.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS",
)

# Numbers of the states that pools of this process have had.
_numbers = itertools.count()


class WorkerLife:
    """The work of a pool's workers besides their tasks.

    Args:
        make_state: Makes the state of a worker.
        key: Names the pool for its workers.
        on_exit: Is called at the end of a worker that ends by itself.
        exit_results: Where its results go.
        threads: How many threads the libraries of a worker may have that are loaded
            already.
        is_timed: Whether the pool has a time limit for the setting up.
    """

    def __init__(
        self,
        make_state: Callable[[], Any] | None,
        key: tuple[int, int] | None,
        on_exit: Callable[..., Any] | None,
        exit_results: ExitResults | None,
        threads: int | None,
        is_timed: bool,
    ) -> None:
        self.make_state = make_state
        self._key = key
        self.threads = threads
        self.is_timed = is_timed
        self._on_exit = on_exit
        self._results = None if exit_results is None else exit_results.queue

    def limit_threads(self) -> None:
        """Limits the threads of libraries that are loaded already.

        Libraries that are loaded later read the environment.
        """
        if self.threads is None:
            return
        try:
            import threadpoolctl  # type: ignore[import-untyped, unused-ignore]
        except ImportError:
            return
        threadpoolctl.threadpool_limits(limits=self.threads)

    def begin(self) -> None:
        """Makes the state of this worker."""
        if self.make_state is not None:
            me: Any = _registry.current
            me._worker_state = self._key, self.make_state()

    def end(self, pack: Callable[[BaseException, object], Any]) -> None:
        """Calls the function for the end of this worker, and sends its result.

        Args:
            pack: Makes what crosses of an error.
        """
        if self._on_exit is None or self._results is None:
            return
        me: Any = _registry.current
        result: Any
        try:
            arguments = () if self.make_state is None else (me._worker_state[1],)
            result = self._on_exit(*arguments)
        except Exception as error:
            result = Failure(pack(error, None))
        try:
            self._results.put(result)
        except Exception as error:
            self._results.put(Failure(pack(error, result)))


class LifeOptions:
    """The options of a pool about the life of its workers.

    Args:
        context: The context of the pool.
        initializer: The pool's initializer, for the text of errors.
        worker_state: Makes the state of a worker.
        worker_exit: Is called at the end of a worker.
        idle_timeout: After how many seconds without a task a worker ends.
        initializer_timeout: The seconds within which a worker has to be set up.
        threads_per_worker: How many threads numeric libraries may have in a worker.

    Raises:
        TypeError: A function cannot be called, or a number is no whole number.
        ValueError: A number is not positive.
    """

    def __init__(
        self,
        context: BaseContext,
        initializer: Callable[..., object] | None,
        worker_state: Callable[[], Any] | None,
        worker_exit: Callable[..., Any] | None,
        idle_timeout: float | None,
        initializer_timeout: float | None,
        threads_per_worker: int | None,
    ) -> None:
        given = {
            "worker_state": worker_state,
            "worker_exit": worker_exit,
            "idle_timeout": idle_timeout,
            "initializer_timeout": initializer_timeout,
            "threads_per_worker": threads_per_worker,
        }
        # The names of the options that are set.
        self.names = [name for name, value in given.items() if value is not None]
        for name in ("worker_state", "worker_exit"):
            if given[name] is not None and not callable(given[name]):
                raise TypeError(f"{name} must be a callable, not {given[name]!r}")
        self.idle_timeout = checked_seconds("idle_timeout", idle_timeout)
        self.setup_limit: tuple[float, str] | None = None
        limit = checked_seconds("initializer_timeout", initializer_timeout)
        if limit is not None:
            self.setup_limit = limit, _setup_name(initializer, worker_state)
        if threads_per_worker is not None:
            threads_per_worker = checked_whole(
                "threads_per_worker", threads_per_worker, _MOST_THREADS
            )
            if threads_per_worker < 1:
                raise ValueError(
                    f"threads_per_worker must be at least 1, not {threads_per_worker}"
                )
        self.environment = (
            {}
            if threads_per_worker is None
            else dict.fromkeys(THREAD_VARIABLES, str(threads_per_worker))
        )
        self.threads = threads_per_worker
        if worker_exit is not None and getattr(context, "_pool_engine", None):
            raise ValueError("a pool whose workers are elsewhere has no worker_exit")
        self.state = None if worker_state is None else WorkerState()
        self.exit_results = None if worker_exit is None else ExitResults(context)
        threads = threads_per_worker
        # A spawned interpreter has found the environment as it should be.
        if threads is not None and context.get_start_method() == "spawn":
            threads = None
        self.of_worker: WorkerLife | None = None
        if worker_state or worker_exit or threads or limit:
            self.of_worker = WorkerLife(
                worker_state,
                None if self.state is None else self.state.key,
                worker_exit,
                self.exit_results,
                threads,
                limit is not None,
            )


def _setup_name(
    initializer: Callable[..., object] | None, worker_state: Callable[[], Any] | None
) -> str:
    """Returns the functions that set a worker up, as the beginning of a sentence."""
    parts = []
    if initializer is not None:
        parts.append(f"the initializer {name_of(initializer)}")
    if worker_state is not None:
        parts.append(f"the worker_state {name_of(worker_state)}")
    return " with ".join(parts) or "a worker"


class WorkerState:
    """Stands for the state of a worker in arguments of tasks: a task gets its own worker's."""

    def __init__(self) -> None:
        self.key = os.getpid(), next(_numbers)

    def __reduce__(self) -> tuple[Any, ...]:
        return _state_here, (self.key,)

    def __repr__(self) -> str:
        return "<what worker_state makes, in each worker of its pool>"


def _state_here(key: tuple[int, int]) -> Any:
    """Returns the state of this worker.

    Raises:
        RuntimeError: This process is no worker of the pool that the state is of.
    """
    me: Any = _registry.current
    known = getattr(me, "_worker_state", None)
    if known is None or known[0] != key:
        raise RuntimeError(
            f"process {os.getpid()} is no worker of the pool that this worker_state is of: "
            "only tasks of that pool can be given it"
        )
    return known[1]


class ExitResults:
    """The results that the workers of a pool have returned at their ends.

    Args:
        context: The context of the pool.
    """

    def __init__(self, context: BaseContext) -> None:
        self.queue = context.Queue()
        self._results: list[Any] = []

    def so_far(self) -> list[Any]:
        """Returns the results, in the order in which the workers ended."""
        # Not at the top: each pool, and each worker of spawn, would load two libraries for it.
        from queue import Empty

        while True:
            try:
                self._results.append(self.queue.get_nowait())
            except Empty:
                return [*self._results]


def name_of(function: Callable[..., Any]) -> str:
    """Returns the name of a function, for messages."""
    name: str | None = getattr(function, "__qualname__", None)
    if name is None:
        # A partial, or an object that can be called.
        return f"a {type(function).__module__}.{type(function).__qualname__}"
    module = getattr(function, "__module__", None)
    return name if module is None else f"{module}.{name}"
