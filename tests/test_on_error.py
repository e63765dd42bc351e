"""What becomes of a map when a call fails or its worker dies: `on_error`."""

import queue as threads_queue

import pytest
from library import PATIENCE, load
from targets import on_error as targets
from targets import pool as pool_targets

pytestmark = pytest.mark.procession_only("a map goes on, and then raises")

INF = 10_000


def told(error: object) -> object:
    """Returns what tells errors apart that are not the same object."""
    return (type(error), error.args) if isinstance(error, BaseException) else error


# Collect.


@pytest.mark.parametrize("use", ["map", "map_async", "imap"])
@pytest.mark.parametrize("chunksize", [1, 2, 4, 100])
def test_errors_stand_in_their_places(mp, use, chunksize) -> None:
    with mp.Pool(2) as pool:
        results = getattr(pool, use)(
            targets.square, range(6), chunksize, on_error="collect"
        )
        results = list(results.get(PATIENCE) if use == "map_async" else results)
    expected = [0, 1, 4, (ValueError, (3,)), 16, 25]
    assert [told(result) for result in results] == expected
    assert "in square" in str(results[3].__cause__)
    # What calls it there is no news.
    assert "in collect" not in str(results[3].__cause__)


@pytest.mark.parametrize("chunksize", [1, 3])
def test_errors_of_star_and_unordered_maps_are_collected(mp, chunksize) -> None:
    with mp.Pool(2) as pool:
        pairs = [(number, 1) for number in range(5)]
        for use in ("starmap", "starmap_async"):
            results = getattr(pool, use)(
                targets.add, pairs, chunksize, on_error="collect"
            )
            results = results.get(PATIENCE) if use == "starmap_async" else results
            expected = [1, 2, 3, (ValueError, (3, 1)), 5]
            assert [told(result) for result in results] == expected
        results = pool.imap_unordered(
            targets.square, range(5), chunksize, on_error="collect"
        )
        found = {told(result) for result in results}
        assert found == {0, 1, 4, (ValueError, (3,)), 16}


@pytest.mark.parametrize("use", ["map", "imap"])
@pytest.mark.parametrize("chunksize", [1, 2, 5])
@pytest.mark.parametrize("count", [9, 8])
def test_death_stands_in_the_places_of_its_task(lib, mp, use, chunksize, count) -> None:
    inputs = [number for number in range(count) if number != 3]
    with mp.Pool(2) as pool:
        results = list(
            getattr(pool, use)(targets.square, inputs, chunksize, on_error="collect")
        )
    lost = inputs.index(7) // chunksize
    for place, (number, result) in enumerate(zip(inputs, results, strict=True)):
        if place // chunksize == lost:
            assert isinstance(result, lib.WorkerDied)
            assert result.signal == "SIGKILL"
        else:
            assert result == number * number


def test_inputs_of_an_iterator_are_collected_too(lib, mp) -> None:
    inputs = (number for number in (0, 1, 2, 7, 8, 7))
    with mp.Pool(1) as pool:
        results = list(pool.imap(targets.square, inputs, 4, on_error="collect"))
    # The last task has two inputs.
    assert [type(result) for result in results] == [lib.WorkerDied] * 6


def test_timeout_stands_in_its_place(lib, mp) -> None:
    gate = mp.Semaphore(0), mp.Event()
    with mp.Pool(2, pool_targets.initialize, gate) as pool:
        results = pool.map(
            pool_targets.wait_or_square, range(6), timeout=1, on_error="collect"
        )
        assert results[:3] + results[4:] == [0, 1, 4, 16, 25]
        assert isinstance(results[3], lib.TaskTimeout)


@pytest.mark.parametrize("chunksize", [1, 4])
def test_result_that_does_not_cross_costs_no_other(mp, chunksize) -> None:
    maybe = load("pool").MaybeEncodingError
    with mp.Pool(1) as pool:
        results = pool.map(
            targets.lock_for_two, range(4), chunksize, on_error="collect"
        )
    assert [results[0], results[1], results[3]] == [0, 1, 3]
    assert isinstance(results[2], maybe)
    assert "lock" in results[2].value


@pytest.mark.parametrize("chunksize", [1, 4])
def test_input_that_does_not_cross_stands_in_its_place(mp, chunksize) -> None:
    inputs = [1, pool_targets.FailsToPickle(), 2]
    with mp.Pool(1) as pool:
        results = pool.map(pool_targets.same, inputs, chunksize, on_error="collect")
    assert isinstance(results[1], ValueError)
    if chunksize == 1:
        assert [results[0], results[2]] == [1, 2]
    else:
        assert results == [results[1]] * 3


@pytest.mark.parametrize("chunksize", [1, 4])
def test_end_of_a_program_in_a_task_is_collected(lib, mp, chunksize) -> None:
    with mp.Pool(1) as pool:
        results = pool.map(
            targets.exit_for_two, range(4), chunksize, on_error="collect"
        )
    assert [results[0], results[1], results[3]] == [0, 1, 3]
    assert isinstance(results[2], lib.RemoteError)
    assert results[2].type_name == "SystemExit"


def test_callback_is_told_of_a_success(mp) -> None:
    results = threads_queue.Queue()
    with mp.Pool(1) as pool:
        pool.map_async(
            targets.square, [3], callback=results.put, on_error="collect"
        ).wait(PATIENCE)
    assert [told(result) for result in results.get(timeout=PATIENCE)] == [
        (ValueError, (3,))
    ]


def test_error_of_the_inputs_themselves_is_raised(mp) -> None:
    with mp.Pool(1) as pool:
        for chunksize in (1, 2):
            results = pool.imap(
                pool_targets.same,
                targets.numbers_then_error(),
                chunksize,
                on_error="collect",
            )
            found = []
            with pytest.raises(KeyError, match="the input is broken"):
                found.extend(results)


def test_function_that_does_not_cross_is_raised(mp) -> None:
    with mp.Pool(1) as pool:
        function = pool_targets.FailsToPickle()
        for use in (pool.map, pool.imap):
            with pytest.raises(ValueError, match="does not pickle"):
                list(use(function, range(4), on_error="collect"))


def test_end_of_the_pool_and_cancelling_are_raised(lib, mp) -> None:
    gate = mp.Semaphore(0), mp.Event()
    with mp.Pool(1, pool_targets.initialize, gate) as pool:
        result = pool.map_async(
            pool_targets.wait_for_given, range(9), 1, on_error="collect"
        )
        assert gate[0].acquire(timeout=PATIENCE)
        assert result.cancel(kill=True)
        with pytest.raises(lib.CancelledError):
            result.get(PATIENCE)
        result = pool.map_async(
            pool_targets.wait_for_given, range(9), 1, on_error="collect"
        )
        assert gate[0].acquire(timeout=PATIENCE)
        pool.terminate()
        with pytest.raises(lib.ProcessError, match="terminated"):
            result.get(PATIENCE)


# Stop.


def test_first_error_ends_a_map_at_once(mp) -> None:
    gate = started, event = mp.Semaphore(0), mp.Event()
    with mp.Pool(2, pool_targets.initialize, gate) as pool:
        # One waits for the event, which comes later than the error: the map does not.
        with pytest.raises(ValueError, match="0"):
            pool.map(targets.wait_or_fail, [1, 0] + [2] * INF, 1, on_error="stop")
        event.set()
        assert pool.map(pool_targets.square, range(4)) == [0, 1, 4, 9]
        # It is the only one that has begun: none that waited for their turn did after it.
        count = 0
        while started.acquire(block=False):
            count += 1
        assert count <= 2


def test_first_error_ends_a_map_that_somebody_else_waits_for(mp) -> None:
    gate = _, event = mp.Semaphore(0), mp.Event()
    errors = threads_queue.Queue()
    with mp.Pool(2, pool_targets.initialize, gate) as pool:
        result = pool.map_async(
            targets.wait_or_fail,
            [1, 0] + [2] * INF,
            1,
            error_callback=errors.put,
            on_error="stop",
        )
        # Nobody waits for the result: it is told of nevertheless.
        assert isinstance(errors.get(timeout=PATIENCE), ValueError)
        with pytest.raises(ValueError, match="0"):
            result.get(PATIENCE)
        assert result.cancel() is False
        event.set()
        pool.close()
        pool.join()
    assert errors.empty()


def test_death_ends_a_map_at_once(lib, mp) -> None:
    calls = mp.Value("i", 0)
    with mp.Pool(1, pool_targets.initialize, (calls,)) as pool:
        with pytest.raises(lib.WorkerDied):
            pool.map(targets.square, [1, 7, *[2] * INF], 1, on_error="stop")
        with pytest.raises(ValueError):
            pool.map(targets.fail_for_odd, [2, 1, *[2] * INF], 1, on_error="stop")
        # Those that were on their way to the worker may have been run.
        assert calls.value < INF // 2
        with pytest.raises(ValueError):
            pool.map(targets.fail_for_odd, [1, *[2] * 9], 1)
        assert pool.map(targets.square, [2]) == [4]


def test_input_that_does_not_cross_ends_a_map(mp) -> None:
    inputs = [1, pool_targets.FailsToPickle(), *[2] * INF]
    with mp.Pool(1) as pool:
        for chunksize in (1, 2):
            with pytest.raises(ValueError, match="does not pickle"):
                pool.map(pool_targets.same, inputs, chunksize, on_error="stop")
        assert pool.map(targets.square, [2]) == [4]


def test_map_without_errors_is_none_the_worse(mp) -> None:
    with mp.Pool(2) as pool:
        for on_error in ("stop", "continue", "collect"):
            for chunksize in (1, 2, None):
                results = pool.map(
                    pool_targets.square, range(7), chunksize, on_error=on_error
                )
                assert results == [n * n for n in range(7)]
            assert pool.map(targets.no_input, [], on_error=on_error) == []
            assert list(pool.imap(targets.no_input, [], on_error=on_error)) == []


@pytest.mark.parametrize("use", ["imap", "imap_unordered"])
@pytest.mark.parametrize("chunksize", [1, 2])
@pytest.mark.parametrize("blocks", [False, True])
def test_imap_ends_with_the_first_error_that_it_raises(
    mp, use, chunksize, blocks
) -> None:
    inputs = [0, 1, 3, 4, *[5] * INF]
    with mp.Pool(1) as pool:
        given = (number for number in inputs) if blocks else inputs
        results = getattr(pool, use)(targets.square, given, chunksize, on_error="stop")
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(ValueError, match="3"):
            next(results)
        assert list(results) == []
        assert pool.apply(targets.square, (2,)) == 4
        pool.close()
        pool.join()


# Continue, and what cannot be.


def test_by_default_all_tasks_are_run_and_the_first_error_is_raised(mp) -> None:
    calls = mp.Value("i", 0)
    with mp.Pool(1, pool_targets.initialize, (calls,)) as pool:
        for named in ({}, {"on_error": "continue"}):
            with pytest.raises(ValueError, match="1"):
                pool.map(targets.fail_for_odd, range(6), 1, **named)
        assert calls.value == 12
        results = pool.imap(targets.fail_for_odd, range(3))
        assert next(results) == 0
        with pytest.raises(ValueError, match="1"):
            next(results)
        assert next(results) == 2


@pytest.mark.parametrize("on_error", ["raise", "", None, True])
def test_what_is_no_choice_is_refused(lib, on_error) -> None:
    with lib.Pool(1) as pool:
        for use in (pool.map, pool.map_async, pool.starmap, pool.imap):
            with pytest.raises(ValueError, match="on_error must be 'stop', 'continue'"):
                use(pool_targets.square, [], on_error=on_error)


def test_pools_of_threads_and_with_queues_refuse_it() -> None:
    with load("pool").ThreadPool(1) as pool:
        for use in (pool.map, pool.map_async, pool.imap):
            with pytest.raises(ValueError, match="has no on_error"):
                use(pool_targets.square, [1], on_error="collect")
        assert pool.map(pool_targets.square, [2], on_error="continue") == [4]


# What passes for the end of an iteration.

END = "raised StopIteration.*, which is no end of the results$"


@pytest.mark.parametrize("chunksize", [1, 4])
def test_task_cannot_end_an_iteration_over_results(mp, chunksize) -> None:
    with mp.Pool(2) as pool:
        for results in (
            pool.imap(pool_targets.end_at_three, range(8), chunksize),
            pool.imap_unordered(pool_targets.end_at_three, range(8), chunksize),
        ):
            found = []
            with pytest.raises(RuntimeError, match=END) as caught:
                for result in results:
                    found.append(result)  # noqa: PERF402
            found += results
            is_single = chunksize == 1
            assert sorted(found) == ([0, 1, 2] if is_single else []) + [4, 5, 6, 7]
            assert isinstance(caught.value.__cause__, StopIteration) == is_single


def test_chunk_is_not_cut_short_by_a_task(mp) -> None:
    with mp.Pool(2) as pool, load("pool").ThreadPool(2) as threads:
        for each in (pool, threads):
            with pytest.raises(RuntimeError, match=END):
                each.map(pool_targets.end_at_three, range(8), 4)
            with pytest.raises(RuntimeError, match=END):
                each.starmap(pool_targets.end_at_three, [(n, n) for n in range(8)], 4)
        with pytest.raises(StopIteration):
            pool.map(pool_targets.end_at_three, range(8), 1)
        collected = pool.map(pool_targets.end_at_three, range(5), 5, on_error="collect")
        assert isinstance(collected.pop(3), StopIteration)
        assert collected == [0, 1, 2, 4]
