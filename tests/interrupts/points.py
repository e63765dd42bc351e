"""The points of an operation at which a handler of a signal may run, and raise.

The interpreter runs handlers when a function begins and when a call returns, and native
code runs them where it says so or calls Python. So a signal is made to arrive at each
event that a profiler is told of: a function begins or ends, a built-in one is called or
returns. From there on the interpreter itself decides where the handler runs.

What makes the signal arrive is the last thing that the profiler does: it must be no call,
after which the interpreter would run the handler within the profiler.
"""

import _thread
import os
import signal
import sys
from collections.abc import Callable

SIGNAL = signal.SIGALRM


class Stop(Exception):
    """Raised by the handler: as `TimeoutError` is, it is an `Exception`."""


class _Arrival(int):
    """A signal that arrives when `now` is asked for."""

    now = property(_thread.interrupt_main)


class Points:
    """Counts the points of an operation, and has a signal arrive at one of them."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._signal = _Arrival(SIGNAL)
        self.count = 0
        # What the handler has raised, and where.
        self.raised: BaseException | None = None
        self.event = self.place = ""
        signal.signal(SIGNAL, self._handle)

    def run(self, operation: Callable[[], object], at: int) -> BaseException | None:
        """Runs an operation with a signal at a point, none if there are fewer.

        Returns what it raised.
        """
        self.count, self.raised, self.place = 0, None, ""
        profile = self._profiler(at)
        try:
            sys.setprofile(profile)
            operation()
            # What is on its way arrives here.
            self._pid.__index__()
        except BaseException as error:
            return error
        finally:
            sys.setprofile(None)
        return None

    def begin(self, at: int) -> None:
        """Has a signal arrive at a point from here on, whatever runs."""
        self.count = 0
        sys.setprofile(self._profiler(at))

    def _profiler(self, at: int) -> Callable[[object, str, object], None]:
        arrival, mine, getpid, here = self._signal, self._pid, os.getpid, __file__

        def profile(frame, event, arg) -> None:
            # A forked child has this function, too, and what is here is not its own.
            if frame.f_code.co_filename == here or getpid() != mine:
                return
            self.count += 1
            if self.count == at:
                self.event = event
                arrival.now  # noqa: B018

        return profile

    def _handle(self, signum: int, frame) -> None:
        code = frame.f_code
        if code.co_filename == __file__ and code.co_name == "profile":
            # The profiler itself is not what is to be interrupted.
            self._signal.now  # noqa: B018
            return
        sys.setprofile(None)
        place = f"{code.co_filename}:{frame.f_lineno}"
        self.place = f"{place} in {code.co_name} after a {self.event}"
        # Both kinds, in turn: what catches the one may let the other pass.
        kind = KeyboardInterrupt if self.count % 2 else Stop
        self.raised = kind(f"at point {self.count}")
        raise self.raised
