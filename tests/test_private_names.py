"""Private names of `multiprocessing` that programs are known to read keep their meaning."""

import gc
import os
import select
import threading
import weakref

from library import PATIENCE, load
from targets import calls
from targets import queues as targets


def test_queue_has_ends_that_look_like_a_pipe(mp) -> None:
    queue = mp.Queue(3)
    queue.put("item")
    assert load("connection").wait([queue._reader], PATIENCE) == [queue._reader]
    assert queue._reader.poll(PATIENCE)
    assert queue._reader.recv() == "item"
    assert not queue._reader.poll()
    assert queue._maxsize == 3


def test_reading_end_is_not_ready_for_what_another_process_has_got(mp, start) -> None:
    queue = mp.Queue()
    assert load("connection").wait([queue._reader], 0) == []
    process = start(targets.put_and_get, queue, "item")
    process.join()
    # In either way: as an end that the library knows, and as a mere descriptor.
    assert load("connection").wait([queue._reader], 0) == []
    assert select.select([queue._reader], [], [], 0) == ([], [], [])
    queue.put("item")
    assert load("connection").wait([queue._reader], PATIENCE) == [queue._reader]
    assert select.select([queue._reader], [], [], PATIENCE)[0] == [queue._reader]
    assert queue.get(timeout=PATIENCE) == "item"


def test_client_may_put_ends_of_its_own_in_place(mp) -> None:
    class Queue(load("queues").Queue):
        def __init__(self, **options) -> None:
            super().__init__(**options)
            self._reader, self._writer = [self._reader], [self._writer]

    queue = Queue(ctx=mp)
    assert type(queue._reader) is type(queue._writer) is list


def test_queue_says_that_nothing_waits_to_be_fed(mp) -> None:
    queue = mp.Queue()
    queue.put("item")
    queue.get()
    with queue._notempty:
        queue._notempty.notify()
        assert len(queue._buffer) == 0


def test_queue_that_was_asked_for_its_ends_goes_with_its_last_user(mp) -> None:
    gc.disable()
    try:
        queue = mp.SimpleQueue()
        assert not queue._reader.poll()
        gone = weakref.ref(queue)
        del queue
        assert gone() is None
    finally:
        gc.enable()


def test_connection_tells_its_descriptor(mp) -> None:
    left, right = mp.Pipe()
    assert left._handle == left.fileno()
    left.close()
    right.close()
    assert left._handle is None


def test_default_context_can_be_asked_for_its_method(lib) -> None:
    default = load("context")._default_context
    assert default.get_start_method() == lib.get_start_method()
    assert type(default._default_context).__name__.endswith("Context")


def test_module_knows_current_process_and_children(mp, start) -> None:
    module = load("process")
    assert module._current_process is mp.current_process()
    child = start(calls.nothing)
    assert child in module._children
    child.join()
    assert child not in module._children
    assert child._parent_pid == os.getpid()


def test_pool_has_as_many_workers_as_it_is_told_before_it_is_repopulated(mp) -> None:
    with mp.Pool(1) as pool:
        pool._processes = 3
        pool._repopulate_pool()
        assert len(pool._pool) == 3
        assert all(worker.is_alive() for worker in pool._pool)
        assert pool.map(calls.same, range(9)) == list(range(9))


def test_pool_knows_its_workers_and_what_is_to_come(mp) -> None:
    with mp.Pool(2) as pool:
        assert pool._processes == len(pool._pool) == 2
        assert all(worker.is_alive() for worker in pool._pool)
        event = threading.Event()
        pool.apply_async(calls.nothing, callback=lambda _: event.set())
        assert event.wait(PATIENCE)
        assert len(pool._cache) == 0
