"""What procession has beyond multiprocessing, in the same places."""

import errno
import os
import pickle
import signal
import threading
import time

import pytest
from library import MOMENT, PATIENCE
from targets import beyond as targets
from targets import calls
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
    assert eventually(lambda: process.state == "blocked")
    assert isinstance(process.blocked_on, str)
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
