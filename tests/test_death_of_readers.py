"""Whoever dies before it has what a message brings takes that along: nothing stays.

The fixture that looks for what is left looks at the objects of the arena, too. In
`multiprocessing` only a process that starts can be given a lock.
"""

import functools
import gc
import itertools
import pickle
import signal
import threading

import leftovers
import pytest
from library import PATIENCE, wait_until
from targets import death as targets
from targets import pool as pool_targets

pytestmark = pytest.mark.procession_only("locks are passed to starting processes only")

# How it is sent does not depend on how the reader was started.
any_method = pytest.mark.methods("forkserver")


def locks() -> set[str]:
    """Returns the locks of the family, whoever has them."""
    return {each for each in leftovers.objects() if each.startswith("lock")}


# What processes are started with.


@pytest.mark.methods("spawn", "forkserver")
def test_what_a_process_was_started_with_is_freed_though_it_never_looked(
    mp, start
) -> None:
    before = leftovers.objects()
    deadly = targets.DeadlyToUnpickle()
    given = mp.Lock(), mp.Queue(), mp.Condition(), mp.Event()
    process = start(targets.hold, deadly, *given)
    process.join(PATIENCE)
    assert process.exitcode == -signal.SIGKILL
    assert leftovers.objects() > before
    del given
    assert leftovers.objects() == before


@pytest.mark.methods("fork")
def test_a_pipe_whose_maker_died_before_it_had_its_ends_is_gone(mp, start) -> None:
    before = leftovers.objects()
    process = start(targets.make_half_a_pipe)
    process.join(PATIENCE)
    assert process.exitcode == -signal.SIGKILL
    assert leftovers.objects() == before


@pytest.mark.methods("spawn")
def test_what_could_not_be_pickled_holds_nothing(mp) -> None:
    before = leftovers.objects()
    queue, lock = mp.Queue(), mp.Lock()
    process = mp.Process(target=targets.hold, args=(lock, threading.Lock()))
    with pytest.raises((pickle.PicklingError, TypeError)):
        process.start()
    with pytest.raises((pickle.PicklingError, TypeError)):
        queue.put((lock, threading.Lock()))
    del process, queue, lock
    gc.collect()  # What was raised refers to them.
    assert leftovers.objects() == before


# What is put into queues.


def test_lock_in_a_message_goes_with_the_reader_that_dies_of_it(mp, start) -> None:
    # What is left of the arena is looked after by a fixture.
    queue = mp.Queue()
    for _ in range(5):
        queue.put((targets.DeadlyToUnpickle(), mp.Lock(), mp.Queue()))
        reader = start(targets.get, queue)
        reader.join(PATIENCE)
        assert reader.exitcode == -signal.SIGKILL
    assert queue.empty()


def test_locks_in_messages_that_nobody_reads_go_with_their_queue(mp) -> None:
    queues = [mp.Queue(), mp.SimpleQueue()]
    for queue in queues:
        for _ in range(100):
            queue.put(mp.Lock())
        lock = queue.get()
        assert lock.acquire(timeout=0)


def test_message_that_does_not_unpickle_takes_its_locks_along(mp) -> None:
    queue = mp.Queue()
    queue.put((targets.FailsToUnpickle(), mp.Lock()))
    with pytest.raises(ZeroDivisionError):
        queue.get(timeout=PATIENCE)


# What is sent over pipes.


def test_lock_sent_over_a_pipe_goes_with_the_reader_that_dies_of_it(mp, start) -> None:
    here, there = mp.Pipe()
    with here, there:
        for _ in range(5):
            here.send((targets.DeadlyToUnpickle(), mp.Lock(), mp.Queue()))
            here.send((targets.DeadlyToUnpickle(), mp.Lock(), bytes(200_000)))
            for _ in range(2):
                reader = start(targets.receive, there)
                reader.join(PATIENCE)
                assert reader.exitcode == -signal.SIGKILL


@any_method
def test_locks_sent_over_a_pipe_arrive_or_go_with_it(mp) -> None:
    here, there = mp.Pipe()
    with here, there:
        for _ in range(6):
            here.send([mp.Lock()])
        for _ in range(3):
            [lock] = there.recv()
            assert lock.acquire(timeout=0)


@any_method
def test_as_many_locks_as_a_pipe_holds_arrive_or_go_with_it(mp) -> None:
    for received in (0, 100, 200):
        here, there = mp.Pipe(duplex=False)
        with here, there:
            for _ in range(200):
                there.send(mp.Lock())
            there.send(bytes(200_000))
            for _ in range(received):
                assert here.recv().acquire(timeout=0)


@any_method
@pytest.mark.parametrize("size", [0, 200_000])
def test_what_was_received_as_bytes_is_unpickled_later(mp, size) -> None:
    here, there = mp.Pipe(duplex=False)
    with here, there:
        for _ in range(2):
            there.send((mp.Lock(), bytes(size)))
        message = here.recv_bytes()
        room = bytearray(2 * size + 1000)
        count = here.recv_bytes_into(room)
    queue = mp.SimpleQueue()
    queue.put((mp.Lock(), bytes(size)))
    for each in [message, bytes(room[:count]), queue.get_bytes()]:
        lock, _ = pickle.loads(each)
        assert lock.acquire(timeout=0)


@any_method
def test_message_of_a_pipe_that_does_not_unpickle_takes_its_lock_along(mp) -> None:
    here, there = mp.Pipe(duplex=False)
    with here, there:
        there.send((targets.FailsToUnpickle(), mp.Lock()))
        with pytest.raises(ZeroDivisionError):
            here.recv()


# What is sent to the workers of a pool, and what they bring home.


def test_lock_in_a_task_goes_with_the_worker_that_dies_of_it(lib, mp) -> None:
    deadly = targets.DeadlyToUnpickle()
    with mp.Pool(2) as pool:
        for payload in (b"", bytes(200_000)):
            with pytest.raises(lib.WorkerDied):
                pool.apply(pool_targets.same, ((deadly, mp.Lock(), payload),))
            with pytest.raises(lib.WorkerDied):
                pool.map(pool_targets.same, [(deadly, mp.Lock(), payload)])
            with pytest.raises(lib.WorkerDied):
                list(pool.imap(pool_targets.same, [(deadly, mp.Lock(), payload)]))
            function = functools.partial(pool_targets.first_of, mp.Lock(), payload)
            with pytest.raises(lib.WorkerDied):
                pool.map(function, [deadly])
    del function
    gc.collect()
    assert not locks()


@any_method
def test_task_that_does_not_unpickle_takes_its_lock_along(mp) -> None:
    with mp.Pool(1) as pool, pytest.raises(ZeroDivisionError):
        pool.apply(pool_targets.same, ((targets.FailsToUnpickle(), mp.Lock()),))
    gc.collect()
    assert not locks()


@any_method
def test_every_worker_finds_the_lock_of_a_function(mp) -> None:
    # Whatever a worker attaches to is not at the cost of a message elsewhere.
    queue, lock = mp.Queue(), mp.Lock()
    queue.put(lock)
    with mp.Pool(3) as pool:
        function = functools.partial(pool_targets.first_of, lock)
        del lock
        for one in pool.map(function, range(12), 1):
            assert one.acquire(timeout=0)
            one.release()
    del function, one
    gc.collect()
    assert queue.get(timeout=PATIENCE).acquire(timeout=0)


@any_method
def test_what_tasks_bring_home_arrives_or_goes_with_it(mp) -> None:
    with mp.Pool(2) as pool:
        lock = pool.apply(pool_targets.new_lock)
        assert lock.acquire(timeout=0)
        locks_of_map = pool.map(pool_targets.new_lock, range(10))
        assert all(lock.acquire(timeout=0) for lock in locks_of_map)
        with pytest.raises(ZeroDivisionError):
            pool.apply(pool_targets.new_lock_beside, (targets.FailsToPass(),))
        waited = pool.apply_async(pool_targets.new_lock)
        waited.wait(PATIENCE)
        # Nobody takes more than the first.
        results = pool.imap(pool_targets.new_lock, itertools.count())
        assert next(results).acquire(timeout=0)
    del lock, locks_of_map, waited, results
    gc.collect()
    # A thread of the pool may have some in its hands yet.
    wait_until(lambda: not locks())
