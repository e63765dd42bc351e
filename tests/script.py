"""Runs programs in sessions of their own, and sees to it that nobody stays behind.

A session is the operating system's: whatever a program starts, directly or not,
belongs to it. So a process that outlives its program is found even when its
parent is gone.
"""

import os
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Self

# The start methods.
METHODS = ("fork", "spawn", "forkserver")

# Fails in an interpreter for which the module was not built: that is for the stable interface,
# unless the tests run in one without a GIL.
CAN_LOAD_THE_MODULE = f"""
import sys, sysconfig
assert sys.version_info > (3, 11)
assert {sysconfig.get_config_var("Py_GIL_DISABLED") or 0} == (
    sysconfig.get_config_var("Py_GIL_DISABLED") or 0)
"""

# Seconds after which a program that should have ended is hanging.
PATIENCE = 60

# Seconds that a program has to end of SIGABRT, which it may have blocked.
PATIENCE_WITH_ABORTS = 5

# Runs a program under a start method that it does not choose itself.
UNDER_START_METHOD = Path(__file__).parent / "under_start_method.py"


def python(library: str, *arguments: str | Path, method: str | None = None) -> list:
    """Returns the command that runs a program under a library and a start method."""
    runner = [] if library == "multiprocessing" else ["-m", library]
    chooser = [] if method is None else [UNDER_START_METHOD, method]
    return [sys.executable, *runner, *chooser, *arguments]


def output(*arguments: str, **options) -> str:
    """Runs Python with procession installed; it must succeed and print no error."""
    command = [sys.executable, "-m", "procession", *arguments]
    code, out, err = run(command, **options)
    assert (code, err) == (0, ""), err
    return out


class Script:
    """A running program: feed it, wait for it, kill it; at the end nobody is left."""

    def __init__(self, command, **options) -> None:
        self.command = [str(part) for part in command]
        self.process = subprocess.Popen(
            self.command,
            stdin=options.pop("stdin", subprocess.DEVNULL),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception) -> None:
        self.kill_all()
        self.process.stdout.close()
        self.process.stderr.close()

    def line(self) -> str:
        """Waits for the next line that the program prints."""
        return self.process.stdout.readline().rstrip("\n")

    def finish(self) -> tuple[int, str, str]:
        """Waits for the end: exit code, standard output, standard error.

        It is an error if the program hangs or leaves a process behind.
        """
        try:
            out, err = self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            told = self.describe()
            self.abort_all()
            out, err = self.process.communicate()
            raise AssertionError(
                f"{self.command} hangs\n{told}\n--- out\n{out}--- err\n{err}"
            ) from None
        self.must_be_empty()
        return self.process.returncode, out, err

    def members(self) -> list[int]:
        """Returns the pids of the session, the program's own included."""
        return [pid for pid in all_pids() if session_of(pid) == self.process.pid]

    def must_be_empty(self) -> None:
        """Fails if somebody of the session still runs when there was time to end."""
        deadline = time.monotonic() + PATIENCE
        while self.members():
            if time.monotonic() > deadline:
                told = self.describe()
                self.kill_all()
                raise AssertionError(f"{self.command} left behind\n{told}")
            time.sleep(0.005)  # The end of a stranger has no event to wait on.

    def describe(self) -> str:
        """Tells what each process of the session is, and where it waits."""
        return "\n".join(describe(pid) for pid in self.members())

    def abort_all(self) -> None:
        """Ends the session; a program that has enabled `faulthandler` tells where it is."""
        send(self.members(), signal.SIGABRT)
        deadline = time.monotonic() + PATIENCE_WITH_ABORTS
        while self.members() and time.monotonic() < deadline:
            time.sleep(0.005)  # The end of a stranger has no event to wait on.
        self.kill_all()

    def kill_all(self) -> None:
        """Kills whoever is left of the session."""
        while left := self.members():
            send(left, signal.SIGKILL)
            if self.process.pid in left:
                self.process.wait()


def run(command, **options) -> tuple[int, str, str]:
    """Runs a program to its end: exit code, standard output, standard error."""
    with Script(command, **options) as script:
        return script.finish()


def all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def session_of(pid: int) -> int | None:
    """Returns the session of a process that lives, None if it does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, _parent, _group, session = stat.rpartition(")")[2].split()[:4]
    return None if state in "ZX" else int(session)


def send(pids: list[int], number: int) -> None:
    """Sends a signal to those processes that live."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def describe(pid: int) -> str:
    """Tells what a process is and where it waits, for the report of a failure."""
    process = Path(f"/proc/{pid}")
    told = [f"{pid}  cmdline: {read(process / 'cmdline')}"]
    for line in read(process / "status").splitlines():
        if line.startswith(("PPid", "SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt")):
            told.append(f"    {line.expandtabs(1)}")
    for thread in sorted((process / "task").glob("*")):
        told.append(
            f"    thread {thread.name} {read(thread / 'comm')}: "
            f"{read(thread / 'wchan')}, system call {read(thread / 'syscall')}"
        )
    return "\n".join(told)


def read(file: Path) -> str:
    """Returns what a file of /proc has, or why it cannot be read."""
    try:
        return file.read_text().replace("\0", " ").strip()
    except OSError as error:
        return str(error)
