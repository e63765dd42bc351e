"""Managers and their proxies, shared memory with a name, and the twin for threads."""

import queue
import signal
import sys
import threading

import pytest
import script
from library import MOMENT, load
from targets import managers as targets


@pytest.fixture
def manager(mp):
    with mp.Manager() as manager:
        yield manager
    manager.join()  # Lets go of the process.


def test_child_changes_what_a_manager_keeps(manager, start) -> None:
    mapping, items, space = manager.dict(), manager.list([1]), manager.Namespace()
    lock = manager.Lock()
    start(targets.change, mapping, items, space, lock).join()
    assert mapping.copy() == {"changed": True}
    assert items[:] == [1, "last"]
    assert space.attribute == 5


def test_exception_of_a_method_arrives_as_itself(manager) -> None:
    with pytest.raises(KeyError, match="absent"):
        manager.dict()["absent"]
    with pytest.raises(queue.Empty):
        manager.Queue().get_nowait()


@pytest.mark.procession_only("they have no text there")
def test_errors_of_queues_and_barriers_have_texts(manager) -> None:
    items, barrier = manager.Queue(1), manager.Barrier(2)
    server = f"of the manager \\(process {manager._process.pid}\\)"
    with pytest.raises(queue.Empty, match=f"queue [0-9a-f]+ {server} has no item"):
        items.get_nowait()
    items.put("only one")
    with pytest.raises(
        queue.Full, match=f"queue [0-9a-f]+ {server} .* at most 1 item$"
    ):
        items.put("one more", timeout=MOMENT)
    for _ in range(2):
        with pytest.raises(
            threading.BrokenBarrierError, match=f"barrier [0-9a-f]+ {server} was broken"
        ):
            barrier.wait(MOMENT)


@pytest.mark.procession_only("it has no traceback there")
def test_exception_of_a_method_has_the_traceback_of_the_server(manager) -> None:
    with pytest.raises(KeyError) as failure:
        manager.dict()["absent"]
    assert "Traceback" in str(failure.value.__cause__)


def test_method_that_is_not_exposed_is_refused(manager) -> None:
    with pytest.raises(load("managers").RemoteError, match="not in exposed"):
        manager.list()._callmethod("__class__")


def test_object_is_kept_while_anybody_has_a_proxy(manager) -> None:
    before = manager._number_of_objects()
    first, second = manager.list(), manager.dict()
    second["list"] = first
    assert manager._number_of_objects() == before + 2
    del first
    assert second["list"][:] == []
    del second
    assert manager._number_of_objects() == before


def test_values_of_all_sizes_go_to_the_server_and_back(manager) -> None:
    mapping = manager.dict()
    for size in (0, 1, 3_900, 4_000, 5_000, 200_000, 3_000_000):
        mapping["key"] = bytes(size)
        assert mapping["key"] == bytes(size)


def test_each_thread_asks_by_itself(manager) -> None:
    counts = manager.list([0] * 4)

    def count(place: int) -> None:
        for _ in range(50):
            counts[place] += 1

    threads = [threading.Thread(target=count, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts[:] == [50] * 4
    # One of them waits, and does not keep the others from asking.
    event = manager.Event()
    waiter = threading.Thread(target=event.wait)
    waiter.start()
    assert not event.is_set()
    event.set()
    waiter.join()


@pytest.mark.procession_only("the answer is taken for that of the next call")
def test_interrupted_call_does_not_spoil_the_next(manager) -> None:
    def interrupt(signum, frame) -> None:
        raise InterruptedError("by a signal")

    items, event = manager.list([1, 2]), manager.Event()
    assert not event.is_set()
    before = signal.signal(signal.SIGUSR2, interrupt)
    try:
        me = threading.get_ident()
        wake = threading.Timer(MOMENT, signal.pthread_kill, (me, signal.SIGUSR2))
        wake.start()
        with pytest.raises(InterruptedError, match="by a signal"):
            event.wait()
        wake.join()
    finally:
        signal.signal(signal.SIGUSR2, before)
    event.set()
    assert items[:] == [1, 2]
    assert event.is_set() is True


def test_killed_server_is_the_end_of_a_call(mp, tmp_path) -> None:
    manager = load("managers").SyncManager(str(tmp_path / "socket"), ctx=mp)
    manager.start()
    event = manager.Event()
    assert not event.is_set()
    server = manager._process
    kill = threading.Timer(MOMENT, server.kill)
    kill.start()
    with pytest.raises((EOFError, ConnectionError)):
        event.wait()
    kill.join()
    manager.shutdown()
    manager.join()


def test_manager_may_talk_in_xml(mp) -> None:
    targets.CountingManager.register("Counter", targets.Counter)
    options = {"authkey": b"key", "serializer": "xmlrpclib", "ctx": mp}
    with targets.CountingManager(("localhost", 0), **options) as manager:
        client = targets.CountingManager(manager.address, **options)
        client.connect()
        assert client.Counter(4).up() == 5


def test_registered_type_can_be_made_and_used(mp) -> None:
    targets.CountingManager.register("Counter", targets.Counter)
    with targets.CountingManager(ctx=mp) as manager:
        counter = manager.Counter(start=4)
        assert counter.up() == 5
        assert counter.up() == 6


def test_manager_that_has_shut_down_refuses(lib) -> None:
    managers = load("managers")
    manager = managers.SyncManager()
    with manager:
        assert manager.list([1])[:] == [1]
        with pytest.raises(lib.ProcessError):
            manager.start()
    with pytest.raises(lib.ProcessError):
        manager.start()


def test_memory_is_found_by_its_name_in_another_process(mp, start) -> None:
    memory = load("shared_memory").SharedMemory(create=True, size=100)
    start(targets.write, memory.name, b"from the child").join()
    assert bytes(memory.buf[:14]) == b"from the child"
    memory.close()
    memory.unlink()


@pytest.mark.procession_only("its tracker removes what others still use")
def test_memory_stays_when_a_stranger_that_used_it_has_left(lib) -> None:
    memory = load("shared_memory").SharedMemory(create=True, size=100)
    text = f"""
import sys
from {lib.__name__}.shared_memory import SharedMemory
memory = SharedMemory({memory.name!r})
memory.buf[:4] = b"here"
"""
    # One that closes it, one that only ends, and one that is killed.
    for end in ("memory.close()", "", "import os; os.kill(os.getpid(), 9)"):
        done = script.run([sys.executable, "-c", text + end])
        assert done[2] == "", done
        again = load("shared_memory").SharedMemory(memory.name)
        assert bytes(again.buf[:4]) == b"here"
        again.buf[:4] = bytes(4)
        again.close()
    memory.close()
    memory.unlink()


@pytest.mark.procession_only("its tracker removes it")
@pytest.mark.parametrize("end", ["memory.close()", "", "os.kill(os.getpid(), 9)"])
def test_memory_that_its_maker_has_left_stays_until_it_is_unlinked(lib, end) -> None:
    text = f"""
import os
from {lib.__name__}.shared_memory import SharedMemory
memory = SharedMemory(create=True, size=100)
memory.buf[:4] = b"here"
print(memory.name, flush=True)
{end}
"""
    _, out, err = script.run([sys.executable, "-c", text])
    assert err == ""
    memory = load("shared_memory").SharedMemory(out.strip())
    assert bytes(memory.buf[:4]) == b"here"
    memory.close()
    memory.unlink()
    with pytest.raises(FileNotFoundError):
        load("shared_memory").SharedMemory(out.strip())


def test_memory_stays_when_a_child_that_used_it_has_left(mp, start) -> None:
    memory = load("shared_memory").SharedMemory(create=True, size=100)
    for text in (b"first", b"other"):
        start(targets.write, memory.name, text).join()
        again = load("shared_memory").SharedMemory(memory.name)
        assert bytes(again.buf[:5]) == text
        again.close()
    memory.close()
    memory.unlink()


def test_memory_of_a_manager_ends_with_it(mp) -> None:
    shared_memory, managers = load("shared_memory"), load("managers")
    with managers.SharedMemoryManager(ctx=mp) as manager:
        memory, items = manager.SharedMemory(10), manager.ShareableList(["a", 1])
        assert items[0] == "a"
    for name in (memory.name, items.shm.name):
        with pytest.raises(FileNotFoundError):
            shared_memory.SharedMemory(name)
    memory.close()
    items.shm.close()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"create": True, "size": -1}, ValueError),
        ({"create": True, "size": 0}, ValueError),
        ({}, ValueError),
        ({"name": "procession-absent"}, FileNotFoundError),
    ],
)
def test_memory_that_cannot_be_made_is_refused(lib, arguments, error) -> None:
    with pytest.raises(error):
        load("shared_memory").SharedMemory(**arguments)


@pytest.mark.procession_only("its writer is killed there")
def test_more_memory_than_there_is_is_refused(lib) -> None:
    with pytest.raises(OSError, match="bytes left"):
        load("shared_memory").SharedMemory(create=True, size=1 << 50)


def test_list_in_shared_memory_has_the_same_items_for_all(lib) -> None:
    shareable = load("shared_memory").ShareableList
    items = shareable(["text", b"bytes", 1, 2.5, True, None])
    same = shareable(name=items.shm.name)
    same[0] = "other"
    assert list(items) == ["other", b"bytes", 1, 2.5, True, None]
    assert items.index(2.5) == 3
    with pytest.raises(ValueError, match="exceeds available storage"):
        items[1] = b"more than there is room for"
    with pytest.raises(IndexError):
        items[6]
    same.shm.close()
    items.shm.close()
    items.shm.unlink()


@pytest.mark.procession_only("they are lost there")
def test_list_in_shared_memory_keeps_zeros_at_the_end_of_strings(lib) -> None:
    items = load("shared_memory").ShareableList(
        [b"a\0", "b\0\0", b"\0" * 40, "long" * 9]
    )
    items[3] = "short\0"
    assert list(items) == [b"a\0", "b\0\0", b"\0" * 40, "short\0"]
    items.shm.close()
    items.shm.unlink()


def test_twin_for_threads_runs_the_same_program(lib) -> None:
    dummy = load("dummy")
    answers = dummy.Queue()
    process = dummy.Process(target=answers.put, args=(5,))
    process.start()
    process.join()
    assert (answers.get(), process.exitcode) == (5, 0)
    assert dummy.active_children() == []
    first, second = dummy.Pipe()
    first.send("hello")
    assert second.poll(1)
    assert second.recv() == "hello"
    assert not second.poll(0.01)
    assert dummy.Manager().dict(a=1) == {"a": 1}
