"""Each feature in odd surroundings: without /proc, in namespaces, under limits, and so on.

What the surroundings do not allow is refused in words; the rest works. The programs run
in sessions of their own: nobody may be left behind.
"""

import contextlib
import os
import resource
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest
import script
from test_sandboxes import PROBE, probed

UNSHARE = shutil.which("unshare")

# Makes a mount that only the program sees, which is told after it.
PRIVATELY = ["unshare", "--mount", "sh", "-ec"]

needs_root = pytest.mark.skipif(
    UNSHARE is None
    or subprocess.run(
        [UNSHARE, "--mount", "--pid", "--fork", "true"], check=False
    ).returncode
    != 0,
    reason="it takes root and unshare (util-linux) to make such surroundings",
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.procession_only("it has its own answers"),
]


def mounted(commands: str) -> list[str]:
    """Returns the command that runs another one behind these mounts."""
    return [*PRIVATELY, f'{commands}; exec "$0" "$@"']


SURROUNDINGS = {
    "without_proc": mounted("umount --lazy /proc"),
    "with_the_proc_of_others": ["unshare", "--pid", "--fork"],
    "as_the_first_process": ["unshare", "--pid", "--fork", "--mount-proc"],
    "without_dev_shm": mounted("umount --lazy /dev/shm"),
    "with_a_tiny_dev_shm": mounted("mount -t tmpfs -o size=4k none /dev/shm"),
    "with_tmp_for_reading_only": mounted(
        "mount --bind /tmp /tmp; mount -o remount,bind,ro /tmp"
    ),
    "in_a_network_of_its_own": ["unshare", "--net"],
    "as_a_user_of_its_own": ["unshare", "--user", "--map-root-user"],
}


def probe(method: str, *before: str, python: str = sys.executable) -> dict:
    return probed([*before, python, PROBE, method])


def errors(told: dict) -> dict:
    return {feature: error for (_, feature), error in told.items() if error}


@needs_root
@pytest.mark.parametrize("surroundings", SURROUNDINGS)
def test_everything_works(method, surroundings) -> None:
    assert errors(probe(method, *SURROUNDINGS[surroundings])) == {}


USES_ALL = """
import multiprocessing as mp

def wait(ready, never, *_):
    ready.release()
    never.wait()

if __name__ == "__main__":
    ready, never = mp.Semaphore(0), mp.Event()
    kinds = mp.Lock, mp.RLock, mp.Condition, mp.Queue, mp.SimpleQueue, mp.JoinableQueue
    things = [kind() for kind in kinds]
    things += [mp.Barrier(2), mp.Value("i"), mp.Array("d", 100_000), mp.RawArray("i", 3)]
    mp.Process(target=wait, args=(ready, never, *things)).start()
    ready.acquire()
    things[3].put(bytes(1_000_000))
    with mp.Pool(2) as pool:
        pool.map(len, [bytes(1_000_000)] * 4, chunksize=1)
        print("all are in use", flush=True)
        never.wait()
"""


def files(pid: int) -> list[str]:
    """Returns what a process has mapped or open; nothing once it has ended."""
    process = Path(f"/proc/{pid}")
    found = script.read(process / "maps").splitlines()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for descriptor in (process / "fd").iterdir():
            found.append(str(descriptor.readlink()))
    return found


def test_nothing_is_in_dev_shm_and_no_process_tracks_what_is(program) -> None:
    with script.Script(program.command(USES_ALL)) as parent:
        assert parent.line() == "all are in use"
        members = parent.members()
        assert len(members) >= 4
        for pid in members:
            assert [file for file in files(pid) if "/dev/shm" in file] == []
            assert "resource_tracker" not in script.read(Path(f"/proc/{pid}/cmdline"))


@needs_root
def test_everything_works_for_a_user_whom_nobody_knows(method) -> None:
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    demote = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups"]
    can = [*demote, python or "false", "-c", script.CAN_LOAD_THE_MODULE]
    if not shutil.which("setpriv") or subprocess.run(can, check=False).returncode != 0:
        pytest.skip("no interpreter that every user may run")
    where = str(Path(PROBE).parents[2] / "python")
    told = probe(method, "env", f"PYTHONPATH={where}", *demote, python=python)
    assert errors(told) == {}


def test_everything_works_without_an_environment(method) -> None:
    where = str(Path(PROBE).parents[2] / "python")
    told = probe(method, "env", "--ignore-environment", f"PYTHONPATH={where}")
    assert errors(told) == {}


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        ("NOFILE", 40),
        ("DATA", 128 << 20),
        # An interpreter without a GIL reserves a gigabyte for itself.
        ("AS", (4 if sysconfig.get_config_var("Py_GIL_DISABLED") else 2) << 30),
        ("FSIZE", 64 << 20),
        ("NOFILE", 8),
    ],
)
def test_limits_are_met_or_told(method, kind, limit) -> None:
    which = getattr(resource, f"RLIMIT_{kind}")
    text = (
        f"import os, resource, sys; resource.setrlimit({which}, ({limit}, {limit}));"
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    told = errors(probed([sys.executable, "-c", text, PROBE, method]))
    if limit == 8:
        assert all("Too many open files" in error for error in told.values()), told
    else:
        assert told == {}


def test_sigchld_may_be_ignored(method) -> None:
    """As under a shell that ignores it: the kernel reaps whoever has ended."""
    text = (
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN);"
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    told = errors(probed([sys.executable, "-c", text, PROBE, method]))
    # Where the kernel does not keep it, the exit code of one's own child is not known.
    assert all(error.startswith("AssertionError") for error in told.values())
    assert set(told) <= {"exitcode", "end"}


MANY_STARTS_UNREAPED = """
import signal, sys
import procession as mp

def nothing():
    pass

if __name__ == "__main__":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    ctx = mp.get_context("fork")
    for _ in range(150):
        process = ctx.Process(target=nothing)
        process.start()
        process.join()
        assert not process.is_alive() and process.exitcode in (0, 255)
"""


def test_no_start_fails_because_its_process_is_gone_already(tmp_path) -> None:
    path = tmp_path / "program.py"
    path.write_text(MANY_STARTS_UNREAPED)
    assert script.run([sys.executable, path]) == (0, "", "")


@pytest.mark.methods("fork", "spawn")
def test_a_directory_that_is_gone_is_no_hindrance(method, tmp_path) -> None:
    enter = f"mkdir {tmp_path}/gone; cd {tmp_path}/gone; rmdir {tmp_path}/gone"
    imports = f'{enter}; exec "$0" -c "import multiprocessing.pool, procession"'
    alone = subprocess.run(["sh", "-ec", imports, sys.executable], check=False)
    if method == "spawn" and alone.returncode != 0:
        pytest.skip("this interpreter imports nothing in a directory that is gone")
    told = probe(method, "sh", "-ec", f'{enter}; exec "$0" "$@"')
    assert errors(told) == {}


def test_a_directory_that_is_gone_is_told_where_the_server_is_asked(tmp_path) -> None:
    enter = f"mkdir {tmp_path}/gone; cd {tmp_path}/gone; rmdir {tmp_path}/gone"
    told = probe("forkserver", "sh", "-ec", f'{enter}; exec "$0" "$@"')
    assert all(
        "the working directory is gone" in text for text in errors(told).values()
    )


@pytest.mark.parametrize("stream", ["0<&-", "1<&-", "2<&-", "0<&- 2<&-"])
def test_a_standard_stream_may_be_closed(method, stream, tmp_path) -> None:
    keep = f"3>{tmp_path}/told" if "1<&-" in stream else ""
    code, _, _ = script.run(
        ["sh", "-c", f'exec "$0" "$@" {stream} {keep}', sys.executable, PROBE, method]
    )
    assert code == 0


HELD_BY_ONE_WHOSE_NUMBER_IS_ANOTHERS = """
import os, sys, time
import procession as mp

def hold(lock, ready):
    with lock:
        ready.put(os.getpid())
        time.sleep(3600)

if __name__ == "__main__":
    ctx = mp.get_context("fork")
    lock, ready = ctx.Lock(), ctx.SimpleQueue()
    open("/proc/sys/kernel/ns_last_pid", "w").write(sys.argv[1])
    process = ctx.Process(target=hold, args=(lock, ready))
    process.start()
    print(ready.get(), flush=True)
    input()
    print(lock.acquire(timeout=0.5), flush=True)
    process.kill()
    process.join()
"""


@needs_root
def test_a_holder_lives_though_the_proc_of_others_tells_of_one_more_recent(tmp_path):
    try:
        last = int(Path("/proc/sys/kernel/ns_last_pid").read_text())
        limit = int(Path("/proc/sys/kernel/pid_max").read_text())
    except OSError:
        pytest.skip("this kernel does not let one choose the number of a process")
    # Far from the numbers that are in use, and below the last one that there is.
    number = 300 + (last + 3000) % (limit - 600)
    path = tmp_path / "program.py"
    path.write_text(HELD_BY_ONE_WHOSE_NUMBER_IS_ANOTHERS)
    unshare = ["unshare", "--pid", "--fork", "--kill-child"]
    command = [*unshare, sys.executable, path, str(number - 1)]
    with subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        try:
            holder = int(program.stdout.readline())
            time.sleep(0.1)  # Starts are dated by hundredths of a second.
            Path("/proc/sys/kernel/ns_last_pid").write_text(str(holder - 1))
            with subprocess.Popen(["sleep", "3600"]) as namesake:
                try:
                    if namesake.pid != holder:
                        pytest.skip("somebody else was given the number")
                    out, _ = program.communicate("\n", timeout=script.PATIENCE)
                finally:
                    namesake.kill()
        finally:
            program.kill()
    assert out == "False\n"


ACROSS_PID_NAMESPACES = """
import ctypes, os, sys, time
import procession as mp

def hold(lock, held):
    with lock:
        held.put(os.getpid())
        time.sleep(3600)

def take(lock, told):
    told.put(lock.acquire(timeout=0.5))

if __name__ == "__main__":
    ctx = mp.get_context(sys.argv[1])
    theirs, ours, told = ctx.Lock(), ctx.Lock(), ctx.SimpleQueue()
    CLONE_NEWPID = 0x20000000
    assert ctypes.CDLL(None).unshare(CLONE_NEWPID) == 0
    ours.acquire()
    holder = ctx.Process(target=hold, args=(theirs, told))
    holder.start()
    assert told.get() == 1
    # Neither end takes the other, whose number means nobody here, for dead.
    assert theirs.acquire(timeout=0.5) is False
    other = ctx.Process(target=take, args=(ours, told))
    other.start()
    assert told.get() is False
    other.join()
    holder.kill()
    holder.join()
    try:
        theirs.acquire()
    except mp.OwnerDied:
        print("its parent has seen its end")
"""


@needs_root
@pytest.mark.methods("fork", "spawn")
def test_a_number_of_another_pid_namespace_is_nobodys(method, tmp_path) -> None:
    path = tmp_path / "program.py"
    path.write_text(ACROSS_PID_NAMESPACES)
    told = script.run([sys.executable, path, method])
    assert told == (0, "its parent has seen its end\n", "")


REAPED_BY_OTHERS = """
import os, sys, threading
import procession as mp

def leave():
    os._exit(3)

def reap():
    while not over.is_set():
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            over.wait(0.001)

if __name__ == "__main__":
    over = threading.Event()
    threading.Thread(target=reap, daemon=True).start()
    ctx = mp.get_context(sys.argv[1])
    for _ in range(60):
        process = ctx.Process(target=leave)
        process.start()
        process.join()
        assert process.exitcode in (3, 255), process.exitcode
        assert not process.is_alive()
    with ctx.Pool(2) as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]
    over.set()
"""


def test_a_thread_may_reap_whoever_has_ended(method, tmp_path) -> None:
    path = tmp_path / "program.py"
    path.write_text(REAPED_BY_OTHERS)
    command = [sys.executable, "-W", "ignore::DeprecationWarning", path, method]
    assert script.run(command) == (0, "", "")


NOBODY_CAN_BE_ENDED = """
import sys, time
import seccomp
import procession as mp

def hold(ready):
    ready.set()
    time.sleep(3600)

if __name__ == "__main__":
    ctx = mp.get_context(sys.argv[1])
    seccomp.deny("pidfd_send_signal")
    seccomp.deny("kill")
    for _ in range(2):
        ready = ctx.Event()
        process = ctx.Process(target=hold, args=(ready,), daemon=True)
        process.start()
        ready.wait()
    print("end", flush=True)
"""


def test_daemons_end_though_no_signal_can_be_sent(
    method, tmp_path, monkeypatch
) -> None:
    """Each failure at the exit is shown, and keeps nobody from ending."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    path = tmp_path / "program.py"
    path.write_text(NOBODY_CAN_BE_ENDED)
    code, out, err = script.run([sys.executable, path, method])
    assert (code, out) == (0, "end\n")
    assert err.count("cannot send signal 15") == 2
