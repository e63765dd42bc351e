"""`procession.trace`: one file that tells what a whole family did."""

import json
import os
import signal
import sys
from collections import defaultdict
from pathlib import Path

import procession
import pytest
import script
from library import PATIENCE
from procession._procession import usage
from targets import trace as targets

pytestmark = pytest.mark.procession_only("it writes no traces")

# What the format asks of an event, by its phase.
REQUIRED = {
    "B": {"name", "ts", "pid", "tid"},
    "E": {"ts", "pid", "tid"},
    "X": {"name", "ts", "dur", "pid", "tid"},
    "i": {"name", "ts", "pid", "tid", "s"},
    "C": {"name", "ts", "pid", "args"},
    "M": {"name", "pid", "args"},
}


# Microseconds: times are of nanoseconds, and sums of fractions are not exact.
ROUNDING = 5e-4


class Events(list):
    """The events of a file, which is what the format allows."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(json.loads(Path(path).read_text())["traceEvents"])
        self.must_be_valid()

    def must_be_valid(self) -> None:
        """Fails unless each event has what it needs, and slices are one within another."""
        tracks = defaultdict(list)
        for event in self:
            assert REQUIRED[event["ph"]] <= event.keys(), event
            assert isinstance(event["pid"], int), event
            assert event["ts"] >= 0, event
            if event["ph"] in "BEX":
                tracks[event["pid"], event["tid"]].append(event)
        for track in tracks.values():
            opened, ends = [], []
            for event in sorted(
                track, key=lambda event: (event["ts"], event["ph"] != "B")
            ):
                if event["ph"] == "B":
                    opened.append(event["name"])
                elif event["ph"] == "E":
                    assert opened, event
                    assert opened.pop() == event["name"], track
                else:
                    assert event["dur"] >= 0
                    ends = [end for end in ends if end > event["ts"] + ROUNDING]
                    end = event["ts"] + event["dur"]
                    assert all(end <= outer + ROUNDING for outer in ends), track
                    ends.append(end)
            assert not opened, track

    def of(self, pid: int, phase: str, category: str) -> list[dict]:
        return [
            event
            for event in self
            if (event["pid"], event["ph"], event["cat"]) == (pid, phase, category)
        ]

    def tasks(self, name: str) -> list[dict]:
        """Returns the tasks of a function, in their order: the file has that of each thread."""
        called = f"{targets.__name__}.{name}"
        found = [each for each in self if (each["ph"], each["name"]) == ("X", called)]
        return sorted(found, key=lambda each: each["ts"])

    def count(self, name: str) -> int:
        """Returns how many tasks of a function are told, short ones together."""
        return sum(task["args"].get("tasks", 1) for task in self.tasks(name))

    def name(self, pid: int) -> str:
        """Returns what a process is called, last."""
        names = [
            event["args"]["name"]
            for event in self
            if (event["pid"], event["name"]) == (pid, "process_name")
        ]
        return names[-1]

    def life(self, pid: int) -> tuple[dict, dict]:
        """Returns the begin and the end of a process."""
        (begin,) = self.of(pid, "B", "process")
        (end,) = self.of(pid, "E", "process")
        assert begin["ts"] <= end["ts"]
        return begin, end

    def waits(self, pid: int) -> list[str]:
        return [event["name"] for event in self.of(pid, "B", "wait")]

    @property
    def dropped(self) -> int:
        (last,) = [event for event in self if event["name"] == "trace_complete"]
        return last["args"]["dropped"]


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "run.json"


def test_processes_are_told_with_names_starts_and_ends(mp, path) -> None:
    with procession.trace(path):
        ada = mp.Process(target=targets.leave_with, args=(3,), name="Ada")
        ada.start()
        ada.join(PATIENCE)
        bob = mp.Process(target=targets.double, args=(1,), name="Bob")
        bob.start()
        bob.join(PATIENCE)
    events = Events(path)
    assert (events.name(ada.pid), events.name(bob.pid)) == ("Ada", "Bob")
    assert events.life(ada.pid)[1]["args"]["exitcode"] == 3
    assert events.life(bob.pid)[1]["args"]["exitcode"] == 0
    (death,) = events.of(ada.pid, "i", "death")
    assert "3" in death["name"]
    assert events.of(bob.pid, "i", "death") == []
    begin, end = events.life(os.getpid())
    assert begin["ts"] == 0
    assert "exitcode" not in end["args"]
    assert end["ts"] >= max(events.life(pid.pid)[1]["ts"] for pid in (ada, bob))
    assert events.dropped == 0


def test_tasks_are_told_on_their_workers_with_the_names_of_their_functions(
    mp, path
) -> None:
    with procession.trace(path), mp.Pool(2) as pool:
        assert pool.map(targets.double, range(8), chunksize=2) == [
            2 * n for n in range(8)
        ]
        assert pool.apply(targets.double, (4,)) == 8
        with pytest.raises(ArithmeticError):
            pool.apply(targets.fail, (1,))
        workers = {process.pid for process in pool._pool}
    events = Events(path)
    tasks = events.tasks("double")
    assert events.count("double") == 5
    assert {task["pid"] for task in tasks} <= workers
    assert all("failed" not in task["args"] for task in tasks)
    (failed,) = events.tasks("fail")
    assert failed["args"]["failed"] is True
    for task in [*tasks, failed]:
        begin, end = events.life(task["pid"])
        assert (
            begin["ts"]
            <= task["ts"]
            <= task["ts"] + task["dur"]
            <= end["ts"] + ROUNDING
        )


def test_short_tasks_are_told_together_and_none_is_left_out(mp, path) -> None:
    with procession.trace(path), mp.Pool(2) as pool:
        pool.map(targets.double, range(3000), chunksize=1)
        sum(pool.imap_unordered(targets.double, range(1000)))
    events = Events(path)
    assert events.dropped == 0
    assert events.count("double") == 4000


def test_what_a_killed_worker_did_last_is_told(mp, path) -> None:
    told = mp.Semaphore(0)
    with procession.trace(path), mp.Pool(1) as pool:
        assert pool.apply(targets.double, (1,)) == 2
        result = pool.apply_async(targets.tell_and_hang, (told,))
        assert told.acquire(timeout=PATIENCE)
        (victim,) = [process.pid for process in pool._pool]
        os.kill(victim, signal.SIGKILL)
        with pytest.raises(procession.WorkerDied):
            result.get(PATIENCE)
        assert pool.apply(targets.double, (2,)) == 4
    events = Events(path)
    (last,) = events.tasks("tell_and_hang")
    assert last["pid"] == victim
    assert "died" in last["args"]["unfinished"]
    assert events.life(victim)[1]["args"]["exitcode"] == -signal.SIGKILL
    (death,) = events.of(victim, "i", "death")
    assert "SIGKILL" in death["name"]
    first, second = events.tasks("double")
    assert first["pid"] == victim != second["pid"]
    assert last["ts"] + ROUNDING >= first["ts"] + first["dur"]


def test_waits_are_told_with_what_they_are_for(mp, path) -> None:
    event, condition = mp.Event(), mp.Condition()
    semaphore, barrier, queue = mp.Semaphore(0), mp.Barrier(2), mp.Queue()
    with procession.trace(path):
        made = (event, condition, semaphore, barrier, queue)
        child = mp.Process(target=targets.wait_on_each, args=made)
        child.start()
        barrier.wait(PATIENCE)
        # Until it is seen to be there, the item would be taken without a wait.
        while not (child.blocked_on or "").startswith("queue"):
            assert child.exitcode is None
        queue.put("item")
        child.join(PATIENCE)
    assert child.exitcode == 0
    events = Events(path)
    waits = [name.partition(" #")[0] for name in events.waits(child.pid)]
    for kind in ("event", "condition", "semaphore", "queue"):
        assert f"waits for {kind}" in waits
    everybody = waits + [name.partition(" #")[0] for name in events.waits(os.getpid())]
    assert "waits for barrier" in everybody
    ends = events.of(child.pid, "E", "wait")
    assert all("unfinished" not in end["args"] for end in ends)


def test_who_is_killed_in_a_wait_has_waited_until_its_death(mp, path) -> None:
    lock, told = mp.Lock(), mp.Event()
    with procession.trace(path), lock:
        waiter = mp.Process(target=targets.take_after_telling, args=(told, lock))
        waiter.start()
        assert told.wait(PATIENCE)
        while not (waiter.blocked_on or "").startswith("lock"):
            assert waiter.exitcode is None
        waiter.kill()
        waiter.join(PATIENCE)
    events = Events(path)
    begin = events.of(waiter.pid, "B", "wait")[-1]
    end = events.of(waiter.pid, "E", "wait")[-1]
    assert begin["args"]["object"] == "lock"
    assert begin["name"] == end["name"]
    assert "died" in end["args"]["unfinished"]
    assert end["ts"] <= events.life(waiter.pid)[1]["ts"]


def test_what_goes_through_queues_is_counted(mp, path) -> None:
    queue = mp.Queue()
    with procession.trace(path):
        for item in range(5):
            queue.put(item)
        assert queue.get() == 0
    counts = [event["args"] for event in Events(path) if event["ph"] == "C"]
    assert {"items": 4, "put": 5, "got": 1} in counts
    assert [queue.get() for _ in range(4)] == [1, 2, 3, 4]


def test_there_is_one_trace_at_a_time_and_each_begins_anew(mp, tmp_path) -> None:
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    with procession.trace(first):
        with pytest.raises(ValueError, match=f"process {os.getpid()} writes a trace"):
            procession.trace(second)
        child = mp.Process(target=targets.double, args=(1,))
        child.start()
        child.join(PATIENCE)
    with procession.trace(second) as again:
        pass
    again.stop()
    assert child.pid in {event["pid"] for event in Events(first)}
    assert child.pid not in {event["pid"] for event in Events(second)}


def test_a_file_that_cannot_be_made_is_told_and_nothing_is_traced(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        procession.trace(tmp_path / "nowhere/run.json")
    with procession.trace(tmp_path / "{pid}.json") as trace:
        pass
    assert trace.path == tmp_path / f"{os.getpid()}.json"
    Events(trace.path)


def test_a_forked_copy_of_the_program_does_not_end_its_trace(path) -> None:
    with procession.trace(path) as trace:
        pid = os.fork()
        if pid == 0:
            trace.stop()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        child = procession.Process(target=targets.double, args=(1,), name="later")
        child.start()
        child.join(PATIENCE)
    assert Events(path).name(child.pid) == "later"


def test_a_file_that_can_no_longer_be_written_is_told_at_the_end(path) -> None:
    with pytest.raises(OSError, match="/dev/full"):
        procession.trace("/dev/full")
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    trace = procession.trace(path)
    os.close(reader)
    with pytest.raises(BrokenPipeError, match=path.name):
        trace.stop()
    trace.stop()


def test_a_trace_can_be_read_from_a_pipe(mp, path) -> None:
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with procession.trace(path):
        child = mp.Process(target=targets.double, args=(1,), name="piped")
        child.start()
        child.join(PATIENCE)
    with open(reader) as file:
        (path.parent / "copy").write_text(file.read())
    assert Events(path.parent / "copy").name(child.pid) == "piped"


@pytest.mark.slow
def test_rings_of_the_dead_are_used_again(mp, path) -> None:
    def start_some() -> None:
        for _ in range(10):
            child = mp.Process(target=targets.double, args=(1,))
            child.start()
            child.join(PATIENCE)

    with procession.trace(path):
        start_some()
        before = usage()["blocks"]
        start_some()
        start_some()
        # Ten rings would be there if each process left one.
        assert usage()["blocks"] < before + 10
    Events(path)


STOPS_ITSELF = """
import os, signal, sys
import procession
from targets import trace as targets

if __name__ == "__main__":
    with procession.trace(sys.argv[1]):
        never = procession.Semaphore(0), procession.Semaphore(0)
        child = procession.Process(
            target=targets.wait_often, args=(never, 2500, os.getpid())
        )
        child.start()
        os.kill(os.getpid(), signal.SIGSTOP)
        child.join()
    print(child.pid)
"""

KILLS_ITSELF = """
import os, signal, sys, time
import procession
from targets import trace as targets

if __name__ == "__main__":
    with procession.trace(sys.argv[1]) as trace, procession.Pool(1) as pool:
        assert pool.apply(targets.double, (1,)) == 2
        while b"double" not in trace.path.read_bytes():
            time.sleep(0.005)  # The writer tells nobody.
        os.kill(os.getpid(), signal.SIGKILL)
"""

KNOWS_NOTHING = """
import os, subprocess, sys
import procession
from targets import trace as targets

if __name__ == "__main__":
    assert "PROCESSION_TRACE" not in os.environ
    with procession.Pool(1) as pool:
        assert pool.apply(targets.double, (1,)) == 2
    child = procession.Process(target=targets.leave_with, args=(4,), name="Eve")
    child.start()
    print(os.getpid(), child.pid)
"""


IN_VAIN = """
import os
try:
    import procession
except FileNotFoundError as error:
    print("nowhere" in str(error))
"""


def run(text: str, path: Path, method: str, **variables: str) -> tuple[int, str]:
    program = path.parent / "program.py"
    program.write_text(text)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
        **variables,
    }
    command = script.python("procession", program, path, method=method)
    code, out, err = script.run(command, env=environment)
    assert err == ""
    return code, out


def test_what_there_was_no_room_for_is_counted(method, path) -> None:
    code, out = run(STOPS_ITSELF, path, method)
    assert code == 0
    child = int(out)
    events = Events(path)
    waits = events.of(child, "B", "wait")
    # Each wait has two records, and a ring has room for some two thousand.
    assert len(waits) >= 1000
    kept = len(waits) + len(events.of(child, "E", "wait"))
    assert events.dropped > 0
    # A wait whose time is over before it would sleep has none.
    assert 2 * 4500 <= kept + events.dropped <= 2 * 5000 + 10


def test_the_file_of_a_program_that_is_killed_can_be_read(method, path) -> None:
    code, _ = run(KILLS_ITSELF, path, method)
    assert code == -signal.SIGKILL
    events = json.loads(path.read_text())["traceEvents"]
    names = [event["name"] for event in events if event["ph"] == "X"]
    assert names == ["targets.trace.double"]
    assert "trace_complete" not in [event["name"] for event in events]


def test_the_environment_asks_for_a_trace_of_all_until_the_end(method, path) -> None:
    code, out = run(KNOWS_NOTHING, path, method, PROCESSION_TRACE=str(path))
    assert code == 0
    main, child = map(int, out.split())
    events = Events(path)
    assert events.count("double") == 1
    assert events.name(child) == "Eve"
    assert events.life(child)[1]["args"]["exitcode"] == 4
    events.life(main)


def test_a_trace_that_the_environment_asks_for_in_vain_is_an_error(path) -> None:
    nowhere = str(path.parent / "nowhere/run.json")
    program = path.parent / "program.py"
    program.write_text(IN_VAIN)
    environment = {**os.environ, "PROCESSION_TRACE": nowhere}
    code, out, err = script.run([sys.executable, program], env=environment)
    assert (code, out, err) == (0, "True\n", "")
