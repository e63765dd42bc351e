"""Tasks that may be run again when their worker has died in them."""

import pytest
from library import PATIENCE
from targets import death as targets
from targets import pool as pool_targets

pytestmark = pytest.mark.procession_only("whoever waits for the dead waits for ever")


def test_task_is_run_again_as_often_as_it_may(mp) -> None:
    calls = mp.Value("i", 0)
    with mp.Pool(2, pool_targets.initialize, (calls,)) as pool:
        assert pool.apply(targets.die_at_first, (2,), retries=2) == 3
        others = pool.map_async(pool_targets.square, range(10))
        assert others.get(PATIENCE) == [n * n for n in range(10)]


def test_task_that_kills_every_worker_is_given_up(lib, mp) -> None:
    calls = mp.Value("i", 0)
    with mp.Pool(1, pool_targets.initialize, (calls,)) as pool:
        result = pool.apply_async(targets.die_at_first, (99,), retries=2)
        with pytest.raises(lib.WorkerDied, match="tried 3 times") as caught:
            result.get(PATIENCE)
        assert caught.value.tries == calls.value == 3
        assert caught.value.signal == "SIGKILL"
        assert caught.value.task == "targets.death.die_at_first"
        assert pool.apply(pool_targets.square, (3,)) == 9


def test_task_is_run_once_if_nothing_is_said(lib, mp) -> None:
    calls = mp.Value("i", 0)
    with mp.Pool(1, pool_targets.initialize, (calls,)) as pool:
        with pytest.raises(lib.WorkerDied, match="die_at_first$") as caught:
            pool.apply_async(targets.die_at_first, (99,)).get(PATIENCE)
        assert caught.value.tries == calls.value == 1


def test_pool_may_say_it_for_all_its_calls(lib, mp) -> None:
    calls = mp.Value("i", 0)
    with mp.Pool(1, pool_targets.initialize, (calls,), retries=1) as pool:
        assert pool.apply(targets.die_at_first, (1,)) == 2
        assert pool.map(targets.die_at_first, [3], timeout=60) == [4]
        with pytest.raises(lib.WorkerDied):
            pool.apply(targets.die_at_first, (99,), retries=0)
        assert calls.value == 5


@pytest.mark.parametrize("use", ["imap", "imap_unordered", "map"])
def test_maps_run_their_tasks_again(mp, use) -> None:
    calls = mp.Value("i", 0)
    with mp.Pool(2, pool_targets.initialize, (calls,)) as pool:
        results = getattr(pool, use)(targets.die_at_first, [3] * 6, 1, retries=3)
        assert sorted(results) == [4, 5, 6, 7, 8, 9]


def test_task_with_much_data_is_run_again_with_all_of_it(mp) -> None:
    calls = mp.Value("i", 0)
    data = bytes(range(256)) * 4096
    with mp.Pool(1, pool_targets.initialize, (calls,)) as pool:
        call = targets.die_at_first_of, (data, 1)
        assert pool.apply(*call, retries=1) == (2, data)


def test_what_only_the_task_refers_to_lives_until_it_is_done(mp) -> None:
    calls = mp.Value("i", 0)
    with mp.Pool(1, pool_targets.initialize, (calls,)) as pool:
        lock = mp.Lock()
        result = pool.apply_async(targets.die_at_first_of, (lock, 1), retries=1)
        del lock
        assert result.get(PATIENCE)[0] == 2
        inputs = ((mp.Lock(), 3) for _ in range(2))
        first, second = pool.starmap(targets.die_at_first_of, inputs, 1, retries=1)
        assert (first[0], second[0]) == (4, 5)


def test_error_is_no_reason_to_run_a_task_again(mp) -> None:
    calls = mp.Value("i", 0)
    with mp.Pool(1, pool_targets.initialize, (calls,)) as pool:
        with pytest.raises(ValueError, match="on purpose"):
            pool.apply(pool_targets.fail, retries=5)
        assert calls.value == 0


@pytest.mark.parametrize("retries", [-1, 1.5, "text"])
def test_number_of_retries_is_a_number(lib, retries) -> None:
    with pytest.raises((TypeError, ValueError)):
        lib.Pool(1, retries=retries)
    with lib.Pool(1) as pool, pytest.raises((TypeError, ValueError)):
        pool.apply(pool_targets.square, (3,), retries=retries)
