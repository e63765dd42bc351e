"""Who dies while it writes or reads takes no more than the message in its hands.

`multiprocessing` leaves a lock behind that nobody frees.
"""

import queue as threads_queue
import signal

import pytest
from library import MOMENT, PATIENCE, kill
from procession.queues import ShutDown
from targets import awaiting
from targets import death as targets

pytestmark = pytest.mark.procession_only("whoever waits for the dead waits for ever")


# Who writes into a queue, and who reads.


def drain(queue) -> list:
    """Returns what is in a queue that nobody writes to."""
    items = []
    while True:
        try:
            items.append(queue.get(timeout=0))
        except threads_queue.Empty:
            return items


@pytest.mark.slow
@pytest.mark.parametrize("size", [10, 3_000, 200_000])
@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue"])
def test_writer_killed_in_mid_message_loses_that_message_only(
    mp, start, kind, size
) -> None:
    queue = getattr(mp, kind)()
    for _ in range(8):
        writer = start(targets.put_for_ever, queue, size)
        items = [queue.get(timeout=PATIENCE) for _ in range(5)]
        kill(writer)
        items += drain(queue)
        assert items == [targets.message(n, size) for n in range(len(items))]
        assert queue.qsize() == 0


@pytest.mark.parametrize("size", [10, 200_000])
@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue", "SimpleQueue"])
def test_what_a_killed_writer_has_put_is_there(mp, start, kind, size) -> None:
    queue = getattr(mp, kind)()
    items = [targets.message(number, size) for number in range(20)]
    writer = start(awaiting.put_and_die, queue, items)
    writer.join(PATIENCE)
    assert writer.exitcode == -signal.SIGKILL
    assert [queue.get() for _ in items] == items
    assert queue.empty()


@pytest.mark.slow
def test_readers_killed_in_mid_message_leave_the_rest_whole(mp, start) -> None:
    queue, sign = mp.Queue(), mp.Semaphore(0)
    for number in range(3_000):
        queue.put(targets.message(number, 2_000))
    for _ in range(5):
        reader = start(targets.get_for_ever, queue, sign)
        assert sign.acquire(timeout=PATIENCE)
        kill(reader)
    queue.put("last")
    *items, last = drain(queue)
    assert last == "last"
    numbers = [number for number, _ in items]
    assert numbers == sorted(set(numbers))
    assert items == [targets.message(number, 2_000) for number in numbers]


def test_reader_killed_while_it_waits_takes_no_item(mp, start) -> None:
    queue, sign, results = mp.Queue(), mp.Semaphore(0), mp.SimpleQueue()
    readers = [start(targets.get_one, queue, sign, results) for _ in range(2)]
    for _ in range(2):
        assert sign.acquire(timeout=PATIENCE)
    kill(readers[0])
    queue.put("for the one that lives")
    assert results.get() == "for the one that lives"


def test_writer_killed_while_it_waits_for_room_takes_none(mp, start) -> None:
    queue, sign = mp.Queue(1), mp.Semaphore(0)
    queue.put("first")
    writer = start(targets.put_one, queue, "of the dead", sign)
    assert sign.acquire(timeout=PATIENCE)
    kill(writer)
    assert queue.get(timeout=PATIENCE) == "first"
    queue.put("second", timeout=PATIENCE)
    assert drain(queue) == ["second"]


def test_writer_killed_among_many_items_leaves_the_first_of_them(mp, start) -> None:
    queue = mp.JoinableQueue(3)
    writer = start(queue.put_many, range(100))
    got = queue.get_many(2, timeout=PATIENCE)
    kill(writer)
    got += drain(queue)
    assert got == list(range(len(got)))
    # As many may have come as there was room for.
    assert 2 <= len(got) <= 5
    end_of_tasks(mp, queue, len(got))
    queue.put_many("abc")
    assert drain(queue) == ["a", "b", "c"]


def test_reader_killed_while_it_waits_for_many_takes_none(mp, start) -> None:
    queue, sign, results = mp.Queue(), mp.Semaphore(0), mp.SimpleQueue()
    readers = [start(targets.get_many, queue, sign, results) for _ in range(2)]
    for _ in range(2):
        assert sign.acquire(timeout=PATIENCE)
    kill(readers[0])
    queue.put_many([1, 2, 3])
    queue.shutdown()
    # They come at once, or the first of them wakes who waits.
    got = results.get()
    assert got + list(queue) == [1, 2, 3]
    assert got


def test_shutdown_by_a_process_that_is_killed_right_after_holds(mp, start) -> None:
    queue = mp.Queue()
    queue.put_many(range(3))
    ended = start(targets.shut_down_and_die, queue)
    ended.join(PATIENCE)
    assert list(queue) == [0, 1, 2]
    with pytest.raises(ShutDown):
        queue.put(3)


def test_get_with_timeout_keeps_to_it_though_the_writer_died(mp, start) -> None:
    queue = mp.Queue()
    writer = start(targets.put_for_ever, queue, 1_000_000)
    queue.get(timeout=PATIENCE)
    kill(writer)
    drain(queue)
    with pytest.raises(threads_queue.Empty):
        queue.get(timeout=MOMENT)


def end_of_tasks(mp, queue, unfinished: int) -> None:
    """Says that so many are done, and sees that these are all."""
    for _ in range(unfinished):
        with pytest.raises(mp.TimeoutError):
            queue.join(timeout=0)
        queue.task_done()
    queue.join()
    with pytest.raises(ValueError, match="too many times"):
        queue.task_done()


@pytest.mark.slow
@pytest.mark.parametrize("size", [10, 200_000])
def test_item_of_a_killed_writer_is_owed_only_if_it_is_there(mp, start, size) -> None:
    for _ in range(8):
        queue = mp.JoinableQueue()
        writer = start(targets.put_for_ever, queue, size)
        items = [queue.get(timeout=PATIENCE)]
        kill(writer)
        items += drain(queue)
        end_of_tasks(mp, queue, len(items))


@pytest.mark.slow
def test_killed_worker_leaves_no_more_undone_than_it_had_in_hand(mp, start) -> None:
    for _ in range(8):
        queue, sign = mp.JoinableQueue(), mp.Semaphore(0)
        queue.put_many(range(20_000))
        worker = start(targets.do_for_ever, queue, sign)
        assert sign.acquire(timeout=PATIENCE)
        kill(worker)
        for _ in drain(queue):
            queue.task_done()
        left = queue._unfinished_tasks.get_value()
        assert left in {0, 1}
        end_of_tasks(mp, queue, left)


def test_killed_joiner_leaves_others_joining(mp, start) -> None:
    queue, sign, joined = mp.JoinableQueue(), mp.Semaphore(0), mp.Semaphore(0)
    queue.put("item")
    joiners = [start(targets.join, queue, sign, joined) for _ in range(2)]
    for _ in range(2):
        assert sign.acquire(timeout=PATIENCE)
    kill(joiners[0])
    end_of_tasks(mp, queue, 1)
    assert joined.acquire(timeout=PATIENCE)
    joiners[1].join(PATIENCE)
    assert joiners[1].exitcode == 0


def test_death_of_the_other_side_ends_a_pipe(mp, start) -> None:
    here, there = mp.Pipe()
    sign = mp.Semaphore(0)
    with here:
        child = start(targets.hold_connection, there, sign)
        there.close()
        assert sign.acquire(timeout=PATIENCE)
        child.kill()
        with pytest.raises((EOFError, ConnectionResetError)):
            here.recv()
