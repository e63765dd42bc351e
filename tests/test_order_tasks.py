"""Maps whose tasks are dealt to the workers in a fixed order: `order_tasks`."""

import procession
import pytest
from library import PATIENCE
from targets import order as targets
from targets import pool as pool_targets

pytestmark = pytest.mark.procession_only("whichever worker is free has the next task")

MAPS = ["map", "map_async", "imap", "starmap", "starmap_async"]


def results_of(call, function, inputs, chunksize, **options) -> list:
    name = call.__name__
    if name.startswith("starmap"):
        inputs = [(each,) for each in inputs]
    results = call(function, inputs, chunksize, order_tasks=True, **options)
    return list(results.get(PATIENCE) if name.endswith("_async") else results)


@pytest.mark.parametrize("chunksize", [1, 3])
@pytest.mark.parametrize("name", MAPS)
def test_each_task_goes_to_the_worker_whose_turn_it_is(mp, name, chunksize) -> None:
    with mp.Pool(3) as pool:
        # Each begins with the first worker again.
        for _ in range(2):
            found = results_of(getattr(pool, name), targets.index, range(50), chunksize)
            assert found == [n // chunksize % 3 for n in range(50)]


def test_results_may_come_in_any_order(mp) -> None:
    with mp.Pool(3) as pool:
        found = pool.imap_unordered(targets.index, range(30), order_tasks=True)
        assert sorted(found) == sorted(n % 3 for n in range(30))


def test_inputs_may_come_slowly(mp) -> None:
    with mp.Pool(2) as pool:
        inputs = (each for each in range(20))
        found = pool.imap(targets.index, inputs, 2, order_tasks=True)
        assert list(found) == [n // 2 % 2 for n in range(20)]


def test_a_busy_worker_holds_up_its_own_tasks_alone(mp) -> None:
    started, event = gate = mp.Semaphore(0), mp.Event()
    with mp.Pool(2, pool_targets.initialize, gate) as pool:
        result = pool.map_async(targets.index_but_wait, range(20), 1, order_tasks=True)
        assert started.acquire(timeout=PATIENCE)
        # The other worker has done its own, and what any may have.
        assert pool.map(targets.index, range(5), 1) == [1] * 5
        event.set()
        assert result.get(PATIENCE) == [n % 2 for n in range(20)]


def test_what_replaces_a_killed_worker_has_its_tasks(mp) -> None:
    with mp.Pool(3) as pool:
        found = pool.map(
            targets.index_or_die, range(20), 1, order_tasks=True, on_error="collect"
        )
        assert isinstance(found.pop(4), procession.WorkerDied)
        assert found == [n % 3 for n in range(20) if n != 4]


def test_a_task_is_tried_again_in_its_place(mp) -> None:
    counter = mp.Value("i", 0)
    with mp.Pool(3) as pool:
        found = pool.starmap(
            targets.index_after_death,
            [(n, counter) for n in range(20)],
            1,
            order_tasks=True,
            retries=1,
        )
    assert counter.value == 2
    assert found == [n % 3 for n in range(20)]


def test_workers_that_do_few_tasks_hand_their_index_on(mp) -> None:
    with mp.Pool(2, maxtasksperchild=2) as pool:
        found = pool.map(targets.index, range(12), 1, order_tasks=True)
        assert found == [n % 2 for n in range(12)]


def test_another_size_is_another_order(mp) -> None:
    with mp.Pool(3) as pool:
        assert pool.map(targets.index, range(6), 1, order_tasks=True) == [0, 1, 2] * 2
        pool.resize(2)
        assert pool.map(targets.index, range(6), 1, order_tasks=True) == [0, 1] * 3
        pool.resize(4)
        found = pool.map(targets.index, range(8), 1, order_tasks=True)
        assert found == [0, 1, 2, 3] * 2


def test_what_waits_for_its_turn_is_cancelled(mp) -> None:
    started, event = gate = mp.Semaphore(0), mp.Event()
    with mp.Pool(2, pool_targets.initialize, gate) as pool:
        result = pool.map_async(
            targets.index_but_wait, range(2000), 1, order_tasks=True
        )
        assert started.acquire(timeout=PATIENCE)
        result.cancel()
        event.set()
        with pytest.raises(procession.CancelledError):
            result.get(PATIENCE)
        assert pool.map(targets.index, range(4), 1, order_tasks=True) == [0, 1, 0, 1]


def test_only_true_and_false_say_so_and_only_of_processes(lib) -> None:
    with (
        lib.Pool(1) as pool,
        pytest.raises(TypeError, match="order_tasks must be True or False"),
    ):
        pool.map(abs, [1], order_tasks=2)
    with (
        lib.pool.ThreadPool(1) as threads,
        pytest.raises(ValueError, match="there is no order_tasks"),
    ):
        threads.map(abs, [1], order_tasks=True)


def test_a_cluster_refuses_it() -> None:
    context = procession.get_context("loopback://1")
    try:
        with context.Pool(1) as pool:
            for name in ("map", "imap"):
                with pytest.raises(ValueError, match="there is no order_tasks"):
                    getattr(pool, name)(abs, [1], order_tasks=True)
            assert pool.map(abs, [-1]) == [1]
    finally:
        context.close()
