"""Tasks that take too long, that die, and that fail: each costs itself and nothing else."""

import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import procession


def limit_time(pool) -> None:
    """Kills the slow task with its worker; the quick one does not notice."""
    slow = pool.apply_async(time.sleep, (3600,), timeout=0.2)
    quick = pool.apply_async(pow, (2, 10))
    print("quick:", quick.get())
    try:
        slow.get()
    except procession.TaskTimeout as error:
        print(f"slow: {error.task} was killed after {error.limit} s")


def work() -> str:
    """Works until it is told that its time is over."""
    try:
        time.sleep(3600)  # The work.
    except procession.SoftTimeout:
        return "what was done in time"
    return "all of it"


def limit_time_softly(pool) -> None:
    """Has the task return what it has; it is killed if it does not."""
    print("soft:", pool.apply(work, soft_timeout=0.2, timeout=30))


def die_once(mark: Path) -> str:
    """Ends its own worker the first time, as a crash in a library would."""
    if not mark.exists():
        mark.touch()
        os._exit(1)
    return "done by another worker"


def retry(pool) -> None:
    """Runs a task again if its worker dies; an exception is an answer."""
    with TemporaryDirectory() as folder:
        mark = Path(folder, "died")
        print("retried:", pool.apply(die_once, (mark,), retries=1))


def see_a_death(pool) -> None:
    """The error says which process died of what, and what it was running."""
    try:
        pool.apply(os._exit, (3,))
    except procession.WorkerDied as error:
        print(f"died: exit code {error.exitcode} in {error.task}")


def reciprocal(number: int) -> float:
    return 1 / number


def collect_errors(pool) -> None:
    """An error stands among the results, in the place of its input."""
    results = pool.map(reciprocal, [1, 0, 2], on_error="collect")
    print("collected:", results)


def cancel(pool) -> None:
    """Takes a task out of the line, or kills it with its worker if it has begun."""
    endless = pool.apply_async(time.sleep, (3600,))
    endless.cancel(kill=True)
    try:
        endless.get()
    except procession.CancelledError:
        print("cancelled")


if __name__ == "__main__":
    with procession.Pool(2) as pool:
        limit_time(pool)
        limit_time_softly(pool)
        retry(pool)
        see_a_death(pool)
        collect_errors(pool)
        cancel(pool)
