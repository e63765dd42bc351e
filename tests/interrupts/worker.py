"""Interrupts one operation at many points, in an interpreter of its own.

Usage: python worker.py METHOD OPERATION FIRST MOST

Tries so many points at the most, as far apart as that allows. Prints a line for each,
`point N of M`, before it is tried, `fault` with what was wrong if anything was, which
ends it, and at the end `end`.
"""

import atexit
import faulthandler
import gc
import os
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

os.environ.setdefault("PROCESSION_TESTED_LIBRARY", "procession")
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import leftovers
import operations
import procession
from points import Points
from procession import _procession

# Seconds that a point may take before it hangs.
PATIENCE = 40


def main(method: str, name: str, first: int, most: int) -> None:
    """Tries so many of the points from the first on."""
    mp = procession.get_context(method)
    points = Points()
    leftovers.PATIENCE = 5
    tempfile.tempdir = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, tempfile.tempdir)
    kind = operations.OPERATIONS[name]

    def attempt(at: int, *, is_first: bool = False) -> int:
        """Tries one point; returns how many there were."""
        _reap(mp)
        before = leftovers.snapshot()
        operation = kind(mp)
        error = points.run(operation.act, at)
        count, raised, place = points.count, points.raised, points.place
        try:
            _check_what_came(error, raised)
            # As the program that caught it does.
            if error is not None:
                traceback.clear_frames(error.__traceback__)
            interrupted = raised is not None
            error = raised = points.raised = None
            operation.check(interrupted=interrupted)
            operation = None
            if not is_first:
                _check_what_is_left(mp, before)
        except BaseException as wrong:
            text = "".join(traceback.format_exception(wrong))
            _say(f"fault {at} interrupted in {place}: {text!r}")
            os._exit(1)
        return count

    # Without an interrupt first, for what is made only once in a program: some of it when
    # a process is a daemon, or the third that is started.
    daemon = mp.Process(target=operations.nothing, daemon=True)
    daemon.start()
    daemon.join()
    del daemon
    for _ in range(3):
        attempt(0, is_first=True)
    total = attempt(0)
    step = max(1, -(-(total - first + 1) // most))
    for at in range(first, total + 1, step):
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
        _say(f"point {at} of {total}")
        attempt(at)
    faulthandler.cancel_dump_traceback_later()
    _say("end")


def _check_what_came(error: BaseException | None, raised: BaseException | None) -> None:
    """The exception is the handler's own, and there is no other."""
    if error is not raised:
        raise AssertionError(f"{raised!r} was raised, {error!r} came") from error


def _check_what_is_left(mp, before: dict[str, set[str]]) -> None:
    gc.collect()
    left = leftovers.since(before, lambda: _reap(mp))
    # The socket that wakes others is made when it is first needed, which is when the
    # other happens to sleep, and kept for good.
    if len(left) == 1 and "-> socket:" in left[0] and not _sender:
        _sender.append(left.pop())
    assert left == [], left


_sender: list[str] = []


def _reap(mp) -> None:
    mp.active_children()
    _procession.end_spares()


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
