"""Who dies while it writes or reads takes no more than the message in its hands.

`multiprocessing` leaves a lock behind that nobody frees.
"""

import queue as threads_queue
import threading

import pytest
from library import MOMENT, PATIENCE, kill
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


def test_get_with_timeout_keeps_to_it_though_the_writer_died(mp, start) -> None:
    queue = mp.Queue()
    writer = start(targets.put_for_ever, queue, 1_000_000)
    queue.get(timeout=PATIENCE)
    kill(writer)
    drain(queue)
    with pytest.raises(threads_queue.Empty):
        queue.get(timeout=MOMENT)


def test_items_are_done_though_somebody_died_saying_so(mp, start) -> None:
    queue, sign = mp.JoinableQueue(), mp.Semaphore(0)
    queue.put("item")
    for end in (lambda: (queue.get(), queue.task_done()), queue.join):
        owner = start(targets.hold, queue._cond, sign)
        assert sign.acquire(timeout=PATIENCE)
        kill(owner)
        end()


def test_who_joins_a_queue_does_not_wait_for_the_dead(mp, start) -> None:
    queue, sign = mp.JoinableQueue(), mp.Semaphore(0)
    queue.put("item")
    worker = start(targets.say_done_and_hold, queue, sign)

    def kill_when_it_is_done() -> None:
        assert sign.acquire(timeout=PATIENCE)
        kill(worker)

    killer = threading.Thread(target=kill_when_it_is_done)
    killer.start()
    queue.join()
    killer.join()


def test_who_joins_a_queue_is_not_fooled_by_the_dead(mp, start) -> None:
    queue, sign = mp.JoinableQueue(), mp.Semaphore(0)
    queue.put("item")
    joining = [threading.Thread(target=queue.join) for _ in range(2)]
    for thread in joining:
        thread.start()

    def wait_until_all_wait() -> None:
        while queue._cond._waiters.n_waiting() < len(joining):
            assert all(thread.is_alive() for thread in joining)

    wait_until_all_wait()
    # As if before it could count the item.
    owner = start(targets.notify_and_hold, queue._cond, sign)
    assert sign.acquire(timeout=PATIENCE)
    kill(owner)
    wait_until_all_wait()
    assert queue.get() == "item"
    queue.task_done()
    for thread in joining:
        thread.join(PATIENCE)
        assert not thread.is_alive()


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
