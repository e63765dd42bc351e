"""Processes and pools inside others, from threads, beside each other, and many of them."""

import gc
import os
import resource
import select
import sys
import threading
import warnings

import pytest
from library import PATIENCE
from targets import nested as targets

pytestmark = pytest.mark.slow


@pytest.fixture
def watched():
    """Returns a function that watches a process by its number."""
    watches = []

    def watch(pid: int) -> int:
        watches.append(os.pidfd_open(pid))
        return watches[-1]

    yield watch
    for fd in watches:
        os.close(fd)


def ended(watch: int) -> bool:
    return bool(select.select([watch], [], [], PATIENCE)[0])


@pytest.mark.procession_only("daemons may have no children")
def test_worker_of_a_pool_may_have_a_pool(mp) -> None:
    with mp.Pool(2) as pool:
        found = pool.map(targets.squares_by_a_pool, [[1, 2], [3, 4], [5, 6]], 1)
    assert found == [[1, 4], [9, 16], [25, 36]]


@pytest.mark.procession_only("daemons may have no children")
def test_worker_of_a_pool_may_have_processes(mp) -> None:
    with mp.Pool(2) as pool:
        inner = targets.start_another, targets.nothing
        assert pool.starmap(targets.start_another, [inner] * 3, 1) == [None] * 3


@pytest.mark.procession_only("daemons may have no children")
def test_daemon_may_have_children(mp) -> None:
    process = mp.Process(
        target=targets.start_another,
        args=(targets.start_another, targets.nothing),
        daemon=True,
    )
    process.start()
    process.join(PATIENCE)
    assert process.exitcode == 0


@pytest.mark.procession_only("daemons may have no children")
@pytest.mark.parametrize("way", ["terminate", "kill"])
def test_pool_of_a_daemon_ends_with_it(mp, watched, way) -> None:
    pids = mp.Queue()
    process = mp.Process(target=targets.pool_that_stays, args=(pids,), daemon=True)
    process.start()
    workers = {pids.get(timeout=PATIENCE), pids.get(timeout=PATIENCE)}
    watches = [watched(pid) for pid in workers]
    getattr(process, way)()
    process.join(PATIENCE)
    assert all(map(ended, watches))


@pytest.mark.procession_only("daemons may have no children")
def test_pool_of_a_terminated_pools_worker_ends_with_it(mp, watched) -> None:
    pids = mp.Queue()
    with mp.Pool(1) as pool:
        pool.apply_async(targets.pool_that_stays, (pids,))
        workers = {pids.get(timeout=PATIENCE), pids.get(timeout=PATIENCE)}
        watches = [watched(pid) for pid in workers]
    assert all(map(ended, watches))


def test_threads_start_processes_at_once(mp) -> None:
    codes = []

    def start_some() -> None:
        for _ in range(5):
            process = mp.Process(target=targets.nothing)
            process.start()
            process.join(PATIENCE)
            codes.append(process.exitcode)

    threads = [threading.Thread(target=start_some) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0] * 30


def test_many_pools_work_beside_each_other(mp) -> None:
    pools = [mp.Pool(2) for _ in range(6)]
    try:
        results = [
            pool.map_async(targets.square, range(100 * number, 100 * number + 50), 1)
            for number, pool in enumerate(pools)
        ]
        for number, result in enumerate(results):
            expected = [n * n for n in range(100 * number, 100 * number + 50)]
            assert result.get(PATIENCE) == expected
    finally:
        for pool in pools:
            pool.terminate()
            pool.join()


def test_child_of_a_process_with_pools_has_a_pool_of_its_own(mp) -> None:
    with mp.Pool(2) as ended:
        assert ended.map(targets.square, range(10)) == [n * n for n in range(10)]
    with mp.Pool(2) as pool:
        assert pool.map(targets.square, range(10)) == [n * n for n in range(10)]
        for _ in range(2):
            process = mp.Process(target=targets.squares_by_a_pool, args=([1, 2, 3],))
            process.start()
            process.join(PATIENCE)
            assert process.exitcode == 0
        assert pool.map(targets.square, range(10)) == [n * n for n in range(10)]


@pytest.mark.procession_only("a fork copies locks that its threads hold")
@pytest.mark.methods("fork")
def test_fork_while_threads_use_everything(mp) -> None:
    lock, queue = mp.Lock(), mp.Queue()
    with mp.Pool(1) as pool, targets.Busy(lock, queue, pool) as busy:
        for _ in range(20):
            answers = mp.Queue()
            process = mp.Process(target=targets.use_all, args=(lock, answers, pool))
            process.start()
            assert answers.get(timeout=PATIENCE) == process.pid
            process.join(PATIENCE)
            assert process.exitcode == 0
    assert busy.failures == []


@pytest.fixture
def thread():
    """Returns a thread that runs during the test."""
    go = threading.Event()
    thread = threading.Thread(target=go.wait)
    thread.start()
    yield thread
    go.set()
    thread.join()


@pytest.mark.procession_only("what the engine keeps is its own")
def test_child_forked_in_the_middle_of_a_first_call_does_not_wait_for_its_end(
    prints,
) -> None:
    # What the engine looks up once, as the pickler is at the first message, is looked up anew in
    # a child that was forked before it was found.
    lines = prints("""
        import builtins
        from procession import get_context

        if __name__ == "__main__":
            context = get_context("fork")
            (reader, writer), (childs_reader, childs_writer) = context.Pipe(), context.Pipe()
            process = context.Process(target=childs_writer.send, args=("from the child",))
            find = builtins.__import__

            def find_and_fork(name, *args):
                if name == "_pickle" and process.pid is None:
                    process.start()
                    print(childs_reader.recv() if childs_reader.poll(30) else "nothing")
                    process.kill()
                return find(name, *args)

            builtins.__import__ = find_and_fork
            writer.send("from the parent")
            print(reader.recv())
    """)
    assert lines == ["from the child", "from the parent"]


@pytest.mark.methods("fork")
def test_fork_of_a_process_with_threads_warns_where_python_does(mp, thread) -> None:
    process = mp.Process(target=targets.nothing)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        process.start()
    process.join(PATIENCE)
    told = [str(warning.message) for warning in caught]
    assert len(told) == (1 if sys.version_info >= (3, 12) else 0)
    assert all("multi-threaded, use of fork" in message for message in told)


@pytest.mark.methods("fork")
def test_warning_of_threads_that_is_an_error_loses_no_start(mp, thread) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        process = mp.Process(target=targets.nothing)
        process.start()
        process.join(PATIENCE)
        assert process.exitcode == 0
        with mp.Pool(2, maxtasksperchild=1) as pool:
            assert pool.map(abs, range(-6, 0), chunksize=1) == [6, 5, 4, 3, 2, 1]
            pool.close()
            pool.join()


@pytest.fixture
def limited():
    """Returns a function that holds this process to so many more descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def limit(more: int) -> None:
        # It is the numbers that are limited.
        highest = max(int(number) for number in os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + more, hard))

    yield limit
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_two_hundred_at_once(mp, limited) -> None:
    # Two of each, at the most: its end is one, and whoever starts it may need another.
    limited(2 * 200 + 64)
    go = mp.Event()
    processes = [
        mp.Process(target=go.wait, args=(10 * PATIENCE,), name=f"number {number}")
        for number in range(200)
    ]
    try:
        for process in processes:
            process.start()
        assert len(mp.active_children()) == 200
    finally:
        go.set()
        for process in processes:
            if process.pid is not None:
                process.join(PATIENCE)
    assert [process.exitcode for process in processes] == [0] * 200


# In a program of its own, as a copy of this process would take five times as long.
ONE_AFTER_ANOTHER = """
import multiprocessing as mp
import os
import resource
import sys

if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    for _ in range(int(sys.argv[1])):
        process = mp.Process(target=int)
        process.start()
        process.join()
        assert process.exitcode == 0
"""


def test_a_thousand_one_after_another(program, method) -> None:
    # A fresh interpreter takes thirty times as long as a copy. The target is nothing
    # that each would have to import.
    count = 100 if method == "spawn" else 1000
    assert program(ONE_AFTER_ANOTHER, str(count)) == (0, "", "")


COPY = """
import multiprocessing as mp
import os
import sys
import warnings

def double(number):
    return 2 * number

if __name__ == "__main__":
    # Python 3.12 and later warn of the thread that boots processes ahead.
    warnings.simplefilter("ignore", DeprecationWarning)
    event = mp.Event()
    children = [
        mp.Process(target=event.wait, args=(60,), daemon=is_daemon)
        for is_daemon in (False, True)
    ]
    for child in children:
        child.start()
    pool = mp.Pool(2)
    pid = os.fork()
    if pid == 0:
        assert mp.active_children() == []
        assert children[0].exitcode is None
        process = mp.Process(target=double, args=(1,))
        process.start()
        process.join()
        assert process.exitcode == 0
        with mp.Pool(2) as other:
            assert other.map(double, [1, 2]) == [2, 4]
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert all(child.is_alive() for child in children)
    assert pool.map(double, [1, 2]) == [2, 4]
    event.set()
    for child in children:
        child.join()
    pool.terminate()
    pool.join()
"""


@pytest.mark.procession_only("the copy finds its original's children")
def test_copy_by_os_fork_has_no_children_of_its_own_and_can_have_some(program) -> None:
    assert program(COPY) == (0, "", "")


YOUNG = """
import gc
import multiprocessing as mp

if __name__ == "__main__":
    gc.collect()
    gc.disable()
    young = [[] for _ in range(5_000)]
    process = mp.Process(target=lambda: len(gc.get_objects(generation=0)))
    process.start()
    process.join()
    print(process.result() < len(young))
"""


@pytest.mark.procession_only("there the first collection visits all of them")
@pytest.mark.methods("fork")
def test_what_is_young_in_a_parent_is_old_in_its_copy(prints) -> None:
    assert prints(YOUNG) == ["True"]


@pytest.mark.procession_only("it leaves young objects as they are")
@pytest.mark.methods("fork")
def test_what_a_parent_has_frozen_is_frozen_in_its_copy_and_not_counted_there(
    mp, monkeypatch
) -> None:
    gc.freeze()
    count = gc.get_freeze_count
    for _ in range(2):
        process = mp.Process(target=count)
        process.start()
        process.join()
        assert process.result() > 0
        # To look for them is to walk all of them: from here on nobody does.
        monkeypatch.setattr(gc, "get_freeze_count", None)
