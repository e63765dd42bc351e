"""Locks, semaphores, events, conditions and barriers, between processes."""

import os
import pickle
import threading
import time

import pytest
from library import MOMENT, PATIENCE
from procession import _procession, synchronize
from targets import calls
from targets import synchronize as targets

LOCKS = ["Lock", "RLock"]
SEMAPHORES = ["Semaphore", "BoundedSemaphore"]


def in_a_thread(function, *args):
    """Calls a function in another thread of this process, and returns its result."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function(*args)))
    thread.start()
    thread.join()
    return results[0]


def takes_at_least(seconds: float, function, *args, **kwargs):
    """Calls a function that waits, and returns its result."""
    before = time.monotonic()
    result = function(*args, **kwargs)
    assert time.monotonic() - before >= seconds
    return result


# What locks and semaphores have in common.


@pytest.mark.parametrize("kind", LOCKS + SEMAPHORES)
def test_acquire_of_what_is_free_succeeds_in_all_its_forms(lib, kind) -> None:
    lock = getattr(lib, kind)()
    for arguments in ((), (True,), (False,), (True, 1.0), (True, None), (False, None)):
        assert lock.acquire(*arguments) is True
        assert lock.release() is None
    for options in ({"block": True}, {"block": False}, {"timeout": 1}, {"timeout": 0}):
        assert lock.acquire(**options) is True
        lock.release()


@pytest.mark.parametrize("kind", LOCKS + SEMAPHORES)
def test_acquire_with_wrong_arguments_is_an_error_and_takes_nothing(lib, kind) -> None:
    lock = getattr(lib, kind)()
    for arguments in ((True, "soon"), (True, 1.0, 2)):
        with pytest.raises(TypeError):
            lock.acquire(*arguments)
    for options in ({"wait": True}, {"block": True, "until": 1}):
        with pytest.raises(TypeError):
            lock.acquire(**options)
    with pytest.raises(TypeError):
        lock.acquire(True, block=True)
    assert in_a_thread(lock.acquire, False) is True


@pytest.mark.procession_only("its own way of being quick")
@pytest.mark.parametrize("kind", LOCKS + SEMAPHORES)
def test_classes_have_methods_of_their_own_and_what_is_derived_may_replace_them(
    lib, kind
) -> None:
    class_ = getattr(synchronize, kind)
    # The interpreter finds those of a base after a look at each of the bases.
    assert {"acquire", "release", "__enter__", "__exit__"} <= vars(class_).keys()

    class Counting(class_):
        taken = 0

        def acquire(self, *args, **kwargs):
            self.taken += 1
            return super().acquire(*args, **kwargs)

    lock = Counting()
    assert lock.acquire() is True
    with pytest.raises(TypeError):
        class_.acquire(object())
    assert in_a_thread(lock.acquire, False) is False
    lock.release()
    with lock:
        assert lock.taken == 2
    with pytest.raises(TypeError, match="no lock and no semaphore"):
        _procession.quick(int)


@pytest.mark.parametrize("kind", LOCKS + SEMAPHORES)
def test_acquire_without_blocking_tells_that_it_is_taken(call, mp, kind) -> None:
    lock = getattr(mp, kind)()
    with lock:
        assert call(targets.acquire_and_release, lock) is False
    assert call(targets.acquire_and_release, lock) is True


@pytest.mark.parametrize("kind", LOCKS + SEMAPHORES)
def test_acquire_with_timeout_waits_that_long(mp, start, kind) -> None:
    lock, held, enough = getattr(mp, kind)(), mp.Event(), mp.Event()
    start(targets.hold, lock, held, enough)
    assert held.wait(PATIENCE)
    assert takes_at_least(MOMENT, lock.acquire, timeout=MOMENT) is False
    assert lock.acquire(timeout=0) is False
    assert lock.acquire(timeout=-1) is False
    enough.set()
    assert lock.acquire(timeout=PATIENCE) is True
    lock.release()


@pytest.mark.parametrize("kind", LOCKS + SEMAPHORES)
def test_context_manager_holds_it_inside_and_frees_it_after_an_error(lib, kind) -> None:
    lock = getattr(lib, kind)()
    with pytest.raises(KeyError), lock as entered:
        assert entered is True
        assert in_a_thread(lock.acquire, False) is False
        raise KeyError
    assert in_a_thread(lock.acquire, False) is True


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*LOCKS, "BoundedSemaphore", "Condition"])
def test_nothing_is_lost_that_is_added_under_it(mp, start, kind) -> None:
    lock, total = getattr(mp, kind)(), mp.RawValue("i", 0)
    adders = [start(targets.add_without_losing, lock, total, 300) for _ in range(3)]
    targets.add_without_losing(lock, total, 300)
    for adder in adders:
        adder.join()
    assert total.value == 1200


@pytest.mark.parametrize("kind", LOCKS + SEMAPHORES)
def test_threads_of_one_process_exclude_each_other(lib, kind) -> None:
    lock, total = getattr(lib, kind)(), lib.RawValue("i", 0)
    threads = [
        threading.Thread(target=targets.add_without_losing, args=(lock, total, 500))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert total.value == 2000


@pytest.mark.parametrize("kind", LOCKS)
def test_representation_tells_the_owner(lib, kind) -> None:
    lock = getattr(lib, kind)()
    assert repr(lock).startswith(f"<{kind}(")
    assert "None" in repr(lock)
    with lock:
        assert "MainProcess" in repr(lock)


# Lock.


def test_lock_is_not_taken_twice_by_one_process(lib) -> None:
    lock = lib.Lock()
    lock.acquire()
    assert lock.acquire(block=False) is False
    lock.release()


def test_lock_may_be_released_by_another_thread(lib) -> None:
    lock = lib.Lock()
    lock.acquire()
    in_a_thread(lock.release)
    assert lock.acquire(block=False) is True


def test_lock_may_be_released_by_another_process(mp, call) -> None:
    lock = mp.Lock()
    lock.acquire()
    call(targets.release, lock)
    assert lock.acquire(timeout=PATIENCE) is True
    lock.release()


def test_release_of_a_free_lock_is_an_error(lib) -> None:
    with pytest.raises(ValueError, match="released too many times"):
        lib.Lock().release()


# RLock.


def test_rlock_is_taken_again_by_its_owner(lib) -> None:
    lock = lib.RLock()
    for _ in range(3):
        assert lock.acquire(block=False) is True
    for _ in range(3):
        assert in_a_thread(lock.acquire, False) is False
        lock.release()
    assert in_a_thread(lock.acquire, False) is True


def test_rlock_is_not_had_by_other_processes_until_released_as_often(mp, call) -> None:
    lock = mp.RLock()
    lock.acquire()
    lock.acquire()
    lock.release()
    assert call(targets.acquire_and_release, lock) is False
    lock.release()
    assert call(targets.acquire_and_release, lock) is True


def test_release_of_an_rlock_by_a_stranger_is_an_error(mp, call) -> None:
    lock = mp.RLock()
    with pytest.raises(AssertionError):
        lock.release()
    with lock:
        assert call(targets.release_of_stranger, lock) == "AssertionError"
        assert in_a_thread(targets.release_of_stranger, lock) == "AssertionError"


# Semaphore.


@pytest.mark.parametrize("kind", SEMAPHORES)
def test_semaphore_counts_what_is_left(mp, call, kind) -> None:
    semaphore = getattr(mp, kind)(2)
    assert semaphore.get_value() == 2
    assert semaphore.acquire() is True
    assert call(targets.semaphore_value, semaphore) == 1
    assert semaphore.acquire() is True
    assert semaphore.get_value() == 0
    assert semaphore.acquire(block=False) is False
    semaphore.release()
    semaphore.release()
    assert semaphore.get_value() == 2


def test_semaphore_may_grow_beyond_its_first_value(lib) -> None:
    semaphore = lib.Semaphore(0)
    assert semaphore.acquire(block=False) is False
    semaphore.release()
    semaphore.release()
    assert semaphore.get_value() == 2


def test_bounded_semaphore_does_not_grow_beyond_its_first_value(lib) -> None:
    semaphore = lib.BoundedSemaphore(1)
    with pytest.raises(ValueError, match="released too many times"):
        semaphore.release()
    assert semaphore.get_value() == 1


def test_release_by_another_process_wakes_who_waits_for_a_semaphore(mp, start) -> None:
    semaphore = mp.Semaphore(0)
    start(targets.release, semaphore)
    assert semaphore.acquire(timeout=PATIENCE) is True


@pytest.mark.slow
def test_semaphore_lets_in_no_more_than_its_value(mp, start) -> None:
    semaphore, all_started = mp.Semaphore(2), mp.Barrier(4)
    inside, peak = mp.Value("i", 0), mp.RawValue("i", 0)
    arguments = (semaphore, inside, peak, all_started)
    for process in [start(targets.enter, *arguments) for _ in range(4)]:
        process.join()
    assert 1 <= peak.value <= 2
    assert semaphore.get_value() == 2


# Event.


def test_event_is_set_and_cleared(lib) -> None:
    event = lib.Event()
    assert event.is_set() is False
    assert event.set() is None
    event.set()
    assert event.is_set() is True
    assert event.clear() is None
    event.clear()
    assert event.is_set() is False


def test_wait_for_a_set_event_returns_at_once(lib) -> None:
    event = lib.Event()
    event.set()
    assert event.wait() is True
    assert event.wait(0) is True
    assert event.wait(-1) is True


def test_wait_for_an_event_that_is_not_set_lasts_as_long_as_the_timeout(lib) -> None:
    event = lib.Event()
    assert takes_at_least(MOMENT, event.wait, MOMENT) is False
    assert event.wait(0) is False
    assert event.wait(timeout=-1) is False


def test_event_wakes_all_who_wait_for_it(mp, start) -> None:
    event, ready, results = mp.Event(), mp.Semaphore(0), mp.SimpleQueue()
    for _ in range(3):
        start(targets.wait_for_event, event, ready, results)
    for _ in range(3):
        assert ready.acquire(timeout=PATIENCE)
    event.set()
    assert [results.get() for _ in range(3)] == [True] * 3


def test_event_set_by_a_child_is_seen_here(mp, start) -> None:
    event, never = mp.Event(), mp.Event()
    start(calls.announce_and_wait, event, never)
    assert event.wait(PATIENCE) is True
    assert event.is_set() is True


def test_event_may_be_waited_for_by_threads_and_processes_together(mp, start) -> None:
    event, ready, results = mp.Event(), mp.Semaphore(0), mp.SimpleQueue()
    start(targets.wait_for_event, event, ready, results)
    thread = threading.Thread(
        target=targets.wait_for_event, args=(event, ready, results)
    )
    thread.start()
    for _ in range(2):
        assert ready.acquire(timeout=PATIENCE)
    event.set()
    assert [results.get() for _ in range(2)] == [True] * 2
    thread.join()


# Condition.


def sleepers(mp, start, condition, count: int):
    """Starts processes that sleep on a condition; returns what they wake up into."""
    sleeping, woken = mp.Semaphore(0), mp.Semaphore(0)
    for _ in range(count):
        start(targets.wait_on_condition, condition, sleeping, woken)
    for _ in range(count):
        assert sleeping.acquire(timeout=PATIENCE)
    return woken


def count_woken(woken, expected: int) -> int:
    """Returns how many woke up, after giving one too many the time to do so."""
    count = 0
    while woken.acquire(timeout=PATIENCE if count < expected else MOMENT):
        count += 1
    return count


@pytest.mark.slow
@pytest.mark.parametrize("kind", [None, *LOCKS])
def test_notify_wakes_as_many_as_asked(mp, start, kind) -> None:
    condition = mp.Condition() if kind is None else mp.Condition(getattr(mp, kind)())
    woken = sleepers(mp, start, condition, 4)
    with condition:
        condition.notify()
    assert count_woken(woken, 1) == 1
    with condition:
        condition.notify(n=2)
    assert count_woken(woken, 2) == 2
    with condition:
        condition.notify(7)
    assert count_woken(woken, 1) == 1


def test_notify_all_wakes_everybody(mp, start) -> None:
    condition = mp.Condition()
    woken = sleepers(mp, start, condition, 3)
    with condition:
        condition.notify_all()
    assert count_woken(woken, 3) == 3


def test_notify_without_sleepers_is_not_kept_for_later(lib) -> None:
    condition = lib.Condition()
    with condition:
        condition.notify()
        condition.notify_all()
        assert condition.wait(MOMENT) is False


def test_wait_on_a_condition_lasts_as_long_as_the_timeout(lib) -> None:
    condition = lib.Condition()
    with condition:
        assert takes_at_least(MOMENT, condition.wait, MOMENT) is False
        assert condition.wait(0) is False


def test_sleeper_that_gave_up_is_not_counted(mp, start) -> None:
    condition = mp.Condition()
    with condition:
        assert condition.wait(0) is False
    woken = sleepers(mp, start, condition, 1)
    with condition:
        condition.notify()
    assert count_woken(woken, 1) == 1


def test_wait_frees_a_lock_that_was_taken_several_times(lib) -> None:
    condition, seen = lib.Condition(), []

    def notify() -> None:
        with condition:
            seen.append("lock")
            condition.notify()

    thread = threading.Thread(target=notify)
    with condition, condition, condition:
        thread.start()
        assert condition.wait(PATIENCE) is True
        assert seen == ["lock"]
        assert in_a_thread(condition.acquire, False) is False
    thread.join()
    assert condition.acquire(False) is True
    condition.release()


@pytest.mark.parametrize("use", ["wait", "notify", "notify_all"])
def test_condition_is_used_by_who_holds_its_lock(lib, use) -> None:
    with pytest.raises(AssertionError):
        getattr(lib.Condition(), use)()


def test_wait_for_returns_what_the_predicate_last_did(lib) -> None:
    condition = lib.Condition()
    with condition:
        assert condition.wait_for(lambda: "true") == "true"
        waited = takes_at_least(MOMENT, condition.wait_for, lambda: 0, MOMENT)
        assert waited == 0


@pytest.mark.slow
def test_two_processes_take_turns_by_a_condition(mp, start) -> None:
    condition, turn = mp.Condition(), mp.RawValue("i", 0)
    players = [start(targets.take_turns, condition, turn, mine, 50) for mine in (0, 1)]
    for player in players:
        player.join()
    assert turn.value == 100


# Barrier.


@pytest.mark.slow
def test_barrier_gives_each_a_place_in_every_round(mp, start) -> None:
    barrier, results = mp.Barrier(3), mp.SimpleQueue()
    for _ in range(3):
        start(targets.wait_at_barrier, barrier, results, 4)
    for _ in range(4):
        assert sorted(results.get() for _ in range(3)) == [0, 1, 2]


def test_barrier_of_one_lets_pass(lib) -> None:
    barrier = lib.Barrier(1)
    assert [barrier.wait(), barrier.wait(0)] == [0, 0]
    assert barrier.parties == 1
    assert barrier.n_waiting == 0
    assert barrier.broken is False


@pytest.mark.slow
def test_action_of_a_barrier_runs_once_a_round(mp, start) -> None:
    count, results = mp.RawValue("i", 0), mp.SimpleQueue()
    barrier = mp.Barrier(3, targets.Counting(count))
    for _ in range(3):
        start(targets.wait_at_barrier, barrier, results, 2)
    assert sorted(results.get() for _ in range(6)) == [0, 0, 1, 1, 2, 2]
    assert count.value == 2


def test_action_that_fails_breaks_its_barrier(lib) -> None:
    barrier = lib.Barrier(1, targets.Failing())
    with pytest.raises(ValueError, match="on purpose"):
        barrier.wait()
    assert barrier.broken is True


def test_timeout_breaks_a_barrier_for_all(lib) -> None:
    barrier = lib.Barrier(2, timeout=MOMENT)
    with pytest.raises(threading.BrokenBarrierError):
        takes_at_least(MOMENT, barrier.wait)
    assert barrier.broken is True
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait()


def test_timeout_of_a_wait_goes_before_that_of_its_barrier(lib) -> None:
    barrier = lib.Barrier(2, timeout=PATIENCE)
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait(0)


def wait_until_waiting(barrier, count: int) -> None:
    """Returns when so many wait at the barrier; there is no event that tells."""
    while barrier.n_waiting < count:
        time.sleep(0.001)


def test_abort_breaks_a_barrier_for_those_who_wait(mp, start) -> None:
    barrier, results = mp.Barrier(3), mp.SimpleQueue()
    for _ in range(2):
        start(targets.wait_at_barrier, barrier, results)
    wait_until_waiting(barrier, 2)
    barrier.abort()
    assert [results.get() for _ in range(2)] == ["BrokenBarrierError"] * 2
    assert barrier.broken is True


def test_reset_turns_away_those_who_wait_and_mends_the_barrier(mp, start) -> None:
    barrier, results = mp.Barrier(2), mp.SimpleQueue()
    start(targets.wait_at_barrier, barrier, results)
    wait_until_waiting(barrier, 1)
    barrier.reset()
    assert results.get() == "BrokenBarrierError"
    assert barrier.broken is False
    start(targets.wait_at_barrier, barrier, results)
    assert {barrier.wait(PATIENCE), results.get()} == {0, 1}


@pytest.mark.procession_only("its error has no text")
def test_broken_barrier_tells_why_and_by_whom(mp, start) -> None:
    barrier, results = mp.Barrier(2), mp.SimpleQueue()
    barrier.abort()
    with pytest.raises(threading.BrokenBarrierError) as caught:
        barrier.wait()
    assert f"process {os.getpid()} aborted it; reset it" in str(caught.value)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), again.args) == (type(caught.value), caught.value.args)
    barrier.reset()
    start(targets.tell_of_barrier, barrier, results)
    wait_until_waiting(barrier, 1)
    barrier.reset()
    assert f"process {os.getpid()} reset it" in results.get()
    with pytest.raises(
        threading.BrokenBarrierError, match="this wait took longer"
    ) as late:
        barrier.wait(MOMENT)
    assert f"{os.getpid()} waited until its timeout, and 1 of 2" in str(late.value)
    start(targets.tell_of_barrier, barrier, results)
    assert f"{os.getpid()} waited until its timeout, and 1 of 2" in results.get()


@pytest.mark.procession_only("its error has no text")
def test_barrier_broken_by_its_action_tells_whose(mp, start) -> None:
    barrier, results = mp.Barrier(2, targets.Failing()), mp.SimpleQueue()
    start(targets.tell_of_barrier, barrier, results)
    wait_until_waiting(barrier, 1)
    with pytest.raises(ValueError, match="on purpose"):
        barrier.wait()
    assert f"the action of process {os.getpid()} failed" in results.get()
    barrier = mp.Barrier(2, targets.Dying())
    start(targets.tell_of_barrier, barrier, results)
    wait_until_waiting(barrier, 1)
    leader = start(targets.tell_of_barrier, barrier, results)
    assert f"process {leader.pid} died before all could go on" in results.get()


def test_reset_mends_an_aborted_barrier(lib) -> None:
    barrier = lib.Barrier(1)
    barrier.abort()
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait()
    barrier.reset()
    assert barrier.wait() == 0
