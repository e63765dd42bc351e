"""Runs tests in a process of their own, and watches it from outside.

A test that makes no progress is killed with everything that it has started, after all
stacks were shown; what comes after it goes on in a fresh process. So each test that was
asked for has an outcome, whatever the tests do.
"""

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import marks
from inside.worker import ON_CONTEXTS, SHOW_STACKS

INSIDE = Path(__file__).parent / "inside"

# Seconds that helpers of a library may take to see that their process has ended.
GRACE = 5

# Seconds in which stacks are written before their processes are killed.
STACKS = 0.5

# Seconds that a process may take to begin with its tests, and to end after them.
PATIENCE = 60

# The marks of what runs at the moment, and whether it was told to stop.
_under_way: set[str] = set()
_stopped = False


def stop() -> None:
    """Kills all that runs at the moment; nothing more is started."""
    global _stopped
    _stopped = True
    for mark in list(_under_way):
        marks.kill(mark)


@dataclass
class Limits:
    """How long tests may take, in seconds."""

    test: float = 120
    unit: float = 1200


@dataclass(frozen=True)
class Unit:
    """Tests that share a process."""

    method: str
    module: str
    label: str
    tests: tuple[str, ...]
    # Where procession lies, if it is not installed but gives its contexts to the tests.
    on_contexts: Path | None = None


@dataclass
class Outcome:
    """What became of a test."""

    state: str
    message: str = ""
    seconds: float = 0


@dataclass
class Run:
    """What became of a unit's tests, and of what surrounds them."""

    unit: Unit
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    subjects: list[dict] = field(default_factory=list)
    seconds: float = 0

    def left(self) -> list[str]:
        """Returns the tests that have no outcome yet."""
        return [test for test in self.unit.tests if test not in self.outcomes]

    def fault(self, what: str, message: str) -> None:
        """Notes a failure outside of the tests, as if it were one of them."""
        name = f"{self.unit.label}.({what})"
        self.outcomes[name] = Outcome("failed", message)


def run(unit: Unit, python: Path, library: str, limits: Limits) -> Run:
    """Runs the tests of a unit in as many processes as it takes.

    Args:
        unit: The tests.
        python: The interpreter that runs them.
        library: What `multiprocessing` is there.
        limits: How long that may take.
    """
    result = Run(unit)
    began = time.monotonic()
    deadline = began + limits.unit
    while (tests := result.left()) and not _stopped:
        attempt = Attempt(result, python, library, limits.test, deadline)
        reason = attempt.run(tests)
        if len(result.left()) == len(tests) or time.monotonic() > deadline:
            for test in result.left():
                result.outcomes[test] = Outcome("failed", f"was not run: {reason}")
    result.seconds = time.monotonic() - began
    return result


class Attempt:
    """One process that runs tests."""

    def __init__(
        self, result: Run, python: Path, library: str, limit: float, deadline: float
    ) -> None:
        self.result = result
        self.python = python
        self.library = library
        self.limit = limit
        self.deadline = deadline
        self.mark = uuid.uuid4().hex
        self.running: str | None = None
        self.heard = False
        self.done = False
        self.around: dict[str, str] = {}
        self.reason = "the process told nothing"

    def run(self, tests: list[str]) -> str:
        """Runs tests until all are done or one spoils the process; tells the reason."""
        # Short: names of sockets lie below it.
        home = Path(tempfile.mkdtemp(prefix="pc"))
        _under_way.add(self.mark)
        try:
            self.log = home / "log"
            self._start(home, tests)
            self._watch()
            self._look_behind()
        finally:
            marks.kill(self.mark)
            _under_way.discard(self.mark)
            shutil.rmtree(home, ignore_errors=True)
        self._settle(tests)
        return self.reason

    def _start(self, home: Path, tests: list[str]) -> None:
        for name in ("t", "w"):
            (home / name).mkdir()
        environment = {
            **os.environ,
            marks.VARIABLE: self.mark,
            "TMPDIR": str(home / "t"),
        }
        if self.result.unit.on_contexts is not None:
            environment["PYTHONPATH"] = str(self.result.unit.on_contexts)
        self.events, writer = os.pipe()
        unit = self.result.unit
        module = f"{ON_CONTEXTS}{unit.module}" if unit.on_contexts else unit.module
        words = [self.python, INSIDE / "worker.py", writer, module]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*map(str, words), *tests],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=home / "w",
                env=environment,
                pass_fds=[writer],
                start_new_session=True,
            )
        os.close(writer)

    def _watch(self) -> None:
        """Takes in events until the process has ended or makes no progress."""
        ended = os.pidfd_open(self.process.pid)
        buffer = b""
        try:
            while True:
                limit = self.limit
                if self.done or not self.heard:
                    limit = max(limit, PATIENCE)
                limit = min(limit, max(0, self.deadline - time.monotonic()))
                ready, _, _ = select.select([self.events, ended], [], [], limit)
                if not ready:
                    self._give_up(limit)
                    return
                if self.events in ready:
                    data = os.read(self.events, 1 << 16)
                    *lines, buffer = (buffer + data).split(b"\n")
                    for line in lines:
                        self._take(**json.loads(line))
                if ended in ready and (self.events not in ready or not data):
                    break
                if self.events in ready and not data:
                    # All that could tell more have closed it; only the end is left.
                    select.select([ended], [], [], PATIENCE)
                    if not select.select([ended], [], [], 0)[0]:
                        self._give_up(PATIENCE)
                    break
        finally:
            os.close(ended)
            os.close(self.events)
        self._ended(self.process.wait())

    def _take(self, event: str, **details) -> None:
        """Takes in one event."""
        self.heard = True
        if event == "start":
            self.running = details["test"]
        elif event == "end":
            self.running = None
            self.result.outcomes[details["test"]] = Outcome(
                details["state"], details["message"], details["seconds"]
            )
        elif event == "around":
            self._around(**details)
        elif event == "broken":
            self.reason = details["message"]
        elif event == "escaped":
            self.result.fault("a child went on with the tests", details["message"])
        elif event == "done":
            self.done = True
            if details.pop("altered"):
                self.result.remarks.append(f"says: {tail(self.log)}")
            self._prove(details)

    def _around(self, what: str, state: str, message: str) -> None:
        """Notes what became of the set-up or the end of a class or a module."""
        if state == "failed":
            self.result.fault(what, message)
        self.around[what] = state
        self.reason = message

    def _prove(self, subject: dict) -> None:
        self.result.subjects.append(subject)
        if (
            subject["library"] != self.library
            or subject["on_contexts"] != bool(self.result.unit.on_contexts)
            or (self.library == "procession" and subject["foreign"])
        ):
            self.result.fault("another library was tested", str(subject))

    def _give_up(self, seconds: float) -> None:
        """Shows all stacks and kills everybody."""
        pids = marks.marked(self.mark)
        for pid in pids:
            marks.send(pid, SHOW_STACKS)
        time.sleep(STACKS)  # Nobody tells when the stacks are written.
        alive = "\n".join(f"  {pid} {marks.command_line(pid)}" for pid in pids)
        marks.kill(self.mark)
        self.process.kill()
        self.process.wait()
        message = (
            f"no progress for {seconds:.0f} s\n{tail(self.log)}\nthere were\n{alive}"
        )
        if self.running is not None:
            self.result.outcomes[self.running] = Outcome("failed", message, seconds)
            self.running = None
        else:
            self.result.fault("hangs between tests", message)
        self.reason = message

    def _ended(self, code: int) -> None:
        message = f"the process ended with {code}\n{tail(self.log)}"
        if self.running is not None:
            self.result.outcomes[self.running] = Outcome("failed", message)
        elif code != 0:
            self.result.fault("end", message)

    def _look_behind(self) -> None:
        """Notes processes that the tests have left running."""
        for pid in marks.wait_until_gone(self.mark, GRACE):
            self.result.fault(
                "left a process", f"{pid} still runs: {marks.command_line(pid)}"
            )

    def _settle(self, tests: list[str]) -> None:
        """Gives the tests that a set-up has kept from running its outcome."""
        if not self.done:
            return
        skipped = "skipped" in self.around.values()
        for test in tests:
            if test not in self.result.outcomes:
                self.result.outcomes[test] = Outcome(
                    "skipped" if skipped else "failed", self.reason
                )


def tail(log: Path) -> str:
    """Returns the end of what the process has printed."""
    return log.read_bytes()[-3000:].decode(errors="replace")


def plain_environment() -> None:
    """Takes from the environment what would make tests of output mean nothing."""
    os.environ.pop("PYTHONUNBUFFERED", None)
    sys.stdout.reconfigure(line_buffering=True)
