"""Every type that a manager makes, used from a child through its proxy."""

import queue
import threading

import pytest
from library import PATIENCE, load
from targets import manager_types as targets


@pytest.fixture(scope="module")
def manager(mp):
    with mp.Manager() as manager:
        yield manager
    manager.join()


@pytest.fixture
def use(manager, call):
    """Returns a function that has a child call a function with things of a manager."""
    return call


def test_list_has_all_methods_of_one(manager, use) -> None:
    items = manager.list([3, 1, 2])
    assert use(targets.use_list, items) == [9, 3, 2, 1, 1, 0]
    assert items[:] == [9, 3, 2, 1, 1, 0]
    assert (items[0], items[-2:], len(items), 3 in items) == (9, [1, 0], 6, True)
    assert (items.count(1), items.index(2)) == (2, 2)
    assert str(items) == "[9, 3, 2, 1, 1, 0]"
    items += [7]
    items *= 2
    assert len(items) == 14
    assert (items + [5])[-1] == 5
    with pytest.raises(IndexError):
        items[100]


def test_dictionary_has_all_methods_of_one(manager, use) -> None:
    mapping = manager.dict({"a": 1}, b=2)
    assert use(targets.use_dict, mapping) == {"a": 10, "c": 3, "d": None}
    assert sorted(mapping.keys()) == ["a", "c", "d"]
    assert sorted(mapping) == ["a", "c", "d"]
    assert dict(mapping) == mapping.copy() == {"a": 10, "c": 3, "d": None}
    assert sorted(mapping.values(), key=str) == [10, 3, None]
    assert ("c", 3) in mapping.items()
    assert mapping.get("absent", "nothing") == "nothing"
    assert len(mapping) == 3
    with pytest.raises(KeyError):
        del mapping["absent"]


@pytest.mark.procession_only("only the manager's own process may iterate there")
def test_dictionary_can_be_iterated_in_a_child(manager, use) -> None:
    assert use(targets.keys_of, manager.dict(a=1, b=2)) == ["a", "b"]


@pytest.mark.procession_only("only CPython 3.14 has it")
def test_set_has_methods_of_one(manager, use) -> None:
    things = manager.set([1, 2])
    assert use(targets.use_set, things) == {2, 3}
    assert 3 in things
    assert len(things) == 2


def test_namespace_and_value_are_seen_by_all(manager, use) -> None:
    space, value = manager.Namespace(x=1), manager.Value("i", 5)
    assert use(targets.use_namespace, space, value) == 6
    assert (space.y, value.value, value.get()) == ("new", 6, 6)
    assert not hasattr(space, "x")


def test_array_is_seen_by_all(manager, use) -> None:
    numbers = manager.Array("i", [1, 2, 3])
    assert list(use(targets.use_array, numbers)) == [1, 20, 3]
    assert (numbers[1], len(numbers), list(numbers[1:])) == (20, 3, [20, 3])


def test_queues_carry_items_both_ways(manager, start) -> None:
    tasks, answers = manager.JoinableQueue(), manager.Queue(2)
    start(targets.use_queues, tasks, answers)
    for number in range(3):
        tasks.put(number)
    assert [answers.get(timeout=PATIENCE) for _ in range(3)] == [0, 10, 20]
    tasks.join()
    tasks.put(None)
    with pytest.raises(queue.Empty):
        answers.get_nowait()
    assert (answers.empty(), answers.full(), answers.qsize()) == (True, False, 0)


@pytest.mark.parametrize(
    "kind", ["Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition"]
)
def test_lock_keeps_others_out(manager, start, kind) -> None:
    lock, counter = getattr(manager, kind)(), manager.Value("i", 0)
    children = [start(targets.count_under, lock, counter, 10) for _ in range(2)]
    for child in children:
        child.join()
    assert counter.value == 20
    assert lock.acquire(False)
    lock.release()


def test_condition_wakes_who_waits(manager, start) -> None:
    condition, items = manager.Condition(), manager.list()
    child = start(targets.wait_for_item, condition, items)
    with condition:
        items.append("one")
        condition.notify_all()
    child.join()
    assert items[:] == ["one", "seen"]


def test_event_and_barrier_bring_processes_together(manager, start) -> None:
    event, barrier = manager.Event(), manager.Barrier(2)
    child = start(targets.meet, event, barrier)
    assert event.wait(PATIENCE)
    assert event.is_set()
    assert barrier.parties == 2
    barrier.wait(PATIENCE)
    child.join()
    assert child.exitcode == 0
    event.clear()
    assert not event.wait(0)
    barrier.abort()
    assert barrier.broken
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait()
    barrier.reset()
    assert barrier.n_waiting == 0


def test_pool_of_a_manager_works_for_others(mp, use) -> None:
    # A server of its own: it keeps what it has booted ahead for the pool.
    with mp.Manager() as manager:
        pool = manager.Pool(2)
        assert use(targets.use_pool, pool) == [0, 1, 4, 9]
        result = pool.apply_async(targets.square, (5,))
        assert result.get(PATIENCE) == 25
        assert list(pool.imap(targets.square, range(3))) == [0, 1, 4]
        del result
        pool.terminate()
        pool.join()
    manager.join()


def test_proxies_may_lie_in_one_another(manager, use) -> None:
    outer, inner = manager.dict(), manager.list([manager.dict(deep=1)])
    outer["inner"] = inner
    assert use(targets.use_nested, outer) == 2
    assert inner[0]["deep"] == 2
    assert outer["inner"][0].copy() == {"deep": 2}


def test_proxy_of_a_type_of_ones_own_has_its_public_methods(mp, start) -> None:
    targets.Manager.register("Thing", targets.Thing)
    targets.Manager.register(
        "Some", targets.Thing, exposed=("__len__", "_private", "public")
    )
    with targets.Manager(ctx=mp) as manager:
        thing, some = manager.Thing(4), manager.Some(3)
        start(targets.use_thing, thing).join()
        assert thing.public() == 5
        assert not hasattr(thing, "_private")
        assert some._private() == "private"
        assert some._callmethod("__len__") == 3
        assert some._getvalue().number == 3
        assert load("managers").BaseProxy in type(thing).__mro__
    manager.join()
