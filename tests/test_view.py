"""What others see of a family: `python -m procession ps` and `top`."""

import errno
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import threading
import time

import pytest
from library import PATIENCE, wait_until
from targets import view as targets

pytestmark = pytest.mark.procession_only("nobody can look there")

COMMAND = [sys.executable, "-m", "procession"]


def run(*arguments: object) -> subprocess.CompletedProcess:
    """Runs a command of procession, which belongs to no family of ours."""
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def look() -> dict:
    """Returns what is seen of the family of this process."""
    done = run("ps", os.getpid(), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    (family,) = json.loads(done.stdout)["families"]
    return family


def look_until(condition) -> dict:
    """Looks until something is seen: a process may still be on its way to where it waits."""
    deadline = time.monotonic() + PATIENCE
    while True:
        family = look()
        if condition(family):
            return family
        assert time.monotonic() < deadline, family


@pytest.fixture
def held(mp):
    """Returns a lock, the process that holds it, and one that waits for it."""
    lock, told, go = mp.Lock(), mp.Semaphore(0), mp.Semaphore(0)
    arguments = (lock, told, go)
    holder = mp.Process(
        target=targets.hold_until_told, args=arguments, name="the-holder"
    )
    holder.start()
    assert told.acquire(timeout=PATIENCE)
    waiter = mp.Process(target=targets.take_and_free, args=(lock,), name="the-waiter")
    waiter.start()
    made = [lock, holder, waiter]
    yield made
    go.release()
    for process in holder, waiter:
        process.join(PATIENCE)
        assert process.exitcode == 0
        process.close()
    made.clear()  # What a test was given is kept until the look behind it is over.


def of(family: dict, process) -> dict:
    return next(each for each in family["members"] if each["pid"] == process.pid)


def test_processes_are_seen_with_what_they_wait_for_and_who_has_it(held) -> None:
    _, holder, waiter = held
    family = look_until(
        lambda family: any(
            # It may not have joined the family yet.
            member["pid"] == waiter.pid and member["waits_for"] is not None
            for member in family["members"]
        )
    )
    seen = of(family, waiter)
    assert (seen["name"], seen["state"]) == ("the-waiter", "blocked")
    assert seen["waits_for"].startswith("lock #")
    assert seen["holder"] == holder.pid
    assert seen["parent"] == os.getpid()
    assert seen["resident"] > 0
    assert seen["age"] >= 0
    me = next(each for each in family["members"] if each["pid"] == os.getpid())
    assert me["parent"] is None
    assert me["threads"] >= 1
    told = rf"{waiter.pid} +the-waiter +blocked .*process {holder.pid} has"
    # Its wait wakes now and then, to look for signals.
    wait_until(lambda: re.search(told, run("ps", os.getpid()).stdout) is not None)


def test_pools_and_queues_are_seen(mp) -> None:
    told, gate = mp.Semaphore(0), mp.Semaphore(0)
    queue = mp.Queue(7)
    queue.put_many([1, 2, 3])
    assert queue.get() == 1
    with mp.Pool(2) as pool:
        results = [
            pool.apply_async(targets.tell_and_wait, (told, gate)) for _ in range(5)
        ]
        for _ in range(2):
            assert told.acquire(timeout=PATIENCE)
        family = look()
        for _ in results:
            gate.release()
        assert all(result.get(PATIENCE) for result in results)
        mine = [each for each in family["pools"] if each["owner"] == os.getpid()]
        workers = {worker["pid"]: worker for each in mine for worker in each["workers"]}
        for process in pool._pool:
            worker = workers[process.pid]
            assert worker["running"] >= 0
            assert worker["begun"] == 1
    seen = [each for each in family["queues"] if (each["items"], each["put"]) == (2, 3)]
    assert [each["limit"] for each in seen] == [7]
    assert os.getpid() in seen[0]["users"]
    assert family["shared_bytes"] > 0


def own_pool(family: dict, pool) -> dict:
    """Returns what is seen of a pool."""
    pids = {process.pid for process in pool._pool}
    return next(
        each
        for each in family["pools"]
        if pids & {worker["pid"] for worker in each["workers"]}
    )


def test_running_tasks_are_seen_with_their_functions(mp) -> None:
    told, gate = mp.Semaphore(0), mp.Semaphore(0)
    with mp.Pool(1) as pool:
        # Others before it and behind it, which are at hand with it.
        before = [pool.apply_async(abs, (each,)) for each in range(3)]
        result = pool.apply_async(targets.tell_and_wait, (told, gate))
        behind = [pool.apply_async(len, ("four",)) for _ in range(3)]
        assert told.acquire(timeout=PATIENCE)
        (worker,) = own_pool(look(), pool)["workers"]
        text = run("ps", os.getpid()).stdout
        gate.release()
        assert result.get(PATIENCE)
        assert [each.get(PATIENCE) for each in before] == [0, 1, 2]
        assert [each.get(PATIENCE) for each in behind] == [4, 4, 4]
    assert worker["function"] == f"{targets.__name__}.tell_and_wait"
    assert re.search(rf"{worker['pid']} .* {worker['function']} for [0-9.]+ s", text)


def test_functions_are_those_of_the_tasks_when_many_change(mp) -> None:
    told, gate = mp.Semaphore(0), mp.Semaphore(0)
    with mp.Pool(1) as pool:
        for function in abs, len, abs, ascii, abs, repr, hash, bool, len, str, abs:
            pool.apply(function, ([1],) if function is len else (1,))
        result = pool.apply_async(targets.tell_and_wait, (told, gate))
        assert told.acquire(timeout=PATIENCE)
        (worker,) = own_pool(look(), pool)["workers"]
        gate.release()
        assert result.get(PATIENCE)
    assert worker["function"] == f"{targets.__name__}.tell_and_wait"


def test_deaths_and_retries_of_a_pool_are_seen(mp) -> None:
    from procession._procession import view_once

    told, gate = mp.Semaphore(0), mp.Semaphore(0)
    with mp.Pool(2) as pool:
        retried = pool.apply_async(targets.tell_and_wait, (told, gate), retries=1)
        assert told.acquire(timeout=PATIENCE)
        seen = own_pool(look(), pool)
        assert (seen["deaths"], seen["retries"]) == (0, 0)
        (busy,) = [each for each in seen["workers"] if each["function"]]
        os.kill(busy["pid"], signal.SIGKILL)
        # The pool notices it while somebody waits for a result.
        waiter = threading.Thread(target=retried.wait, args=(PATIENCE,))
        waiter.start()
        assert told.acquire(timeout=PATIENCE)
        # From within: the thread may be forking another worker, which would keep open the pipe
        # by which `subprocess` learns that its child has begun.
        (family,) = json.loads(view_once(os.getpid(), "json"))["families"]
        seen = own_pool(family, pool)
        text = view_once(os.getpid(), "text")
        gate.release()
        assert retried.get(PATIENCE)
        waiter.join()
    assert (seen["deaths"], seen["retries"]) == (1, 1)
    (busy,) = [each for each in seen["workers"] if each["function"]]
    assert busy["function"] == f"{targets.__name__}.tell_and_wait"
    assert "1 deaths, 1 retries" in text


def test_all_families_of_the_user_are_seen(mp) -> None:
    event = mp.Event()
    done = run("ps", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    families = json.loads(done.stdout)["families"]
    pids = [{member["pid"] for member in family["members"]} for family in families]
    assert sum(os.getpid() in members for members in pids) == 1
    assert not event.is_set()


def test_what_cannot_be_looked_at_is_told() -> None:
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        done = run("ps", stranger.pid)
        assert done.returncode == 1
        assert f"process {stranger.pid} belongs to no family" in done.stderr
    finally:
        stranger.kill()
        stranger.wait()
    done = run("ps", stranger.pid)
    assert done.returncode == 1
    assert str(stranger.pid) in done.stderr
    done = run("top")
    assert done.returncode == 2
    assert "top needs a terminal" in done.stderr
    assert run("top", os.getpid(), "--once").returncode in (0, 1)


class Terminal:
    """A viewer in a terminal of its own."""

    def __init__(self) -> None:
        self.shown = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm-256color"
            termios.tcsetwinsize(0, (40, 140))
            os.execv(COMMAND[0], [*COMMAND, "top", str(os.getppid())])

    def read_until(self, text: str) -> None:
        """Reads what is drawn until a text is there, which may be drawn in pieces."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.shown:
            left = deadline - time.monotonic()
            assert left > 0, self.shown
            if select.select([self.fd], [], [], left)[0]:
                drawn = os.read(self.fd, 1 << 16).decode(errors="replace")
                self.shown += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn)

    def press(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    def ended(self) -> int:
        """Waits for the viewer's end; returns its exit code."""
        # Who draws needs somebody who reads.
        reader = threading.Thread(target=self._drain)
        reader.start()
        _, status = os.waitpid(self.pid, 0)
        reader.join()
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)

    def _drain(self) -> None:
        try:
            while os.read(self.fd, 1 << 16):
                pass
        except OSError:
            pass  # It has ended.


def test_viewer_in_a_terminal_shows_the_family_until_it_is_left(held) -> None:
    viewer = Terminal()
    for text in ("the-holder", "the-waiter", "leave"):
        viewer.read_until(text)
    viewer.press("/the-w\r")
    viewer.read_until("with")
    viewer.press("q")
    assert viewer.ended() == 0


def test_viewer_maps_for_reading_only_and_its_death_changes_nothing(held, mp) -> None:
    _, holder, waiter = held
    queue = mp.Queue()
    for turn in range(3):
        viewer = Terminal()
        viewer.read_until("the-holder")
        with open(f"/proc/{viewer.pid}/maps") as maps:
            shared = [line for line in maps if "memfd:procession" in line]
        assert shared
        assert {line.split()[1] for line in shared} == {"r--s"}
        os.kill(viewer.pid, signal.SIGKILL)
        assert viewer.ended() == -signal.SIGKILL
        queue.put(turn)
        assert queue.get(timeout=PATIENCE) == turn
    assert {member["pid"] for member in look()["members"]} >= {holder.pid, waiter.pid}


def test_who_looks_often_has_each_family_mapped_once(lib) -> None:
    """A family's mapping takes up to 256 GiB of the 128 TiB that a process has of addresses."""
    from procession._procession import Watcher

    event = lib.Event()

    def mapped() -> int:
        with open("/proc/self/maps") as maps:
            return sum("memfd:procession" in line and "r--s" in line for line in maps)

    watcher = Watcher()
    watcher.look("text")
    before = mapped()
    for _ in range(5):
        # Another family that begins meanwhile is mapped, too.
        seen = json.loads(watcher.look("json"))["families"]
        assert mapped() <= max(before, len(seen))
    assert not event.is_set()
    del watcher
    assert mapped() == 0


def used_pages(file: int) -> list[tuple[int, bytes]]:
    """Returns what is not empty of a file, with where it is."""
    found, at = [], 0
    while True:
        try:
            at = os.lseek(file, at, os.SEEK_DATA)
        except OSError as error:
            assert error.errno == errno.ENXIO  # There is no more.
            return found
        end = os.lseek(file, at, os.SEEK_HOLE)
        found.append((at, os.pread(file, end - at, at)))
        at = end


@pytest.mark.slow
def test_memory_that_was_written_over_is_looked_at_or_refused(lib) -> None:
    from procession._procession import view_once

    queue, lock = lib.Queue(7), lib.Lock()
    queue.put(1)
    own = next(
        int(name)
        for name in os.listdir("/proc/self/fd")
        if os.readlink(f"/proc/self/fd/{name}").startswith("/memfd:procession")
    )
    size, pages = os.fstat(own).st_size, used_pages(own)
    copy = os.memfd_create("procession")
    with subprocess.Popen(["sleep", "infinity"], pass_fds=[copy]) as stranger:
        try:
            for short in 0, 100, 4096, 1 << 20:
                os.ftruncate(copy, short)
                os.pwrite(copy, pages[0][1][:short], 0)
                with pytest.raises((NotImplementedError, OSError)):
                    view_once(stranger.pid, "json")
            done = run("ps", stranger.pid)
            assert (done.returncode, done.stdout) == (1, "")
            assert "procession ps: " in done.stderr
            assert "Traceback" not in done.stderr
            os.ftruncate(copy, size)
            for at, content in pages:
                os.pwrite(copy, content, at)
            (family,) = json.loads(view_once(stranger.pid, "json"))["families"]
            assert [each["items"] for each in family["queues"]].count(1) == 1
            # All of the header, the first member, and what tells of memory and of objects.
            places = [*range(0, 512, 4), *range(4096, 4160, 4)]
            for at, content in pages:
                places += range(at, at + min(len(content), 1 << 10), 8)
            for place in places:
                before = os.pread(copy, 8, place)
                for wrong in b"\xff" * 8, b"\xc0" + bytes(7), bytes(4):
                    os.pwrite(copy, wrong, place)
                    try:
                        view_once(stranger.pid, "text")
                    except NotImplementedError:
                        pass  # It is no family's memory, by what is left of its mark.
                    os.pwrite(copy, before, place)
        finally:
            stranger.kill()
            os.close(copy)
    with lock:
        assert queue.get() == 1
