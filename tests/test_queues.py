"""Queues: order, bounds, waiting, and items that are large or many."""

import os
import pickle
import queue as threads_queue
import threading
import time

import pytest
from library import MOMENT, PATIENCE
from targets import calls
from targets import queues as targets

KINDS = ["Queue", "JoinableQueue", "SimpleQueue"]
BOUNDED = ["Queue", "JoinableQueue"]


def takes_at_least(seconds: float, function, *args, **kwargs):
    """Calls a function that waits and fails."""
    before = time.monotonic()
    try:
        return function(*args, **kwargs)
    finally:
        assert time.monotonic() - before >= seconds


# Items.


@pytest.mark.parametrize("kind", KINDS)
def test_items_come_out_in_the_order_they_went_in(lib, kind) -> None:
    queue = getattr(lib, kind)()
    for number in range(100):
        queue.put(number)
    assert [queue.get() for _ in range(100)] == list(range(100))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "item", [None, 0, "", [], {}, False, (1, "two", 3.0, b"four", [5], {"six": 7})]
)
def test_item_comes_out_as_it_went_in(lib, kind, item) -> None:
    queue = getattr(lib, kind)()
    queue.put(item)
    got = queue.get()
    assert got == item
    assert type(got) is type(item)


@pytest.mark.parametrize("kind", KINDS)
def test_what_comes_out_is_a_copy(lib, kind) -> None:
    queue = getattr(lib, kind)()
    item = ["first"]
    queue.put(item)
    got = queue.get()
    got.append("second")
    assert item == ["first"]


@pytest.mark.parametrize("kind", KINDS)
def test_items_go_to_a_child_and_come_back(mp, start, kind) -> None:
    requests, answers = getattr(mp, kind)(), getattr(mp, kind)()
    child = start(targets.get_and_put_back, requests, answers)
    for item in ("text", 17, {"key": ["value"]}):
        requests.put(item)
        assert answers.get() == item
    requests.put(None)
    child.join()
    assert child.exitcode == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_large_item_comes_back_whole(mp, start, kind) -> None:
    requests, answers = getattr(mp, kind)(), getattr(mp, kind)()
    start(targets.get_and_put_back, requests, answers)
    data = os.urandom(1024) * (20 * 1024)
    requests.put(data)
    assert calls.digest(answers.get()) == calls.digest(data)
    requests.put(None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 63, 64, 1023, 1024, 1025, 16384, 65536, 131073])
def test_items_of_all_sizes_keep_their_bytes_and_order(lib, kind, size) -> None:
    queue = getattr(lib, kind)()
    sent = [os.urandom(size + extra) for extra in range(3)]

    def put_all() -> None:
        for data in sent:
            queue.put(data)

    # A simple queue is a pipe of a certain size: the writer may have to wait.
    thread = threading.Thread(target=put_all)
    thread.start()
    assert [queue.get() for _ in sent] == sent
    thread.join()


@pytest.mark.parametrize("kind", KINDS)
def test_items_of_a_child_that_has_ended_are_not_lost(mp, start, kind) -> None:
    queue = getattr(mp, kind)()
    child = start(targets.put_all, queue, [1, "two", [3]])
    child.join()
    assert child.exitcode == 0
    assert [queue.get(), queue.get(), queue.get()] == [1, "two", [3]]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_each_item_of_many_producers_reaches_one_of_many_consumers(
    mp, start, kind
) -> None:
    queue, results = getattr(mp, kind)(), mp.SimpleQueue()
    producers = [
        start(targets.put_numbered, queue, producer, 200) for producer in range(3)
    ]
    for _ in range(2):
        start(targets.get_until_none, queue, results)
    for producer in producers:
        producer.join()
    for _ in range(2):
        queue.put(None)
    got = [results.get(), results.get()]
    everything = [(producer, number) for producer in range(3) for number in range(200)]
    assert sorted(got[0] + got[1]) == everything
    for items in got:
        for producer in range(3):
            numbers = [number for who, number in items if who == producer]
            assert numbers == sorted(numbers), "a producer's items were overtaken"


def test_queue_is_used_by_many_threads(lib) -> None:
    queue, got = lib.Queue(), []

    def get_many() -> None:
        for _ in range(100):
            got.append(queue.get(timeout=PATIENCE))

    threads = [
        threading.Thread(target=targets.put_numbered, args=(queue, producer, 100))
        for producer in range(3)
    ]
    threads += [threading.Thread(target=get_many) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [(who, number) for who in range(3) for number in range(100)]


def test_queue_reaches_a_child_of_a_child(mp, call) -> None:
    from targets import process

    queue = mp.Queue()
    queue.put("for the grandchild")
    assert call(process.start_another, queue.get) == "for the grandchild"


# Waiting and bounds.


@pytest.mark.parametrize("kind", BOUNDED)
def test_get_from_an_empty_queue_gives_up_when_asked_to(lib, kind) -> None:
    queue = getattr(lib, kind)()
    for args in ((False,), (True, 0), (True, -1)):
        with pytest.raises(threads_queue.Empty):
            queue.get(*args)
    with pytest.raises(threads_queue.Empty):
        queue.get_nowait()
    with pytest.raises(threads_queue.Empty):
        takes_at_least(MOMENT, queue.get, timeout=MOMENT)


@pytest.mark.parametrize("kind", BOUNDED)
def test_put_into_a_full_queue_gives_up_when_asked_to(lib, kind) -> None:
    queue = getattr(lib, kind)(2)
    queue.put("first")
    queue.put_nowait("second")
    for args in (("third", False), ("third", True, 0), ("third", True, -1)):
        with pytest.raises(threads_queue.Full):
            queue.put(*args)
    with pytest.raises(threads_queue.Full):
        queue.put_nowait("third")
    with pytest.raises(threads_queue.Full):
        takes_at_least(MOMENT, queue.put, "third", timeout=MOMENT)
    assert [queue.get(), queue.get()] == ["first", "second"]


@pytest.mark.procession_only("its errors have no text")
def test_errors_of_a_queue_tell_its_bound_and_the_wait(lib) -> None:
    queue = lib.Queue(2)
    for call, text in [
        (queue.get_nowait, r"queue #\d+ is empty"),
        (lambda: queue.get(timeout=MOMENT), rf"queue #\d+ was empty for {MOMENT} s"),
    ]:
        with pytest.raises(threads_queue.Empty, match=f"^{text}$"):
            call()
    queue.put(1)
    queue.put(2)
    most = "it holds at most 2 items"
    for call, text in [
        (lambda: queue.put_nowait(3), rf"queue #\d+ is full: {most}"),
        (
            lambda: queue.put(3, True, MOMENT),
            rf"queue #\d+ was full for {MOMENT} s: {most}",
        ),
        # What has a lock in it goes another way.
        (lambda: queue.put(lib.Lock(), False), rf"queue #\d+ is full: {most}"),
    ]:
        with pytest.raises(threads_queue.Full, match=f"^{text}$") as caught:
            call()
        again = pickle.loads(pickle.dumps(caught.value))
        assert (type(again), again.args) == (threads_queue.Full, caught.value.args)


def test_child_finds_a_queue_empty_or_full_as_its_parent_does(mp, call) -> None:
    queue = mp.Queue(1)
    assert call(targets.attempt, queue, "get_nowait") == "Empty"
    queue.put("fills it")
    assert call(targets.attempt, queue, "put_nowait", "one more") == "Full"
    assert queue.get(timeout=PATIENCE) == "fills it"


def test_get_returns_when_an_item_comes(mp, start) -> None:
    queue, semaphore = mp.Queue(), mp.Semaphore(0)
    start(targets.get_and_release, queue, semaphore)
    assert semaphore.acquire(timeout=MOMENT) is False
    queue.put("an item")
    assert semaphore.acquire(timeout=PATIENCE) is True


def test_put_returns_when_there_is_room(mp, start) -> None:
    queue, semaphore = mp.Queue(1), mp.Semaphore(0)
    queue.put("first")
    start(targets.put_and_release, queue, "second", semaphore)
    assert semaphore.acquire(timeout=MOMENT) is False
    assert queue.get(timeout=PATIENCE) == "first"
    assert semaphore.acquire(timeout=PATIENCE) is True
    assert queue.get(timeout=PATIENCE) == "second"


def test_size_counts_the_items_put_and_not_yet_got(mp, start) -> None:
    queue = mp.Queue()
    assert queue.qsize() == 0
    queue.put(1)
    queue.put(2)
    assert queue.qsize() == 2
    start(targets.put_all, queue, [3, 4]).join()
    assert queue.qsize() == 4
    for left in (3, 2, 1, 0):
        queue.get()
        assert queue.qsize() == left


def test_bounded_queue_tells_that_it_is_full(lib) -> None:
    queue = lib.Queue(2)
    assert queue.full() is False
    queue.put(1)
    assert queue.full() is False
    queue.put(2)
    assert queue.full() is True
    queue.get()
    assert queue.full() is False
    queue.get()


@pytest.mark.parametrize("kind", KINDS)
def test_queue_tells_that_it_is_empty(mp, start, kind) -> None:
    queue = getattr(mp, kind)()
    assert queue.empty() is True
    start(targets.put_all, queue, ["an item"]).join()
    assert queue.empty() is False
    queue.get()
    assert queue.empty() is True


@pytest.mark.parametrize("size", [0, -1])
def test_queue_without_a_positive_size_has_no_bound(lib, size) -> None:
    queue = lib.Queue(size)
    for number in range(1000):
        queue.put_nowait(number)
    assert queue.full() is False
    assert [queue.get() for _ in range(1000)] == list(range(1000))


# Tasks that are done.


def test_join_of_a_queue_waits_until_all_tasks_are_done(mp, start) -> None:
    tasks, done = mp.JoinableQueue(), mp.SimpleQueue()
    start(targets.do_tasks, tasks, done)
    start(targets.do_tasks, tasks, done)
    for number in range(10):
        tasks.put(number)
    tasks.join()
    assert sorted(done.get() for _ in range(10)) == list(range(10))
    tasks.put(None)
    tasks.put(None)
    tasks.join()


def test_join_of_a_queue_without_tasks_returns_at_once(lib) -> None:
    queue = lib.JoinableQueue()
    assert queue.join() is None
    queue.put("a task")
    queue.get()
    queue.task_done()
    queue.join()


def test_task_done_more_often_than_there_were_tasks_is_an_error(lib) -> None:
    queue = lib.JoinableQueue()
    queue.put("a task")
    queue.get()
    queue.task_done()
    with pytest.raises(ValueError, match="called too many times"):
        queue.task_done()


def test_clients_read_how_many_tasks_are_unfinished(lib) -> None:
    queue = lib.JoinableQueue()
    for number in range(3):
        queue.put(number)
    queue.task_done()
    assert queue._unfinished_tasks.get_value() == 2
    assert queue._unfinished_tasks._semlock._get_value() == 2
    assert not queue._unfinished_tasks._semlock._is_zero()
    with queue._cond:
        assert not queue._cond.wait(timeout=MOMENT)
    queue.task_done()
    queue.task_done()
    assert queue._unfinished_tasks._semlock._is_zero()


# The end of a queue.


@pytest.mark.parametrize("kind", BOUNDED)
def test_closed_queue_takes_no_items(lib, kind) -> None:
    queue = getattr(lib, kind)()
    assert queue.close() is None
    queue.close()
    assert queue.join_thread() is None
    with pytest.raises(ValueError, match="closed"):
        queue.put("an item")


@pytest.mark.parametrize("kind", BOUNDED)
def test_queue_closed_here_gives_no_items_here(lib, kind) -> None:
    queue = getattr(lib, kind)()
    queue.close()
    for get in (queue.get, queue.get_nowait):
        with pytest.raises(ValueError, match="closed"):
            get()


@pytest.mark.parametrize("kind", BOUNDED)
def test_who_has_put_and_closed_does_not_learn_what_became_of_it(lib, kind) -> None:
    unused, used = getattr(lib, kind)(), getattr(lib, kind)()
    unused.close()
    assert unused.empty()
    used.put("an item")
    used.close()
    used.join_thread()
    with pytest.raises(OSError, match="closed"):
        used.empty()


def test_items_put_before_the_close_still_arrive(mp, start) -> None:
    queue, results = mp.Queue(), mp.SimpleQueue()
    start(targets.get_until_none, queue, results)
    queue.put("last words")
    queue.put(None)
    queue.close()
    queue.join_thread()
    assert results.get() == ["last words"]


def test_closed_simple_queue_is_of_no_use(lib) -> None:
    queue = lib.SimpleQueue()
    queue.close()
    for use in (queue.get, lambda: queue.put("an item")):
        with pytest.raises((OSError, ValueError), match="closed"):
            use()
    with pytest.raises(OSError, match="closed"):
        queue.empty()


def test_join_thread_before_the_close_is_an_error(lib) -> None:
    queue = lib.Queue()
    with pytest.raises(AssertionError):
        queue.join_thread()


def test_cancel_join_thread_is_accepted(lib) -> None:
    queue = lib.Queue()
    assert queue.cancel_join_thread() is None
    queue.put("an item")
    assert queue.get(timeout=PATIENCE) == "an item"


def test_queue_raises_the_exceptions_of_the_queue_module(lib) -> None:
    from library import load

    assert load("queues").Empty is threads_queue.Empty
    assert load("queues").Full is threads_queue.Full


# Better than multiprocessing.


@pytest.mark.procession_only("a process cannot end before its items are read")
def test_process_ends_though_nobody_reads_what_it_put(mp, start) -> None:
    queue = mp.Queue()
    child = start(targets.put_all, queue, [b"x" * 1_000_000, "second"])
    child.join(PATIENCE)
    assert child.exitcode == 0
    assert len(queue.get(timeout=PATIENCE)) == 1_000_000
    assert queue.get(timeout=PATIENCE) == "second"


@pytest.mark.procession_only("an item is pickled later, by a thread")
def test_item_is_what_it_was_when_it_was_put(lib) -> None:
    queue = lib.Queue()
    item = ["as put"]
    queue.put(item)
    item.append("changed later")
    assert queue.get() == ["as put"]


@pytest.mark.procession_only("the item counts before it can be had")
def test_item_can_be_had_as_soon_as_put_returns(lib) -> None:
    queue = lib.Queue()
    for number in range(100):
        queue.put(number)
        assert queue.empty() is False
        assert queue.get_nowait() == number
