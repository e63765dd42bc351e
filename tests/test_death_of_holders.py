"""Who dies with a lock, a permit or a place in a line leaves it to the others.

`multiprocessing` lets them wait for ever.
"""

import threading

import pytest
from library import MOMENT, PATIENCE, kill
from targets import death as targets
from targets import synchronize

pytestmark = pytest.mark.procession_only("whoever waits for the dead waits for ever")


# The owner of a lock.


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_one_of_those_who_wait_is_told_that_the_owner_died(mp, start, kind) -> None:
    lock, sign, results = getattr(mp, kind)(), mp.Semaphore(0), mp.SimpleQueue()
    owner = start(targets.hold, lock, sign)
    assert sign.acquire(timeout=PATIENCE)
    for _ in range(3):
        start(targets.acquire, lock, sign, results)
    for _ in range(3):
        assert sign.acquire(timeout=PATIENCE)
    kill(owner)
    told = sorted(results.get() for _ in range(3))
    assert told == ["OwnerDied", "acquired", "acquired"]
    assert lock.acquire(timeout=PATIENCE) is True
    lock.release()


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_who_comes_after_the_death_of_the_owner_is_told(lib, mp, start, kind) -> None:
    lock, sign = getattr(mp, kind)(), mp.Semaphore(0)
    owner = start(targets.hold, lock, sign)
    assert sign.acquire(timeout=PATIENCE)
    kill(owner)
    with pytest.raises(lib.OwnerDied):
        lock.acquire(timeout=PATIENCE)
    with lock:
        assert lock.acquire(block=False) is (kind == "RLock")
        if kind == "RLock":
            lock.release()


def test_context_manager_tells_that_the_owner_died(lib, mp, start) -> None:
    lock, sign = mp.Lock(), mp.Semaphore(0)
    owner = start(targets.hold, lock, sign)
    assert sign.acquire(timeout=PATIENCE)
    kill(owner)
    entered = False
    with pytest.raises(lib.OwnerDied), lock:
        entered = True
    assert entered is False
    with lock:
        pass


def test_death_of_who_waits_for_a_lock_is_nobodys_business(mp, start) -> None:
    lock, sign, results = mp.Lock(), mp.Semaphore(0), mp.SimpleQueue()
    with lock:
        waiters = [start(targets.acquire, lock, sign, results) for _ in range(2)]
        for _ in range(2):
            assert sign.acquire(timeout=PATIENCE)
        kill(waiters[0])
    assert results.get() == "acquired"
    assert lock.acquire(timeout=PATIENCE) is True
    lock.release()


# Other things to wait for.


@pytest.mark.parametrize("kind", ["Semaphore", "BoundedSemaphore"])
def test_what_the_dead_took_of_a_semaphore_comes_back(mp, start, kind) -> None:
    semaphore, sign = getattr(mp, kind)(2), mp.Semaphore(0)
    holders = [start(targets.hold, semaphore, sign) for _ in range(2)]
    for _ in range(2):
        assert sign.acquire(timeout=PATIENCE)
    assert semaphore.acquire(timeout=MOMENT) is False
    kill(holders[0])
    assert semaphore.acquire(timeout=PATIENCE) is True
    assert semaphore.acquire(timeout=MOMENT) is False
    kill(holders[1])
    assert semaphore.acquire(timeout=PATIENCE) is True
    semaphore.release()
    semaphore.release()
    assert semaphore.get_value() == 2


def test_dead_sleeper_does_not_swallow_a_notification(mp, start) -> None:
    condition, sleeping, woken = mp.Condition(), mp.Semaphore(0), mp.Semaphore(0)
    sleepers = []
    for _ in range(2):
        sleepers.append(
            start(synchronize.wait_on_condition, condition, sleeping, woken)
        )
        assert sleeping.acquire(timeout=PATIENCE)
        with condition:
            pass  # It has the lock no more, so it sleeps: the first comes first.
    kill(sleepers[0])
    with condition:
        condition.notify()
    assert woken.acquire(timeout=PATIENCE) is True


def test_owner_of_a_condition_may_die(lib, mp, start) -> None:
    condition, sign = mp.Condition(), mp.Semaphore(0)
    owner = start(targets.hold, condition, sign)
    assert sign.acquire(timeout=PATIENCE)
    kill(owner)
    with pytest.raises(lib.OwnerDied):
        condition.acquire()
    with condition:
        condition.notify_all()


def test_who_waits_on_a_condition_is_told_that_the_owner_died(lib, mp, start) -> None:
    condition, sign = mp.Condition(), mp.Semaphore(0)

    def kill_when_it_holds() -> None:
        assert sign.acquire(timeout=PATIENCE)
        kill(owner)

    killer = threading.Thread(target=kill_when_it_holds)
    with pytest.raises(lib.OwnerDied), condition:
        owner = start(targets.notify_and_hold, condition, sign)
        killer.start()
        condition.wait(PATIENCE)
    killer.join()
    with condition:
        condition.notify_all()


def test_death_of_who_waits_for_an_event_is_nobodys_business(mp, start) -> None:
    event, ready, results = mp.Event(), mp.Semaphore(0), mp.SimpleQueue()
    waiters = [
        start(synchronize.wait_for_event, event, ready, results) for _ in range(2)
    ]
    for _ in range(2):
        assert ready.acquire(timeout=PATIENCE)
    kill(waiters[0])
    event.set()
    assert results.get() is True
