"""Many processes at once: what a start costs does not grow with them."""

import os
import sys

import pytest
import script
from library import PATIENCE, load
from targets import calls


@pytest.fixture
def crowd(mp, start):
    """Returns a function that starts processes which wait to be told."""
    events = [mp.Event()]
    started = []

    def crowd(count: int) -> None:
        started.extend(start(calls.wait_for, events[0]) for _ in range(count))

    yield crowd
    events.pop().set()
    while started:
        started.pop().join()


def is_zombie(pid: int) -> bool:
    """Returns whether a process has ended and nobody has asked how."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"Z"
    except FileNotFoundError:
        return False


def await_ends(processes: list) -> None:
    sentinels = [process.sentinel for process in processes]
    while sentinels:
        ready = load("connection").wait(sentinels, PATIENCE)
        assert ready
        sentinels = [each for each in sentinels if each not in ready]


@pytest.mark.methods("fork")
@pytest.mark.parametrize("count", [2, 12])
def test_start_joins_those_that_have_ended(start, crowd, count) -> None:
    crowd(count)
    ended = [start(calls.nothing) for _ in range(count)]
    await_ends(ended)
    pids = [process.pid for process in ended]
    crowd(1)
    assert not any(map(is_zombie, pids))
    assert [process.exitcode for process in ended] == [0] * count


@pytest.mark.methods("fork")
@pytest.mark.procession_only("it has no sentinel to lose")
def test_start_joins_one_whose_descriptor_was_closed(start, crowd) -> None:
    crowd(12)
    ended = start(calls.nothing)
    await_ends([ended])
    os.close(ended.sentinel)
    pid = ended.pid
    crowd(1)
    assert not is_zombie(pid)
    assert ended.exitcode == 0


@pytest.mark.methods("forkserver")
@pytest.mark.procession_only("it asks all children at each start")
def test_starts_forget_those_that_a_server_has_reaped(start, crowd) -> None:
    crowd(12)
    for _ in range(60):
        await_ends([start(calls.nothing)])
    assert len(load("process")._children) < 30


def reads() -> int:
    """Returns how often this process has read from anything."""
    with open("/proc/self/io") as file:
        lines = dict(line.split(": ") for line in file)
    return int(lines["syscr"])


PAGES_OF_CHILDREN = """
import importlib, resource, sys

def nothing():
    pass

def start(ctx, count):
    for _ in range(count):
        process = ctx.Process(target=nothing)
        process.start()
        process.join()

def pages():
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt

if __name__ == "__main__":
    ctx = importlib.import_module(sys.argv[1]).get_context("fork")
    start(ctx, 10)
    before = pages()
    start(ctx, 20)
    print((pages() - before) // 20)
"""


@pytest.mark.slow
@pytest.mark.procession_only("it has its parents prepare what children need")
def test_a_forked_child_touches_fewer_pages_than_the_standard_librarys(
    tmp_path,
) -> None:
    path = tmp_path / "program.py"
    path.write_text(PAGES_OF_CHILDREN)
    pages = {}
    for library in "procession", "multiprocessing":
        code, output, errors = script.run([sys.executable, path, library])
        assert (code, errors) == (0, "")
        pages[library] = int(output)
    assert pages["procession"] < pages["multiprocessing"]


@pytest.mark.slow
@pytest.mark.methods("fork")
def test_start_looks_at_few_of_those_that_live(crowd) -> None:
    crowd(1)
    before = reads()
    crowd(160)
    assert reads() - before < 60 * 160


@pytest.mark.slow
@pytest.mark.methods("fork")
def test_pool_of_many_has_a_place_for_each(lib, mp) -> None:
    with mp.Pool(100) as pool:
        workers = pool._pool
        assert len({worker.pid for worker in workers}) == 100
        if lib.__name__ == "procession":
            indices = sorted(worker.worker_index for worker in workers)
            assert indices == list(range(100))
        assert pool.map(abs, range(-300, 0)) == list(range(300, 0, -1))
    assert all(worker.exitcode is not None for worker in workers)
