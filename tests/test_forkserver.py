"""The fork server and its spares may be killed at any moment: no start is lost.

Each test is a program of its own, because it uses up servers.
"""

import os
import textwrap
from pathlib import Path

import pytest
import script
import seccomp

pytestmark = [
    pytest.mark.methods("forkserver"),
    pytest.mark.procession_only("a start by a killed server fails"),
    pytest.mark.slow,
]

HELPERS = """
import contextlib
import ctypes
import multiprocessing
import os
import select
import signal
import sys
import threading
import time
from multiprocessing import forkserver
from pathlib import Path

# Whole pages in the middle of memory that children inherit from the server.
PAGES, PAGE = 16, os.sysconf("SC_PAGE_SIZE")
memory = bytearray(b"m") * ((PAGES + 1) * PAGE)

class Touched:
    # Unpickling it touches the pages, before the function of a child is called.
    def __reduce__(self):
        return touch_pages, ()

def touch_pages():
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    offset = -address % PAGE
    with open("/proc/self/pagemap", "rb") as pagemap:
        pagemap.seek((address + offset) // PAGE * 8)
        entries = pagemap.read(PAGES * 8)
    assert memory.count(b"m") == len(memory)
    for page in range(PAGES):
        memory[offset + page * PAGE] = ord("m")
    # Bit 56 says that no other process has the page.
    return sum(entry & 1 for entry in entries[7::8])

def tell_count(queue, count):
    queue.put(count)

def nothing():
    pass

def tell(queue):
    process = multiprocessing.current_process()
    queue.put({
        "path": sys.path, "argv": sys.argv, "dir": os.getcwd(),
        "authkey": bytes(process.authkey), "name": process.name,
    })

def tell_servers():
    assert exitcode(start()) == 0
    assert server() == os.getppid(), "it started a server of its own"

def tell_servers_then(event, queue):
    for _ in range(2):
        assert exitcode(start()) == 0
        queue.put(server())
        event.wait()

def start(target=nothing):
    process = multiprocessing.Process(target=target)
    process.start()
    return process

def exitcode(process):
    process.join(30)
    return process.exitcode

def server():
    return forkserver._forkserver._forkserver_pid

def spares():
    pids = Path(f"/proc/{server()}/task/{server()}/children").read_text().split()
    return [pid for pid in pids if "spare" in comm(pid)]

def comm(pid):
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""  # The server has just reaped it.
"""


@pytest.fixture
def runs(program):
    """Returns a function that runs the text of a main program to a good end.

    Nobody is left behind, which the fixture that it uses sees to.
    """

    def runs(text: str, exitcode: int = 0) -> None:
        main = textwrap.indent(textwrap.dedent(text), "    ")
        code, out, err = program(f"{HELPERS}\nif __name__ == '__main__':\n{main}")
        assert (code, out, err) == (exitcode, "", "")

    return runs


def test_spares_have_copied_what_children_before_them_have_used(runs) -> None:
    runs("""
        queue = multiprocessing.Queue()
        counts = []
        for _ in range(20):
            arguments = (queue, Touched())
            process = multiprocessing.Process(target=tell_count, args=arguments)
            process.start()
            counts.append(queue.get(timeout=30))
            assert exitcode(process) == 0
        # Those that were parked when the first had started come before; and where none is parked at a
        # start, that child is forked as the first was.
        assert counts[0] == 0 and PAGES in counts, counts
    """)


def test_spares_of_many_starts_end_when_there_were_none_for_a_while(runs) -> None:
    runs("""
        never = multiprocessing.Event()
        processes = []
        least = 2
        deadline = time.monotonic() + 60
        # What is forgotten is learnt again.
        for _ in range(2):
            processes += [start(never.wait) for _ in range(8)]
            while len(spares()) <= least:
                assert time.monotonic() < deadline
                time.sleep(0.005)  # Nothing tells when a spare has parked.
            while len(spares()) > least:
                assert time.monotonic() < deadline
                time.sleep(0.05)  # Or has ended.
        never.set()
        assert [exitcode(process) for process in processes] == [0] * 16
    """)


def test_start_takes_a_process_that_was_forked_before(runs) -> None:
    # Of those that are parked one may be let go, or another come, before the start.
    runs("""
        assert exitcode(start()) == 0
        deadline = time.monotonic() + 30
        while True:
            parked = spares()
            process = start()
            assert exitcode(process) == 0
            if str(process.pid) in parked:
                break
            assert time.monotonic() < deadline, parked
    """)


def test_child_is_told_what_the_server_was_not(runs) -> None:
    runs("""
        queue = multiprocessing.SimpleQueue()

        def differs():
            process = multiprocessing.Process(target=tell, args=(queue,))
            process.start()
            process.join()
            return queue.get()

        same = differs()
        sys.path.append("/elsewhere")
        sys.argv = ["another", "line"]
        multiprocessing.current_process().authkey = b"changed"
        os.chdir("/")
        found = differs()
        assert found != same
        assert found["path"][-1] == "/elsewhere", found
        assert found["argv"] == ["another", "line"]
        assert found["authkey"] == b"changed"
        assert found["dir"] == "/"
        assert found["name"] == "Process-2"
        sys.path.pop()
        assert differs()["path"] == same["path"]
    """)


def test_children_use_the_server_that_has_forked_them(runs) -> None:
    runs("""
        process = start(tell_servers)
        assert exitcode(process) == 0
        first = server()
        # One that does not run any more is replaced, by each for itself.
        event, queue = multiprocessing.Event(), multiprocessing.SimpleQueue()
        process = multiprocessing.Process(target=tell_servers_then, args=(event, queue))
        process.start()
        assert queue.get() == first
        watch = os.pidfd_open(first)
        os.kill(first, signal.SIGKILL)
        assert select.select([watch], [], [], 60)[0]
        event.set()
        assert queue.get() not in (first, None)
        assert exitcode(process) == 0
    """)


def test_stopped_server_holds_no_join_back(runs) -> None:
    runs("""
        event = multiprocessing.Event()
        process = start(event.wait)
        os.kill(server(), signal.SIGSTOP)
        event.set()
        process.join(30)
        assert process.exitcode == 0
        os.kill(server(), signal.SIGCONT)
        assert exitcode(start()) == 0
    """)


def test_killed_server_is_replaced(runs) -> None:
    runs("""
        assert exitcode(start()) == 0
        before = server()
        os.kill(before, signal.SIGKILL)
        for _ in range(5):
            assert exitcode(start()) == 0
        assert server() not in (before, None)
    """)


def test_children_outlive_the_server(runs) -> None:
    runs("""
        event = multiprocessing.Event()
        process = start(event.wait)
        os.kill(server(), signal.SIGKILL)
        assert exitcode(start()) == 0
        assert process.is_alive()
        event.set()
        assert exitcode(process) == 0
    """)


def test_killed_spares_cost_no_start(runs) -> None:
    # One that is hit after it was claimed is a process that was killed.
    runs("""
        for _ in range(10):
            assert exitcode(start()) in (0, -9)
            for pid in spares():
                # One that was killed in the last round may be reaped only now.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            assert exitcode(start()) in (0, -9)
    """)


def test_no_start_is_lost_while_servers_are_killed(runs) -> None:
    # A server is killed once it has forked: one that never comes to that is an error.
    runs("""
        assert exitcode(start()) == 0
        done = threading.Event()

        def children(pid):
            return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()

        def kill_servers():
            while not done.wait(0.01):
                for pid in children(os.getpid()):
                    try:
                        if children(pid):
                            os.kill(int(pid), signal.SIGKILL)
                    except OSError:
                        pass

        killer = threading.Thread(target=kill_servers)
        killer.start()
        try:
            codes = [exitcode(start()) for _ in range(20)]
        finally:
            done.set()
            killer.join()
        # Nobody records how a process ended that its server did not reap.
        assert set(codes) <= {0, 255}, codes
    """)


@pytest.mark.parametrize("end", ["pass", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_server_and_spares_end_with_their_program(runs, end) -> None:
    runs(
        f"""
        for _ in range(3):
            assert exitcode(start()) == 0
        {end}
        """,
        0 if end == "pass" else -9,
    )


NOBODY_TO_WAIT_FOR = """
import os, signal
import procession as mp

def nothing():
    pass

if __name__ == "__main__":
    heard = []
    signal.signal(signal.SIGCHLD, lambda number, frame: heard.append(number))
    ctx = mp.get_context("forkserver")
    for _ in range(3):
        process = ctx.Process(target=nothing)
        process.start()
        process.join()
    mp.forkserver._forkserver._stop()
    try:
        print(os.waitpid(-1, 0))
    except ChildProcessError:
        print("nobody", heard)
"""


@pytest.mark.methods("forkserver")
@pytest.mark.procession_only("its server is a child like any other")
def test_nobody_who_waits_for_any_child_meets_the_server(program) -> None:
    assert program(NOBODY_TO_WAIT_FOR) == (0, "nobody []\n", "")


ENDING = """
    import os, sys
    import seccomp
    import multiprocessing

    def nothing():
        pass

    if __name__ == "__main__":
        # As a kernel that tells nobody but the parent how a process has ended.
        seccomp.deny("ioctl")
        multiprocessing.set_forkserver_preload(["ends_at_once"])
        process = multiprocessing.Process(target=nothing)
        try:
            process.start()
        except OSError as error:
            print(error)
"""


def test_server_that_ends_by_itself_is_tried_once(program, tmp_path) -> None:
    starts = tmp_path / "starts"
    module = f"import os\nopen({str(starts)!r}, 'a').write('x')\nos._exit(3)\n"
    (tmp_path / "ends_at_once.py").write_text(module)
    where = [str(tmp_path), str(Path(seccomp.__file__).parent)]
    command = program.command(ENDING)
    path = os.pathsep.join([*where, os.environ.get("PYTHONPATH", "")])
    code, out, err = script.run(command, env={**os.environ, "PYTHONPATH": path})
    assert (code, err) == (0, "")
    assert "exited with code 3" in out
    assert starts.read_text() == "x"
