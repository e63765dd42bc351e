"""What a pool has done since it was made: `Pool.stats`.

Nothing is measured for it. Each reply of a worker says how long its task took, and the
thread that reads the reply counts; this module gives the counts names.
"""

from __future__ import annotations

from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._procession import CallTimes

__all__ = ["PoolStats", "WorkStats", "WorkerStats"]


@dataclass(frozen=True, slots=True)
class WorkStats:
    """Counts and times of tasks.

    Attributes:
        tasks: How many tasks have come to an end, well or with an error.
        calls: How many calls they were: a task of a map may have several inputs.
        failed: How many tasks have raised an error.
        deaths: How many tasks were lost with their worker, which died.
        retries: How often a task was run again after that.
        timeouts: How many tasks were killed because they took too long.
        cancelled: How many tasks that ran were killed because they were cancelled.
        bytes_sent: The bytes of the tasks' inputs, pickled.
        bytes_received: The bytes of the tasks' results, pickled.

    Example:
        >>> import procession
        >>> with procession.Pool(2) as pool:
        ...     words = pool.map(str.upper, ["a", "b", "c"])
        ...     work = pool.stats().work
        >>> work.calls, work.failed
        (3, 0)
        >>> work.shortest <= work.quantile(0.5) <= work.longest <= work.total
        True
    """

    tasks: int
    calls: int
    failed: int
    deaths: int
    retries: int
    timeouts: int
    cancelled: int
    bytes_sent: int
    bytes_received: int
    _times: CallTimes

    @property
    def total(self) -> float:
        """How long all calls took together, in seconds."""
        return self._times.total

    @property
    def mean(self) -> float | None:
        """How long a call took on average, in seconds; None while there was none."""
        return self.total / self.calls if self.calls else None

    @property
    def shortest(self) -> float | None:
        """How long the shortest call took, in seconds; None while there was none."""
        return self._times.shortest

    @property
    def longest(self) -> float | None:
        """How long the longest call took, in seconds; None while there was none."""
        return self._times.longest

    def quantile(self, part: float) -> float | None:
        """Returns how many seconds a call took at most, for a part of the calls.

        It is right within a sixteenth. The calls of a task that has several inputs
        count as if all had taken equally long.

        Args:
            part: From 0 to 1; 0.5 is the median.

        Returns:
            None while there was no call.

        Raises:
            ValueError: `part` is less than 0, or more than 1.
        """
        return self._times.quantile(part)

    def as_dict(self) -> dict[str, Any]:
        """Returns all of it as numbers, as JSON has them; the times are in seconds."""
        counts = {name: getattr(self, name) for name in _COUNTS}
        times = {
            "total": self.total,
            "mean": self.mean,
            "shortest": self.shortest,
            "median": self.quantile(0.5),
            "p90": self.quantile(0.9),
            "p99": self.quantile(0.99),
            "longest": self.longest,
        }
        return counts | times


_COUNTS = tuple(name for name in WorkStats.__slots__ if not name.startswith("_"))


@dataclass(frozen=True, slots=True)
class WorkerStats:
    """What was done at one place in the pool, by all workers that have had it.

    Attributes:
        index: The place, from 0.
        pid: The process id of the worker that has the place now; None if none has.
        starts: How many workers have had the place.
        deaths: How many of them have died; those that the pool had told to end are not
            counted.
        starting: The seconds that they took until they were ready for tasks.
        waiting: The seconds that they waited for tasks.
        running: The seconds that the running task has been running; None if none runs.
        queued: How many tasks the worker has been given that it has not begun.
        work: What they have done; `work.total` is how long they worked.

    Example:
        >>> import procession
        >>> with procession.Pool(1) as pool:
        ...     pool.apply(len, ["one"])
        ...     (worker,) = pool.stats().workers
        3
        >>> worker.index, worker.starts, worker.work.tasks, worker.running
        (0, 1, 1, None)
    """

    index: int
    pid: int | None
    starts: int
    deaths: int
    starting: float
    waiting: float
    running: float | None
    queued: int
    work: WorkStats

    def as_dict(self) -> dict[str, Any]:
        """Returns all of it as numbers, as JSON has them; the times are in seconds."""
        own = {name: getattr(self, name) for name in self.__slots__ if name != "work"}
        return own | {"work": self.work.as_dict()}


@dataclass(frozen=True, slots=True)
class PoolStats:
    """What a pool has done since it was made, and what it does.

    Attributes:
        age: How many seconds ago the pool was made.
        submitted: How many tasks were handed in. Those of a map are as workers need
            them.
        waiting: How many of them have not begun: they wait for a worker, or were given
            to a busy one.
        running: How many of them run.
        work: All work together.
        workers: The workers, by their places in the pool.
        functions: What was done by calls of each function, by the function's name.

    Example:
        >>> import procession
        >>> with procession.Pool(2) as pool:
        ...     lengths = pool.map(len, ["one", "three"])
        ...     stats = pool.stats()
        >>> stats.functions["builtins.len"].calls
        2
        >>> [worker.index for worker in stats.workers]
        [0, 1]
        >>> stats.waiting, stats.running
        (0, 0)
    """

    age: float
    submitted: int
    waiting: int
    running: int
    work: WorkStats
    workers: tuple[WorkerStats, ...]
    functions: dict[str, WorkStats]

    def as_dict(self) -> dict[str, Any]:
        """Returns all of it as dicts, lists and numbers, as JSON has them."""
        return {
            "age": self.age,
            "submitted": self.submitted,
            "waiting": self.waiting,
            "running": self.running,
            "work": self.work.as_dict(),
            "workers": [worker.as_dict() for worker in self.workers],
            "functions": {
                name: work.as_dict() for name, work in self.functions.items()
            },
        }


def stats_of(counted: dict[str, Any]) -> PoolStats:
    """Gives names to what the native pool has counted."""
    workers = (
        WorkerStats(**(worker | {"work": _work(worker["work"])}))
        for worker in counted["workers"]
    )
    return PoolStats(
        age=counted["age"],
        submitted=counted["submitted"],
        waiting=counted["waiting"],
        running=counted["running"],
        work=_work(counted["work"]),
        workers=tuple(workers),
        functions={name: _work(work) for name, work in counted["functions"]},
    )


def _work(counted: dict[str, Any]) -> WorkStats:
    times = counted.pop("times")
    return WorkStats(**counted, _times=times)
