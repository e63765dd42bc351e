"""What becomes of a program whose user may have no more processes (RLIMIT_NPROC).

Who needs one is told so, by the name of the limit; nothing hangs or is lost, nobody is
left, and it works when there is room again. Threads count as processes, and so does
what is started ahead of need. Root is not limited: a user whom nobody knows runs this.
"""

import itertools
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import script

pytestmark = [
    pytest.mark.slow,
    pytest.mark.procession_only("it has its own answers"),
]

USERS = itertools.count()

# Its targets are others' functions: a fresh interpreter does not know the program.
PRELUDE = """
import os, resource, signal, sys, threading, time
from pathlib import Path
import procession as mp
from procession._procession import spare_pids

MOST = resource.getrlimit(resource.RLIMIT_NPROC)[1]
ctx = mp.get_context(sys.argv[1])

def tasks():
    "Counts the processes and threads of this user, as the kernel does."
    count = 0
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and process.stat().st_uid == os.getuid():
                count += len(os.listdir(process / "task"))
        except OSError:
            pass  # It has ended meanwhile.
    return count

def allow(more=None):
    limit = MOST if more is None else tasks() + more
    resource.setrlimit(resource.RLIMIT_NPROC, (limit, MOST))

def start():
    process = ctx.Process(target=time.sleep, args=(0,))
    process.start()
    process.join()
    assert process.exitcode == 0

def several():
    processes = []
    try:
        for _ in range(4):
            process = ctx.Process(target=time.sleep, args=(0.05,))
            process.start()
            processes.append(process)
    finally:
        for process in processes:
            process.join()
            assert process.exitcode == 0

def pool():
    with ctx.Pool(3) as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]

def callback():
    done = threading.Event()
    with ctx.Pool(1) as pool:
        result = pool.apply_async(abs, (-1,), callback=lambda _: done.set())
        assert result.get() == 1 and done.wait(20)

def manager():
    with ctx.Manager() as manager:
        assert list(manager.list([1])) == [1]

def told(feature):
    "Returns what went wrong, and what that came from."
    try:
        feature()
    except Exception as error:
        parts = []
        while error is not None:
            parts.append(f"{type(error).__name__}: {error}")
            error = error.__cause__ or error.__context__
        return " from ".join(parts)
    return ""

FEATURES = (start, several, pool, callback, manager)
"""


@pytest.fixture
def limited(method):
    """Returns a function that runs a program as a user who has nothing else to run."""
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    # One for each test: what another has left may still be ending, and would count.
    user = 1_000_000 + 1000 * os.getpid() + next(USERS)
    demote = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    can = [*demote, python or "false", "-c", script.CAN_LOAD_THE_MODULE]
    if not shutil.which("setpriv") or subprocess.run(can, check=False).returncode != 0:
        pytest.skip(
            "it takes root, setpriv, and an interpreter that every user may run"
        )
    where = Path(__file__).parents[1] / "python"

    def limited(text: str, *before: str) -> list[str]:
        command = [*demote, "env", f"PYTHONPATH={where}", *before, python]
        code, out, err = script.run([*command, "-c", PRELUDE + text, method], cwd="/")
        # A manager's server that can have no thread has ended with an error.
        is_quiet = not err or "SyncManager" in err and err.count("Traceback") == 1
        assert code == 0 and is_quiet, f"{out}\n{err}"
        return out.splitlines()

    return limited


def test_who_may_start_nobody_is_told_the_limit_and_goes_on_later(limited) -> None:
    text = """
allow(0)
for feature in FEATURES:
    answer = told(feature)
    assert "RLIMIT_NPROC" in answer, (feature, answer)
queue = ctx.Queue()
queue.put(1)
assert queue.get() == 1
allow()
for feature in FEATURES:
    assert told(feature) == "", feature
print(len(mp.active_children()))
"""
    assert limited(text) == ["0"]


@pytest.mark.parametrize("more", [1, 2, 3, 4, 6])
def test_where_there_is_room_for_some_it_works_or_says_why_not(limited, more) -> None:
    text = f"""
for feature in FEATURES:
    allow({more})
    answer = told(feature)
    named = "RLIMIT_NPROC" in answer or "can't start new thread" in answer
    assert answer == "" or named, (feature, answer)
    allow()
for feature in FEATURES:
    assert told(feature) == "", feature
print(len(mp.active_children()))
"""
    assert limited(text) == ["0"]


def test_a_pool_goes_on_with_those_that_it_has_and_ends_without_any(limited) -> None:
    text = """
with ctx.Pool(2) as workers:
    assert workers.map(abs, [-1, -2]) == [1, 2]
    resource.setrlimit(resource.RLIMIT_NPROC, (1, MOST))
    first = workers._pool[0]
    first.kill()
    first.join()
    # In many rounds, in each of which it might try to start another.
    many = workers.map(abs, range(-2000, 0), chunksize=1)
    assert many == list(range(2000, 0, -1))
    for worker in workers._pool:
        worker.kill()
        worker.join()
    answer = told(lambda: workers.map(abs, range(-20, 0)))
    # A fork server has some that it forked before.
    assert "RLIMIT_NPROC" in answer or (answer, sys.argv[1]) == ("", "forkserver")
allow()
assert told(start) == told(pool) == ""
"""
    assert limited(text) == []


@pytest.mark.methods("fork", "forkserver")
def test_what_was_started_ahead_gives_way(limited) -> None:
    text = """
mine, ctx = ctx, mp.get_context("spawn")
end = time.monotonic() + 60
while len(spare_pids()) < 2 and time.monotonic() < end:
    start()
assert len(spare_pids()) >= 2
# They and those who stand between them and us are more.
resource.setrlimit(resource.RLIMIT_NPROC, (5, MOST))
ctx = mine
start()
print(spare_pids())
"""
    assert limited(text) == ["[]"]


@pytest.mark.methods("spawn")
def test_what_was_started_ahead_gives_way_to_what_it_cannot_serve(limited) -> None:
    text = """
# As many as there were starts: whoever boots them is done, and gives up none.
start()
start()
end = time.monotonic() + 60
while len(spare_pids()) < 2 and time.monotonic() < end:
    time.sleep(0.01)  # Nobody is told of them.
assert len(spare_pids()) == 2
resource.setrlimit(resource.RLIMIT_NPROC, (5, MOST))
# None of them has this environment.
with ctx.Pool(1, env={"ROOM": "made"}) as workers:
    assert workers.apply(os.getenv, ("ROOM",)) == "made"
print(spare_pids())
"""
    assert limited(text) == ["[]"]


@pytest.mark.methods("spawn", "forkserver")
def test_where_processes_are_few_hardly_any_is_started_ahead(limited) -> None:
    text = """
for _ in range(3):
    several()
# The fork server, who stands between it and its user, and two that it keeps.
most = {"spawn": 0, "forkserver": 4}[sys.argv[1]]
end = time.monotonic() + 5
while tasks() - 1 > most and time.monotonic() < end:
    time.sleep(0.01)  # The end of a stranger has no event to wait on.
assert tasks() - 1 <= most, tasks()
"""
    assert limited(text, "prlimit", "--nproc=200") == []
