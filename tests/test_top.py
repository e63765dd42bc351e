"""`procession top` as a user has it: in a terminal of tmux, with keys, and killed at any moment."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from library import PATIENCE, wait_until
from targets import view as targets

pytestmark = [
    pytest.mark.procession_only("nobody can look there"),
    # Under the others it is seen as well (test_view.py), and the keys do the same.
    pytest.mark.methods("fork"),
    pytest.mark.slow,
]

# Notes the viewer's process id, tells its exit code, and keeps what it has shown.
RUN_AND_STAY = """
sh -c 'echo $$ > "$0"; exec "$@"' "$0" "$@"
echo "left with $?"
exec cat
"""

SEED = random.randrange(1_000_000)


def may_read_others() -> bool:
    """Tells whether a process may read the memory of others that are not its children."""
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    return os.geteuid() == 0 or not scope.exists() or scope.read_text() == "0\n"


class Tmux:
    """A viewer of this process's family, in a server of tmux of its own."""

    def __init__(self, folder) -> None:
        if shutil.which("tmux") is None:
            pytest.skip("tmux is not installed: apt-get install tmux")
        self.folder = folder
        # A server that was told to end takes a moment, and would be found by its name.
        self.name = f"top-{time.monotonic_ns()}"
        pid = folder / f"{self.name}.pid"
        viewer = [sys.executable, "-m", "procession", "top", str(os.getpid())]
        size = ["-x", "140", "-y", "40"]
        command = ["sh", "-c", RUN_AND_STAY, str(pid), *viewer]
        self.run("-f", os.devnull, "new-session", "-d", *size, *command)
        wait_until(lambda: pid.exists() and pid.read_text().endswith("\n"))
        self.pid = int(pid.read_text())

    def run(self, *arguments: str) -> str:
        # The socket's path is relative, as one has at most 107 bytes.
        done = subprocess.run(
            ["tmux", "-S", self.name, *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), arguments
        return done.stdout

    def shown(self) -> str:
        return self.run("capture-pane", "-p")

    def press(self, *keys: str) -> None:
        self.run("send-keys", *keys)

    def see(self, *texts: str, without: str = "\0") -> str:
        """Waits until all texts are shown, and another is not; returns all that is."""
        shown = ""

        def is_there() -> bool:
            nonlocal shown
            shown = self.shown()
            return all(text in shown for text in texts) and without not in shown

        try:
            wait_until(is_there)
        except AssertionError:
            pytest.fail(f"{texts} without {without!r} did not come:\n{shown}")
        return shown

    def filter(self, text: str) -> None:
        """Has it show only processes with a text in them; with an empty one all."""
        if text:
            self.press("/", *text, "Enter")
            self.see(f'processes with "{text}"', "q leave")
        else:
            self.press("/")
            self.see("filter: ")
            self.press("Escape")
            self.see(" processes ", "q leave", without="processes with")


@pytest.fixture
def viewer(tmp_path):
    """Returns a function that starts viewers, one after the other."""
    started = []

    def start() -> Tmux:
        stop()
        started.append(Tmux(tmp_path))
        return started[-1]

    def stop() -> None:
        while started:
            started.pop().run("kill-server")

    yield start
    stop()


@pytest.fixture
def family(mp, start):
    """Returns children that wait: one with a child of its own, and two whose names are not in their order."""
    told, go = mp.Semaphore(0), mp.Semaphore(0)
    processes = {}
    for name, target in {
        "the-parent": targets.wait_with_a_child,
        "zoe": targets.tell_and_wait,
        "ada": targets.tell_and_wait,
    }.items():
        process = mp.Process(target=target, args=(told, go), name=name)
        process.start()
        processes[name] = process
        assert told.acquire(timeout=PATIENCE)
    yield processes
    for _ in range(4):
        go.release()
    for name, process in processes.items():
        process.join(PATIENCE)
        assert process.exitcode in (0, -signal.SIGKILL), name
        process.close()


def test_keys_sort_fold_filter_and_leave(viewer, family) -> None:
    top = viewer()
    shown = top.see("the-grandchild", "zoe", "ada", "q leave")
    assert shown.index("zoe") < shown.index("ada")
    for order in "processor time", "memory", "name":
        top.press("s")
        shown = top.see(f"sorted by {order}")
    assert shown.index("ada") < shown.index("the-parent") < shown.index("zoe")

    top.filter("the-parent")
    shown = top.see("the-parent", without="zoe")
    assert str(family["the-parent"].pid) in shown
    top.press("Down", "Space")
    top.see("the-parent (+1)")
    top.filter("")
    top.see("the-parent (+1)", "zoe", without="the-grandchild")
    top.press("Space")
    top.see("the-grandchild")

    top.press("q")
    top.see("left with 0")
    assert all(process.is_alive() for process in family.values())


def test_a_pool_at_work_is_shown_with_its_workers_tasks_and_what_is_queued(
    viewer, mp
) -> None:
    told, gate = mp.Semaphore(0), mp.Semaphore(0)
    queue = mp.Queue(7)
    queue.put_many(range(3))
    with mp.Pool(2) as pool:
        results = [
            pool.apply_async(targets.tell_and_wait, (told, gate)) for _ in range(5)
        ]
        for _ in range(2):
            assert told.acquire(timeout=PATIENCE)
        top = viewer()
        top.see("2 workers, 2 busy", "2 begun", "3 of 7 items")
        for process in pool._pool:
            shown = top.see(str(process.pid))
            (row,) = [line for line in shown.splitlines() if f"{process.pid} " in line]
            assert "targets.view.tell_and_wait for" in row
        for _ in results:
            gate.release()
        assert all(result.get(PATIENCE) for result in results)
        top.see("2 workers, 0 busy", "5 begun", without="tell_and_wait")

        def is_busy() -> bool:
            pool.map(abs, range(100))
            return re.search(r" begun, [1-9]\d* per second", top.shown()) is not None

        wait_until(is_busy)
    top.see("q leave", without="2 workers")
    top.press("q")
    top.see("left with 0")


def test_a_process_is_killed_by_its_key_after_a_question(viewer, family) -> None:
    victim, spared = family["ada"], family["zoe"]
    top = viewer()
    top.see("ada", "zoe")
    top.press("k")
    top.see("no process is chosen")
    top.filter("zoe")
    top.press("Down", "k")
    top.see(f"send SIGKILL to process {spared.pid}? y")
    top.press("n")
    top.see(f"process {spared.pid} gets no signal")
    top.filter("")
    top.filter("ada")
    top.press("Down", "k")
    top.see(f"send SIGKILL to process {victim.pid}? y")
    top.press("y")
    top.see(f"process {victim.pid} was sent SIGKILL")
    victim.join(PATIENCE)
    assert victim.exitcode == -signal.SIGKILL
    assert spared.is_alive()
    top.press("q")
    top.see("left with 0")


def test_stack_of_a_process_is_shown_by_its_key(viewer, family) -> None:
    top = viewer()
    top.see("ada", "zoe")
    top.press("b")
    top.see("no process is chosen")
    top.filter("zoe")
    top.press("Down", "b")
    pid = family["zoe"].pid
    # py-spy names functions of Python, where the system lets it.
    place = "tell_and_wait" if may_read_others() else f"thread {pid} "
    top.see(f"stack of process {pid}", place, "any other key")
    top.press("q")
    top.see("processes with", "zoe", without="tell_and_wait")
    top.press("q")
    top.see("left with 0")


def test_family_goes_on_wherever_its_viewer_is_killed(viewer, family, mp) -> None:
    print("seed", SEED)
    chance = random.Random(SEED)
    queue, lock = mp.Queue(), mp.Lock()
    with mp.Pool(2) as pool:
        for turn in range(4):
            top = viewer()
            # While it starts, draws, or does what keys have it do.
            for _ in range(chance.randrange(120)):
                if chance.random() < 0.3:
                    top.press(chance.choice(["s", "p", "Down", "Up", "Space"]))
                else:
                    top.shown()
            os.kill(top.pid, signal.SIGKILL)
            top.see(f"left with {128 + signal.SIGKILL}")
            queue.put(turn)
            with lock:
                assert queue.get(timeout=PATIENCE) == turn
            assert pool.map(abs, range(100)) == list(range(100))
            assert all(process.is_alive() for process in family.values())
