"""What procession has beyond multiprocessing, in the same places."""

import errno
import os
import pickle
import queue as threads_queue
import re
import signal
import threading
import time
from queue import Empty, Full

import pytest
from library import MOMENT, PATIENCE
from procession.pool import Pool, ThreadPool
from procession.queues import ShutDown
from targets import beyond as targets
from targets import calls
from targets import pool as pool_targets
from targets import process as process_targets

pytestmark = pytest.mark.procession_only("it has nothing like it")


def eventually(condition) -> bool:
    """Waits for what the operating system tells only to who asks again."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


# State.


def test_state_goes_from_new_to_terminated(mp) -> None:
    ready, go = mp.Event(), mp.Event()
    process = mp.Process(target=calls.announce_and_wait, args=(ready, go))
    assert process.state == "new"
    process.start()
    assert ready.wait(PATIENCE)
    assert process.state in ("running", "blocked")
    go.set()
    process.join()
    assert process.state == "terminated"


def test_process_that_waits_is_blocked(mp, start) -> None:
    ready, go = mp.Event(), mp.Event()
    process = start(calls.announce_and_wait, ready, go)
    assert ready.wait(PATIENCE)
    # It may be blocked for an instant on its way there, and run again.
    assert eventually(
        lambda: (
            process.state == "blocked"
            and re.fullmatch(r"event #\d+", process.blocked_on or "") is not None
        )
    )
    go.set()
    process.join()
    assert process.blocked_on is None


def test_process_that_computes_is_running(mp, start) -> None:
    started = mp.Event()
    process = start(targets.compute_for_ever, started)
    assert started.wait(PATIENCE)
    assert eventually(lambda: process.state == "running")


def test_killed_process_is_terminated(mp, start) -> None:
    ready, never = mp.Event(), mp.Event()
    process = start(calls.announce_and_wait, ready, never)
    assert ready.wait(PATIENCE)
    process.kill()
    assert eventually(lambda: process.state == "terminated")
    assert process.exitcode == -signal.SIGKILL


def test_current_process_is_running(lib) -> None:
    assert lib.current_process().state == "running"


# Result.


def test_result_is_what_the_target_returned(start) -> None:
    process = start(targets.add, 1, second=2)
    assert process.result() == 3
    assert process.result(timeout=0) == 3
    assert process.exitcode == 0


def test_result_of_a_target_that_returns_nothing_is_none(start) -> None:
    assert start(calls.nothing).result(PATIENCE) is None


@pytest.mark.methods("fork")
def test_result_of_an_extended_process_is_what_its_run_returned(lib) -> None:
    process = targets.Returning(name="the one")
    process.start()
    assert process.result(PATIENCE) == "returned by the one"


@pytest.mark.slow
def test_large_result_comes_home_whole(start) -> None:
    data = os.urandom(1024) * (20 * 1024)
    assert start(calls.same, data).result(PATIENCE) == data


def test_result_may_be_asked_for_after_the_join(start) -> None:
    process = start(targets.add, 1, 2)
    process.join()
    assert process.result() == 3


def test_result_of_a_failure_is_its_error_with_the_traceback(start) -> None:
    process = start(targets.fail)
    with pytest.raises(LookupError, match="from below") as caught:
        process.result(PATIENCE)
    told = str(caught.value.__cause__)
    assert "Traceback (most recent call last)" in told
    assert "in fail_below" in told
    assert process.exitcode == 1


def test_result_of_a_killed_process_tells_who_died_and_of_what(lib, mp, start) -> None:
    ready, never = mp.Event(), mp.Event()
    process = start(calls.announce_and_wait, ready, never)
    assert ready.wait(PATIENCE)
    process.kill()
    with pytest.raises(lib.WorkerDied, match="SIGKILL") as caught:
        process.result(PATIENCE)
    assert caught.value.pid == process.pid
    assert caught.value.exitcode == -signal.SIGKILL
    assert caught.value.signal == "SIGKILL"


def test_result_of_an_exit_tells_the_code(lib, start) -> None:
    with pytest.raises(lib.WorkerDied) as caught:
        start(process_targets.exit_at_once, 3).result(PATIENCE)
    assert (caught.value.exitcode, caught.value.signal) == (3, None)


def test_result_that_is_not_there_in_time_is_a_timeout(lib, mp, start) -> None:
    ready, go = mp.Event(), mp.Event()
    process = start(calls.announce_and_wait, ready, go)
    before = time.monotonic()
    with pytest.raises(lib.TimeoutError):
        process.result(MOMENT)
    assert time.monotonic() - before >= MOMENT
    assert process.is_alive()
    go.set()
    assert process.result(PATIENCE) is None


def test_result_that_does_not_pickle_is_an_error_of_its_own(start) -> None:
    process = start(targets.return_lock)
    with pytest.raises(Exception, match="pickle"):
        process.result(PATIENCE)
    assert process.exitcode == 0


def test_result_before_the_start_is_an_error(lib) -> None:
    with pytest.raises(AssertionError):
        lib.Process(target=calls.nothing).result()


# Stop.


def test_process_that_is_asked_to_stop_may_do_so(mp, start) -> None:
    started = mp.Event()
    process = start(targets.work_until_asked, started)
    assert started.wait(PATIENCE)
    assert process.stop_requested is False
    process.request_stop()
    assert process.stop_requested is True
    assert process.result(PATIENCE) == "asked before the work False, after it True"


def test_process_waits_until_it_is_asked_to_stop(mp, start) -> None:
    started = mp.Event()
    process = start(targets.wait_until_asked, started)
    assert started.wait(PATIENCE)
    with pytest.raises(ValueError, match="itself"):
        process.wait_for_stop(0)
    process.request_stop()
    assert process.result(PATIENCE) == (False, True)


def test_process_that_does_not_look_is_not_stopped(mp, start) -> None:
    ready, go = mp.Event(), mp.Event()
    process = start(calls.announce_and_wait, ready, go)
    process.request_stop()
    assert ready.wait(PATIENCE)
    assert process.is_alive()
    go.set()
    assert process.result(PATIENCE) is None


def test_request_to_one_process_is_not_one_to_others(lib, mp, start) -> None:
    started, go = mp.Event(), mp.Event()
    asked = start(targets.work_until_asked, started)
    other = start(calls.announce_and_wait, started, go)
    asked.request_stop()
    asked.join()
    assert other.stop_requested is False
    assert lib.current_process().stop_requested is False
    go.set()


def test_request_to_an_ended_process_changes_nothing(start) -> None:
    process = start(calls.nothing)
    process.join()
    process.request_stop()
    assert process.exitcode == 0


# Handles that travel at any time.


def test_lock_travels_through_a_queue(mp, start) -> None:
    queue, lock = mp.Queue(), mp.Lock()
    process = start(targets.acquire_and_release_what_comes, queue)
    queue.put(lock)
    assert process.result(PATIENCE) is False
    assert lock.acquire(block=False) is True
    lock.release()


def test_queue_travels_through_a_queue(mp, start) -> None:
    outer, inner = mp.Queue(), mp.Queue()
    start(targets.put_into_what_comes, outer)
    outer.put(inner)
    assert inner.get(timeout=PATIENCE) == "through a queue that came through a queue"


def test_value_and_event_travel_through_a_pipe(mp, start) -> None:
    here, there = mp.Pipe()
    value, event = mp.Value("i", 16), mp.Event()
    with here, there:
        start(targets.set_what_comes, there)
        here.send(value)
        here.send(event)
        assert event.wait(PATIENCE) is True
        assert value.value == 17


def test_lock_and_queue_are_arguments_of_pool_tasks(mp) -> None:
    lock, queue = mp.Lock(), mp.Queue()
    with mp.Pool(1) as pool:
        queue.put(lock)
        task = pool.apply_async(targets.acquire_and_release_what_comes, (queue,))
        assert task.get(PATIENCE) is False


def test_what_only_a_child_refers_to_lives_as_long_as_the_child(mp, start) -> None:
    gate = mp.Event()
    process = start(targets.announce_when_let, gate, mp.Event())
    gate.set()
    assert process.result(PATIENCE) is None
    assert process.exitcode == 0


def test_item_in_a_queue_keeps_alive_what_it_refers_to(mp, start) -> None:
    queue = mp.Queue()
    queue.put(mp.Lock())
    process = start(targets.acquire_and_release_what_comes, queue)
    assert process.result(PATIENCE) is False


# Exceptions.


def test_owner_died_is_an_error_of_the_system_too(lib) -> None:
    error = lib.OwnerDied("the owner died")
    assert isinstance(error, lib.ProcessError)
    assert isinstance(error, OSError)
    assert error.errno == errno.EOWNERDEAD
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (lib.OwnerDied, "the owner died")


def test_worker_died_survives_a_pickle(lib) -> None:
    error = lib.WorkerDied("a worker died", 17, -9)
    assert isinstance(error, lib.ProcessError)
    again = pickle.loads(pickle.dumps(error))
    assert (again.pid, again.exitcode, again.signal) == (17, -9, "SIGKILL")
    assert str(again) == "a worker died"


# Threads that wait.


def test_threads_of_this_process_go_on_while_one_waits(lib) -> None:
    event, queue = lib.Event(), lib.Queue()
    results = []
    waits = [
        lambda: event.wait(PATIENCE),
        lambda: queue.get(timeout=PATIENCE),
    ]
    threads = [
        threading.Thread(target=lambda wait=wait: results.append(wait()))
        for wait in waits
    ]
    for thread in threads:
        thread.start()
    event.set()
    queue.put("an item")
    for thread in threads:
        thread.join()
    assert sorted(map(str, results)) == ["True", "an item"]


# Queues.


def put_all(queue, items) -> None:
    queue.put_many(items)
    queue.shutdown()


@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue"])
def test_many_items_cross_in_order(mp, start, kind) -> None:
    queue = getattr(mp, kind)()
    large = [bytes(100_000), *range(500), "end"]
    process = start(put_all, queue, large)
    got = list(queue)
    process.join()
    assert got == large
    assert process.exitcode == 0


def test_what_goes_with_an_item_crosses_among_many(mp, start) -> None:
    queue = mp.Queue()
    event = mp.Event()
    process = start(put_all, queue, [1, event, 2])
    one, copy, two = queue
    process.join()
    assert (one, two) == (1, 2)
    copy.set()
    assert event.is_set()


def test_get_many_takes_what_is_there(mp) -> None:
    queue = mp.Queue()
    queue.put_many(range(10))
    assert queue.get_many(4) == [0, 1, 2, 3]
    assert queue.get_many(100) == [4, 5, 6, 7, 8, 9]
    assert queue.get_many(0) == []
    with pytest.raises(Empty):
        queue.get_many(1, block=False)
    with pytest.raises(Empty):
        queue.get_many(1, timeout=MOMENT)


@pytest.mark.parametrize("options", [{"block": False}, {"timeout": MOMENT}])
def test_put_many_ends_with_its_time_and_tells_how_many_are_put(mp, options) -> None:
    event = mp.Event()
    for items in (range(100), [0, 1, event, 3], [0, 1, 2, event]):
        queue = mp.Queue(3)
        with pytest.raises(Full, match=r"holds at most 3 items$") as caught:
            queue.put_many([*items, "rest"], **options)
        assert (caught.value.items_put, queue.qsize()) == (3, 3)
        assert len(queue.get_many(10)) == 3
        queue.put_many([4, event, 5], **options)
        assert queue.qsize() == 3


def test_put_many_that_is_refused_tells_how_many_are_put(mp) -> None:
    queue = mp.Queue(1)
    waiter = threading.Thread(target=wait_until_full_and_shut_down, args=(queue,))
    waiter.start()
    with pytest.raises(ShutDown) as caught:
        queue.put_many("ab")
    waiter.join()
    assert caught.value.items_put == 1
    assert list(queue) == ["a"]


def wait_until_full_and_shut_down(queue) -> None:
    eventually(queue.full)
    queue.shutdown()


def test_items_before_one_that_cannot_be_pickled_are_put(mp) -> None:
    queue = mp.Queue()
    with pytest.raises(Exception, match="pickle"):
        queue.put_many([1, 2, threading.Lock(), 3])
    assert queue.get_many(10) == [1, 2]


def test_bounded_queue_takes_many_items_as_there_is_room(mp, start) -> None:
    queue = mp.Queue(2)
    process = start(put_all, queue, list(range(100)))
    assert list(queue) == list(range(100))
    process.join()


def test_interrupted_put_many_ends_and_puts_nothing_twice(mp) -> None:
    def late(*_) -> None:
        raise InterruptedError("late")

    queue = mp.Queue(1)
    before = signal.signal(signal.SIGALRM, late)
    try:
        signal.setitimer(signal.ITIMER_REAL, MOMENT)
        with pytest.raises(InterruptedError, match="late"):
            queue.put_many(range(100))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert queue.get_many(10) == [0]
    assert queue.empty()


def get_one(queue, ready, outcome) -> None:
    ready.set()
    try:
        queue.get()
    except ShutDown:
        outcome.put("shut down")


def test_shutdown_wakes_who_waits_in_every_process(mp, start) -> None:
    queue, outcome, ready = mp.Queue(), mp.Queue(), mp.Event()
    process = start(get_one, queue, ready, outcome)
    assert ready.wait(PATIENCE)
    assert eventually(lambda: process.state == "blocked")
    queue.shutdown()
    assert outcome.get(timeout=PATIENCE) == "shut down"
    process.join()
    with pytest.raises(ShutDown, match="takes no more items"):
        queue.put(1)
    with pytest.raises(ShutDown):
        queue.put_many([1])
    with pytest.raises(ShutDown):
        queue.get(block=False)
    with pytest.raises(ShutDown):
        queue.get_many(1)


def test_shutdown_wakes_who_waits_for_room(mp) -> None:
    queue = mp.Queue(1)
    queue.put(1)
    waits = threading.Timer(MOMENT, queue.shutdown)
    waits.start()
    with pytest.raises(ShutDown):
        queue.put(2)
    waits.join()
    assert list(queue) == [1]


@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue"])
def test_immediate_shutdown_throws_items_away(mp, kind) -> None:
    queue = getattr(mp, kind)()
    queue.put_many(range(200))
    queue.shutdown(immediate=True)
    assert list(queue) == []
    assert queue.empty()


def test_queue_may_be_shut_down_again(mp) -> None:
    queue = mp.Queue()
    queue.put_many(range(3))
    queue.shutdown()
    queue.shutdown()
    assert queue.get() == 0
    # What is left is thrown away after all.
    queue.shutdown(immediate=True)
    assert list(queue) == []


def test_iteration_ends_in_every_process(mp, start) -> None:
    queue, got = mp.Queue(), mp.Queue()
    processes = [start(pass_on, queue, got) for _ in range(2)]
    queue.put_many(range(100))
    queue.shutdown()
    for process in processes:
        process.join(PATIENCE)
        assert process.exitcode == 0
    got.shutdown()
    assert sorted(got) == list(range(100))


def pass_on(queue, got) -> None:
    for item in queue:
        got.put(item)


def test_what_a_shutdown_throws_away_is_as_good_as_done(mp) -> None:
    queue = mp.JoinableQueue()
    queue.put_many(range(200))
    assert queue.get_many(3) == [0, 1, 2]
    queue.shutdown(immediate=True)
    for _ in range(3):
        with pytest.raises(mp.TimeoutError):
            queue.join(timeout=0)
        queue.task_done()
    queue.join()
    with pytest.raises(ValueError, match="too many times"):
        queue.task_done()


def test_shutdown_wakes_who_joins(mp) -> None:
    queue = mp.JoinableQueue()
    queue.put("never done")
    shuts = threading.Timer(MOMENT, queue.shutdown, kwargs={"immediate": True})
    shuts.start()
    queue.join()
    shuts.join()


def test_join_of_a_queue_has_a_timeout(mp) -> None:
    queue = mp.JoinableQueue()
    queue.put("never done")
    begun = time.monotonic()
    with pytest.raises(mp.TimeoutError, match="1 unfinished tasks after 0.05 s"):
        queue.join(timeout=MOMENT)
    assert time.monotonic() - begun >= MOMENT


def test_shutdown_is_the_error_of_the_standard_library_where_it_has_one(mp) -> None:
    if hasattr(threads_queue, "ShutDown"):
        assert ShutDown is threads_queue.ShutDown
    queue = mp.Queue()
    queue.shutdown()
    with pytest.raises(ShutDown):
        queue.get()


# Workers.


def test_workers_of_a_pool_are_told(mp) -> None:
    with mp.Pool(2) as pool:
        pids = {pool.apply(os.getpid) for _ in range(20)}
        workers = pool.workers()
        assert [worker.number for worker in workers] == [0, 1]
        assert pids <= {worker.pid for worker in workers}
        assert sum(worker.tasks_done for worker in workers) == 20
    with ThreadPool(1) as pool, pytest.raises(ValueError, match="no worker"):
        pool.workers()


def test_pool_that_grew_has_more_at_work(mp) -> None:
    begun, go = mp.Semaphore(0), mp.Event()
    with mp.Pool(1) as pool:
        pool.resize(3)
        workers = pool.workers()
        assert [worker.number for worker in workers] == [0, 1, 2]
        held = [pool.apply_async(targets.hold, (begun, go)) for _ in range(3)]
        for _ in range(3):
            assert begun.acquire(timeout=PATIENCE)
        go.set()
        pids = {result.get(PATIENCE) for result in held}
        assert pids == {worker.pid for worker in workers}


def test_pool_that_shrinks_loses_no_task(mp) -> None:
    begun, go = mp.Semaphore(0), mp.Event()
    with mp.Pool(3) as pool:
        held = [pool.apply_async(targets.hold, (begun, go)) for _ in range(3)]
        for _ in range(3):
            assert begun.acquire(timeout=PATIENCE)
        first = pool.workers()[0]
        later = pool.map_async(pool_targets.pid, range(20), chunksize=1)
        pool.resize(1)
        assert len(pool.workers()) == 3
        go.set()
        assert len({result.get(PATIENCE) for result in held}) == 3
        assert later.get(PATIENCE) == [first.pid] * 20
        assert eventually(lambda: len(pool.workers()) == 1)
        pool.close()
        pool.join()


def test_idle_workers_end_when_their_pool_shrinks(mp) -> None:
    with mp.Pool(3) as pool:
        first, *others = pool.workers()
        processes = {process.pid: process for process in pool._pool}
        pool.resize(1)
        assert pool.workers() == [first]
        for worker in others:
            processes[worker.pid].join(PATIENCE)
            assert processes[worker.pid].exitcode == 0
        pool.resize(2)
        assert len(pool.workers()) == 2
        assert pool.map(pool_targets.square, range(10)) == [n * n for n in range(10)]


class ReluctantPool(Pool):
    """A pool that has no room for another worker, for a time."""

    has_room = True

    @staticmethod
    def Process(ctx, *args, **kwds):
        if not ReluctantPool.has_room:
            raise OSError("no room for another")
        return ctx.Process(*args, **kwds)


def test_pool_goes_on_though_it_cannot_grow_yet(mp, monkeypatch) -> None:
    with ReluctantPool(1, context=mp) as pool:
        monkeypatch.setattr(ReluctantPool, "has_room", False)
        with pytest.raises(OSError, match="no room"):
            pool.resize(2)
        assert pool.apply(pool_targets.square, (3,)) == 9
        assert len(pool.workers()) == 1
        monkeypatch.undo()
        assert eventually(
            lambda: (
                pool.apply(pool_targets.square, (3,)) == 9 and len(pool.workers()) == 2
            )
        )


def test_only_a_pool_of_processes_that_runs_is_resized(mp) -> None:
    with mp.Pool(1) as pool:
        with pytest.raises(ValueError, match="at least 1"):
            pool.resize(0)
        pool.close()
        with pytest.raises(ValueError, match="not running"):
            pool.resize(2)
    with ThreadPool(1) as pool, pytest.raises(ValueError, match="threads"):
        pool.resize(2)
