"""Objects that are pickled once, for all tasks and processes: `Shared`."""

import functools
import gc
import os
import signal

import procession
import pytest
from library import PATIENCE
from targets import pool as pool_targets
from targets import shared as targets

pytestmark = pytest.mark.procession_only("each task brings its own copy")


def test_object_is_pickled_once_and_unpickled_once_in_each_worker(mp) -> None:
    before = targets.Counting.pickled
    shared = procession.Shared(targets.Counting("content"))
    with mp.Pool(2) as pool:
        found = [pool.apply(targets.use, (shared,)) for _ in range(10)]
        work = functools.partial(targets.use, shared)
        found += pool.map(work, range(20), 1) + pool.map(work, range(20), 5)
        found += list(pool.imap(work, iter(range(5))))
        found += pool.starmap(targets.use, [(shared, 1)] * 5)
        found += [pool.apply(targets.use_in, ({"shared": [shared]},))]
    assert targets.Counting.pickled == before + 1
    assert {content for _, _, content in found} == {"content"}
    # Workers by fork have the very object that this process has.
    expected = 0 if mp.get_start_method() == "fork" else 1
    assert {count for _, count, _ in found} == {expected}


def test_object_that_is_made_later_is_unpickled_once_too(mp) -> None:
    with mp.Pool(1) as pool:
        pool.apply(pool_targets.square, (3,))
        shared = procession.Shared(targets.Counting("later"))
        found = {pool.apply(targets.use, (shared,)) for _ in range(5)}
        assert {(count, content) for _, count, content in found} == {(1, "later")}


def test_object_is_not_unpickled_before_it_is_asked_for(mp) -> None:
    with mp.Pool(1) as pool:
        pool.apply(pool_targets.square, (3,))
        shared = procession.Shared(targets.Counting())
        assert pool.apply(targets.not_used, (shared,)) == 0


def test_arrays_are_read_in_place_and_cannot_be_written(mp) -> None:
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(1 << 20, dtype=float)
    with mp.Pool(2) as pool:
        pool.apply(pool_targets.square, (3,))
        shared = procession.Shared({"array": array, "strided": array[::2]})
        found = pool.map(functools.partial(targets.total, shared), range(20), 1)
    assert {(total, writable) for total, writable, _ in found} == {(array.sum(), False)}


def test_maker_has_the_very_object_and_gets_it_back(mp) -> None:
    content = targets.Counting("mine")
    shared = procession.Shared(content)
    assert shared.value is content
    with mp.Pool(1) as pool:
        assert pool.apply(targets.give_back, (shared,)) is shared


def test_processes_and_queues_carry_it_too(mp, start) -> None:
    shared = procession.Shared(targets.Counting("content"))
    assert start(targets.use, shared).result(PATIENCE)[2] == "content"
    queue = mp.Queue()
    queue.put(shared)
    assert queue.get() is shared


def test_object_lives_as_long_as_a_task_reads_it(mp) -> None:
    gate = started, event = mp.Semaphore(0), mp.Event()
    with mp.Pool(1, pool_targets.initialize, gate) as pool:
        shared = procession.Shared(targets.Counting("content"))
        result = pool.apply_async(targets.read_and_meet, (shared,))
        assert started.acquire(timeout=PATIENCE)
        del shared
        gc.collect()
        event.set()
        assert result.get(PATIENCE) == "content"


def test_worker_lets_go_of_what_nobody_will_give_it_again(mp) -> None:
    with mp.Pool(1) as pool:
        pool.apply(pool_targets.square, (3,))
        for number in range(5):
            shared = procession.Shared(targets.Counting(number))
            assert pool.apply(targets.use, (shared,))[2] == number
            del shared
            gc.collect()
            assert pool.apply(targets.known) == 1
        kept = [procession.Shared(targets.Counting(number)) for number in range(3)]
        for shared in kept:
            pool.apply(targets.use, (shared,))
        assert pool.apply(targets.known) == 3


def test_death_of_a_worker_costs_nobody_the_object(lib, mp) -> None:
    with mp.Pool(1) as pool:
        shared = procession.Shared(targets.Counting("content"))
        pid, _, _ = pool.apply(targets.use, (shared,))
        with pytest.raises(lib.WorkerDied):
            pool.apply(os.kill, (pid, signal.SIGKILL))
        assert pool.apply(targets.use, (shared,))[2] == "content"


def test_task_that_is_run_again_has_it_again(mp) -> None:
    calls = mp.Value("i", 0)
    with mp.Pool(1, pool_targets.initialize, (calls,), retries=1) as pool:
        shared = procession.Shared(targets.Counting("content"))
        assert pool.apply(targets.use, (shared,), retries=1)[2] == "content"


@pytest.mark.methods("spawn")
def test_what_is_defined_here_crosses_by_value(mp) -> None:
    pytest.importorskip("cloudpickle")
    with mp.Pool(1) as pool:
        factor = 7
        shared = procession.Shared(lambda number: number * factor)
        assert pool.apply(lambda: shared.value(6)) == 42


def test_object_that_does_not_pickle_is_refused_where_it_is_shared() -> None:
    with pytest.raises(ValueError, match="does not pickle"):
        procession.Shared(pool_targets.FailsToPickle())


def test_shared_object_shows_what_it_is() -> None:
    assert repr(procession.Shared([1, 2])) == "Shared([1, 2])"
    assert len(repr(procession.Shared("x" * 1000))) < 100
    assert procession.Shared[int].__args__ == (int,)
