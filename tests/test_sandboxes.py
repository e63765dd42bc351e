"""Each system call that the engine makes is denied once, as sandboxes do.

Then a feature works by a fall-back, or is refused by the call that needs it, with an
error that names the system call; nothing hangs, nobody stays behind, no helper prints a
traceback, and the exit is a clean one.
"""

import errno
import json
import os
import platform
from pathlib import Path

import pytest
import script
import seccomp
from script import METHODS

PROBE = Path(__file__).parent / "targets" / "probe.py"

# Denied, it is not missed: there is another way, or it only adds a comfort.
SPARED = {
    *("epoll_create1", "epoll_ctl", "epoll_pwait", "fallocate", "getpriority"),
    *("getppid", "getrandom", "getsid", "ioctl", "kill", "madvise", "memfd_create"),
    *("pidfd_send_signal", "prctl", "prlimit64", "readlink", "sched_getaffinity"),
    *("sched_yield", "shutdown", "sigaltstack", "statx", "sysinfo", "vfork", "wait4"),
    *("chdir", "close_range", "waitid"),
}

# Denied, what needs it is refused: which start methods can do nothing any more, and
# which features are refused under the others.
NEEDED = {
    "bind": ({"forkserver"}, {"pool", "several"}),
    "clone": ({"fork", "forkserver"}, set()),
    "clone3": ({"spawn", "forkserver"}, set()),
    "connect": ({"forkserver"}, set()),
    "ftruncate": (set(METHODS), set()),
    "pidfd_open": (set(METHODS), set()),
    "pipe2": ({"forkserver"}, {"end", "pool"}),
    "ppoll": (set(METHODS), set()),
    "recvfrom": (set(), {"pipe"}),
    "recvmmsg": ({"forkserver"}, {"pool"}),
    "recvmsg": ({"forkserver"}, set()),
    "sendmsg": ({"forkserver"}, {"pipe"}),
    "sendto": ({"forkserver"}, {"pool"}),
    "socket": ({"forkserver"}, {"pool", "several"}),
    "socketpair": (set(), {"pipe"}),
}


def probed(command) -> dict[tuple[str, str], str | None]:
    """Runs the probe to its end; returns the error of each feature."""
    code, out, err = script.run(command)
    assert (code, err) == (0, ""), f"{out}\n{err}"
    *lines, last = [json.loads(line) for line in out.splitlines()]
    assert last == "end"
    return {(method, feature): error for method, feature, error in lines}


def denied(call: str, error: int) -> dict[tuple[str, str], str | None]:
    if platform.machine() not in seccomp.ARCHITECTURES or seccomp.number(call) is None:
        pytest.skip(f"this machine has no system call {call}")
    methods = ",".join(METHODS)
    return probed(script.python("multiprocessing", PROBE, methods, call, str(error)))


@pytest.mark.slow
@pytest.mark.procession_only("it needs other system calls")
@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOSYS], ids=errno.errorcode.get)
@pytest.mark.parametrize("call", sorted(SPARED))
def test_what_is_denied_is_done_in_another_way(call, error) -> None:
    told = denied(call, error)
    assert {where: error for where, error in told.items() if error} == {}


@pytest.mark.slow
@pytest.mark.procession_only("it needs other system calls")
@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOSYS], ids=errno.errorcode.get)
@pytest.mark.parametrize("call", sorted(NEEDED))
def test_what_cannot_be_done_is_refused_by_the_name_of_the_call(call, error) -> None:
    told = denied(call, error)
    if call == "clone3" and error == errno.ENOSYS:
        assert set(told.values()) == {None}  # The C library takes another.
        return
    idle, refused = NEEDED[call]
    for (method, feature), answer in told.items():
        if method in idle or feature in refused:
            assert answer is not None, (method, feature)
        if answer is not None:
            assert call in answer and "is denied" in answer, (method, feature, answer)


WITH_AN_EXECUTOR = """
import seccomp, procession
from concurrent.futures import ProcessPoolExecutor

seccomp.deny("socket")
try:
    with ProcessPoolExecutor(2, mp_context=procession.get_context("fork")) as executor:
        print(list(executor.map(abs, [-1])))
except OSError as error:
    print(error)
"""


WITH_A_SOFT_TIMEOUT = """
import seccomp, procession

seccomp.deny("timer_create")
with procession.get_context("fork").Pool(1) as pool:
    try:
        pool.apply(abs, (-1,), soft_timeout=60)
    except OSError as error:
        print(error)
    print(pool.apply(abs, (-1,), timeout=60))
"""


@pytest.mark.procession_only("it needs other system calls")
def test_a_soft_timeout_without_a_timer_is_refused(monkeypatch) -> None:
    where = [str(Path(seccomp.__file__).parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(where))
    command = script.python("multiprocessing", "-c", WITH_A_SOFT_TIMEOUT)
    code, out, err = script.run(command)
    assert (code, err) == (0, "")
    first, second = out.splitlines()
    assert "cannot make a timer: the system call timer_create is denied" in first
    assert second == "1"


@pytest.mark.procession_only("it needs other system calls")
def test_an_executor_that_could_not_hear_its_workers_is_refused(monkeypatch) -> None:
    where = [str(Path(seccomp.__file__).parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(where))
    command = script.python("multiprocessing", "-c", WITH_AN_EXECUTOR)
    code, out, err = script.run(command)
    assert (code, err) == (0, "")
    assert "the system call socket is denied" in out
