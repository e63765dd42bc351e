"""`ProcessPoolExecutor` of procession: what the standard library promises, and what is beyond.

What both promise is tested on both. `test_executor.py` has the standard library's
executor on our contexts.

Size: they are all of one class.
"""

import asyncio
import concurrent.futures
import functools
import gc
import importlib
import os
import signal
import sys
import threading
import time
import weakref

import library
import pytest
from library import MOMENT, PATIENCE
from targets import death as death_targets
from targets import futures as targets
from targets import on_error as errors
from targets import pool as pool_targets

ours = importlib.import_module(
    "procession.futures" if library.name == "procession" else "concurrent.futures"
)
CANCELS = "a future that was handed to the queue cannot be cancelled"
DEATHS = "the death of one worker is the end of all"


@pytest.fixture
def make(mp):
    """Returns a function that makes an executor, which is shut down after the test."""
    made = []

    def make(size=2, *initargs, **options):
        if initargs:
            options |= {"initializer": pool_targets.initialize, "initargs": initargs}
        made.append(ours.ProcessPoolExecutor(size, mp, **options))
        return made[-1]

    yield make
    while made:
        made.pop().shutdown(cancel_futures=True)


@pytest.fixture
def gates(mp):
    """Returns two semaphores: tasks tell that they have begun, and are told to end."""
    gates = [mp.Semaphore(0), mp.Semaphore(0)]
    yield gates
    gates.clear()  # What a test was given is kept until the look behind it is over.


def test_calls_are_made_with_their_arguments(make) -> None:
    executor = make()
    future = executor.submit(targets.add, 1, 2, third=3)
    assert future.result(PATIENCE) == 6
    assert isinstance(future, concurrent.futures.Future)
    assert executor.submit(os.getpid).result(PATIENCE) != os.getpid()


@pytest.mark.parametrize("chunksize", [1, 3, 50])
def test_map_gives_the_results_in_order(make, chunksize) -> None:
    executor = make()
    squares = executor.map(pool_targets.square, iter(range(20)), chunksize=chunksize)
    assert list(squares) == [number * number for number in range(20)]
    sums = executor.map(targets.add, range(20), range(1, 9), chunksize=chunksize)
    assert list(sums) == [2 * number + 1 for number in range(8)]
    assert list(executor.map(targets.add, chunksize=chunksize)) == []


def test_error_of_a_call_in_a_map_ends_it(make) -> None:
    results = make().map(targets.fail_at, range(10), [3] * 10)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="3"):
        next(results)
    assert list(results) == []


def test_map_ends_when_its_time_is_over(make, gates) -> None:
    executor = make(1, *gates)
    begin = time.monotonic()
    results = executor.map(targets.begin_and_wait, range(2), timeout=MOMENT)
    with pytest.raises(TimeoutError):
        next(results)
    assert time.monotonic() - begin >= MOMENT
    gates[1].release()
    gates[1].release()


def test_map_is_computed_though_nobody_asks_for_its_results(make, mp) -> None:
    called = mp.Semaphore(0)
    executor = make(2, called)
    results = executor.map(targets.count, range(3000))
    for _ in range(3000):
        assert called.acquire(timeout=PATIENCE)
    assert list(results) == list(range(3000))


@pytest.mark.procession_only("before Python 3.14 there is no buffersize")
@pytest.mark.parametrize("chunksize", [1, 2])
def test_map_reads_no_more_inputs_than_its_buffer_takes(make, chunksize) -> None:
    taken = []

    def inputs():
        for number in range(40):
            taken.append(number)
            yield number

    results = make().map(targets.add, inputs(), chunksize=chunksize, buffersize=4)
    assert len(taken) == 4 * chunksize
    assert next(results) == 0
    assert len(taken) == 5 * chunksize
    assert list(results) == list(range(1, 40))
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="buffersize"):
            make().map(targets.add, [1], buffersize=wrong)
    with pytest.raises(TypeError, match="buffersize"):
        make().map(targets.add, [1], buffersize=1.5)


def test_wait_and_as_completed_take_the_futures(make, gates) -> None:
    executor = make(2, *gates)
    slow = executor.submit(targets.begin_and_wait, "slow")
    fast = [executor.submit(targets.add, number) for number in range(5)]
    done = concurrent.futures.as_completed([slow, *fast], PATIENCE)
    assert sorted(next(done).result() for _ in range(5)) == list(range(5))
    finished, left = concurrent.futures.wait([slow, *fast], 0)
    assert (finished, left) == (set(fast), {slow})
    gates[1].release()
    assert next(done).result() == "slow"


def test_loop_of_asyncio_runs_calls_in_the_executor(make) -> None:
    executor = make()

    async def main():
        loop = asyncio.get_running_loop()
        call = functools.partial(loop.run_in_executor, executor, pool_targets.square)
        return await asyncio.gather(*map(call, range(50)))

    assert asyncio.run(main()) == [number * number for number in range(50)]


def test_future_is_wrapped_for_asyncio(make) -> None:
    executor = make()

    async def main() -> None:
        number = asyncio.wrap_future(executor.submit(targets.add, 1, 2))
        failed = asyncio.wrap_future(executor.submit(targets.fail_at, 3, 3))
        assert await number == 3
        with pytest.raises(ValueError, match="3"):
            await failed

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


@pytest.mark.slow
@pytest.mark.procession_only("there it takes what it takes")
def test_who_is_called_back_is_not_kept_waiting(make) -> None:
    executor = make(1)
    count = 50

    async def main() -> float:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(executor, targets.add, 1)
        begin = time.monotonic()
        for _ in range(count):
            await loop.run_in_executor(executor, targets.add, 1)
        return (time.monotonic() - begin) / count

    assert library.comes_below(lambda: asyncio.run(main()), 0.0005)


def test_future_runs_when_a_worker_has_begun_with_it(make, gates) -> None:
    executor = make(1, *gates)
    first = executor.submit(targets.begin_and_wait, 1)
    assert gates[0].acquire(timeout=PATIENCE)
    assert first.running()
    assert not first.cancel()
    assert "state=running" in repr(first)
    gates[1].release()
    assert first.result(PATIENCE) == 1
    assert not first.running()
    assert "state=finished returned int" in repr(first)


@pytest.mark.procession_only(CANCELS)
def test_future_that_no_worker_has_begun_with_can_be_cancelled(make, gates) -> None:
    executor = make(1, *gates)
    first = executor.submit(targets.begin_and_wait, 1)
    assert gates[0].acquire(timeout=PATIENCE)
    others = [executor.submit(targets.begin_and_wait, 2) for _ in range(3)]
    called = []
    others[0].add_done_callback(called.append)
    assert not any(other.running() for other in others)
    assert all(other.cancel() for other in others)
    assert called == [others[0]]
    assert all(other.cancelled() and other.cancel() for other in others)
    assert concurrent.futures.wait(others, 0).not_done == set()
    with pytest.raises(concurrent.futures.CancelledError):
        others[0].result()
    gates[1].release()
    assert first.result(PATIENCE) == 1
    assert executor.submit(targets.add, 4).result(PATIENCE) == 4
    # None of those that were cancelled has run.
    assert not gates[0].acquire(block=False)


@pytest.mark.procession_only("a task that runs cannot be cancelled")
def test_cancel_kills_the_task_that_runs_and_no_other(make, gates) -> None:
    executor = make(2, *gates)
    victim = executor.submit(targets.begin_and_stay)
    assert gates[0].acquire(timeout=PATIENCE)
    others = [executor.submit(targets.begin_and_wait, number) for number in range(4)]
    assert gates[0].acquire(timeout=PATIENCE)
    called = []
    victim.add_done_callback(called.append)
    assert not victim.cancel()
    assert victim.cancel(kill=True)
    assert victim.cancelled()
    assert called == [victim]
    with pytest.raises(concurrent.futures.CancelledError):
        victim.result(PATIENCE)
    for _ in others:
        gates[1].release()
    assert [other.result(PATIENCE) for other in others] == list(range(4))
    assert not others[0].cancel(kill=True)


@pytest.mark.procession_only(DEATHS)
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_dead_worker_fails_the_task_that_it_ran_and_no_other(lib, make, signum) -> None:
    executor = make()
    executor.submit(targets.add, 1).result(PATIENCE)
    before = [executor.submit(targets.add, number) for number in range(10)]
    victim = executor.submit(death_targets.die, signum)
    after = [executor.submit(targets.add, number) for number in range(10)]
    error = victim.exception(PATIENCE)
    from concurrent.futures.process import BrokenProcessPool

    assert isinstance(error, ours.WorkerDied)
    assert isinstance(error, lib.WorkerDied)
    assert isinstance(error, BrokenProcessPool)
    assert (error.signal, error.task) == (
        signal.Signals(signum).name,
        "targets.death.die",
    )
    assert [future.result(PATIENCE) for future in before + after] == [*range(10)] * 2
    assert executor.submit(targets.add, 1).result(PATIENCE) == 1


@pytest.mark.procession_only(DEATHS)
def test_dead_worker_ends_the_map_that_it_worked_for(make) -> None:
    executor = make()
    results = executor.map(death_targets.die_if, range(5), [2] * 5)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ours.BrokenProcessPool):
        next(results)
    assert list(executor.map(pool_targets.square, range(5))) == [0, 1, 4, 9, 16]


@pytest.mark.procession_only("there are no such options")
def test_view_says_how_long_a_task_may_take_and_how_often_it_is_tried(lib, mp) -> None:
    calls = mp.Value("i", 0)
    options = {"initializer": pool_targets.initialize, "initargs": (calls,)}
    with ours.ProcessPoolExecutor(2, mp, **options) as executor:
        view = executor.with_options(retries=2)
        assert view.submit(death_targets.die_at_first, 2).result(PATIENCE) == 3
        assert list(view.map(death_targets.die_at_first, [4])) == [5]
        with pytest.raises(lib.TaskTimeout):
            executor.with_options(timeout=MOMENT).submit(signal.pause).result(PATIENCE)
        with pytest.raises(ours.WorkerDied):
            executor.submit(death_targets.die_at_first, 99).result(PATIENCE)
        assert view.submit(targets.add, 1).result(PATIENCE) == 1
    with pytest.raises(RuntimeError, match="after shutdown"):
        view.submit(targets.add, 1)


@pytest.mark.procession_only("there are no such options")
def test_executor_says_the_same_for_all_its_tasks(lib, mp) -> None:
    calls = mp.Value("i", 0)
    options = {"initializer": pool_targets.initialize, "initargs": (calls,)}
    with ours.ProcessPoolExecutor(1, mp, retries=1, **options) as executor:
        assert executor.submit(death_targets.die_at_first, 1).result(PATIENCE) == 2
        with pytest.raises(lib.TaskTimeout):
            executor.with_options(timeout=MOMENT).submit(signal.pause).result(PATIENCE)
        once = executor.with_options(retries=0)
        with pytest.raises(ours.WorkerDied, match="die_at_first$"):
            once.submit(death_targets.die_at_first, 3).result(PATIENCE)
        assert once.with_options(retries=1)._terms[:2] == (None, 1)


@pytest.mark.procession_only("there are no such options")
def test_tasks_of_an_executor_may_take_as_long_as_it_says(lib, mp) -> None:
    with ours.ProcessPoolExecutor(1, mp, timeout=MOMENT) as executor:
        with pytest.raises(lib.TaskTimeout, match=f"longer than {MOMENT} s"):
            executor.submit(signal.pause).result(PATIENCE)
        with pytest.raises(lib.TaskTimeout):
            list(executor.map(time.sleep, [0, PATIENCE]))
        patient = executor.with_options(timeout=None)
        assert patient.submit(targets.add, 1).result(PATIENCE) == 1


@pytest.mark.procession_only("there are no such options")
def test_view_lifts_a_limit_and_keeps_the_rest(mp) -> None:
    with ours.ProcessPoolExecutor(
        1, mp, timeout=MOMENT, soft_timeout=MOMENT / 2, retries=1
    ) as executor:
        hard = executor.with_options(soft_timeout=None)
        assert hard._terms[:3] == (MOMENT, 1, None)
        patient = hard.with_options(timeout=None)
        assert patient.submit(time.sleep, 2 * MOMENT).result(PATIENCE) is None
        assert patient.with_options(priority=3)._terms[:4] == (None, 1, None, 3)


@pytest.mark.slow
@pytest.mark.procession_only("there are no such options")
def test_task_that_needs_more_memory_than_it_may_have_fails_alone(lib, make) -> None:
    # Of which an interpreter without a GIL reserves a gigabyte for itself.
    executor = make(1, memory_limit=1500 << 20)
    with pytest.raises(lib.MemoryLimitExceeded):
        executor.submit(targets.fill_memory).result(PATIENCE)
    assert executor.submit(targets.add, 1).result(PATIENCE) == 1


@pytest.mark.parametrize(
    "kind", ["argument", "result", "read", "unsendable", "unreadable"]
)
def test_what_does_not_cross_fails_its_own_future(make, kind) -> None:
    if library.name == "multiprocessing" and kind in ("read", "unreadable"):
        pytest.skip("there it is the end of all")
    function, *args = {
        "argument": (targets.add, threading.Lock()),
        "result": (pool_targets.return_lock,),
        "read": (targets.return_unreadable,),
        "unsendable": (targets.raise_unsendable,),
        "unreadable": (targets.raise_unreadable,),
    }[kind]
    executor = make(1)
    futures = [executor.submit(targets.add, 1), executor.submit(function, *args)]
    futures.append(executor.submit(targets.add, 2))
    assert futures[1].exception(PATIENCE) is not None
    assert [futures[0].result(PATIENCE), futures[2].result(PATIENCE)] == [1, 2]


@pytest.mark.parametrize("options", [{}, {"chunksize": 4}])
@pytest.mark.parametrize("buffersize", [None, 2])
def test_call_cannot_end_its_map(make, options, buffersize) -> None:
    if buffersize is not None:
        if library.name == "multiprocessing" and sys.version_info < (3, 14):
            pytest.skip("there is no such option")
        options = options | {"buffersize": buffersize}
    with pytest.raises(RuntimeError, match="StopIteration"):
        list(make(2).map(pool_targets.end_at_three, range(8), **options))


@pytest.mark.procession_only("there is no such note")
@pytest.mark.parametrize("call", ["submit", "map"])
def test_error_of_a_result_that_does_not_cross_says_what_to_do(make, call) -> None:
    executor = make(1)
    with pytest.raises(TypeError, match="cannot pickle") as caught:
        if call == "submit":
            executor.submit(threading.Semaphore).result(PATIENCE)
        else:
            list(executor.map(threading.Semaphore, [0], timeout=PATIENCE))
    # From Python 3.14 on pickle has notes of its own.
    begin = "What cannot be pickled is what the task returned, of the class"
    (note,) = (note for note in caught.value.__notes__ if note.startswith(begin))
    assert "'Semaphore'" in note and "have it return" in note


def test_exit_in_a_task_is_the_error_of_its_future(make) -> None:
    executor = make(1)
    error = executor.submit(targets.exit_with, 3).exception(PATIENCE)
    assert isinstance(error, SystemExit)
    assert error.code == 3
    assert executor.submit(targets.add, 1).result(PATIENCE) == 1


def test_initializer_that_fails_breaks_the_executor(mp) -> None:
    from concurrent.futures.process import BrokenProcessPool

    options = {"initializer": pool_targets.fail, "initargs": ("at first",)}
    with ours.ProcessPoolExecutor(2, mp, **options) as executor:
        errors = []
        for number in range(3):
            try:
                errors.append(executor.submit(targets.add, number).exception(PATIENCE))
            except BrokenProcessPool as error:
                errors.append(error)
        assert all(isinstance(error, BrokenProcessPool) for error in errors)
        with pytest.raises(BrokenProcessPool):
            executor.submit(targets.add, 1)
        with pytest.raises(BrokenProcessPool):
            next(executor.map(targets.add, [1]))


def test_nothing_is_submitted_after_a_shutdown(make) -> None:
    executor = make()
    future = executor.submit(targets.add, 1)
    executor.shutdown()
    assert future.result(0) == 1
    for submit in (executor.submit, executor.map):
        with pytest.raises(RuntimeError, match="after shutdown"):
            submit(targets.add, [1])
    executor.shutdown()
    unused = make()
    unused.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        unused.submit(targets.add, 1)


def test_shutdown_may_cancel_what_has_not_begun(make, gates) -> None:
    executor = make(1, *gates)
    first = executor.submit(targets.begin_and_wait, 1)
    assert gates[0].acquire(timeout=PATIENCE)
    others = [executor.submit(targets.begin_and_wait, 2) for _ in range(20)]
    results = executor.map(targets.begin_and_wait, range(20))
    executor.shutdown(wait=False, cancel_futures=True)
    gates[1].release()
    gates[1].release()  # For the one that the standard library has handed out already.
    gates[1].release()
    executor.shutdown()
    assert first.result(PATIENCE) == 1
    concurrent.futures.wait(others, PATIENCE)
    assert sum(other.cancelled() for other in others) >= 18
    with pytest.raises(concurrent.futures.CancelledError):
        list(results)


def test_executor_that_nobody_has_does_what_it_has_to(make, gates, mp) -> None:
    options = {"initializer": pool_targets.initialize, "initargs": gates}
    executor = ours.ProcessPoolExecutor(1, mp, **options)
    futures = [executor.submit(targets.begin_and_wait, number) for number in range(5)]
    results = executor.map(targets.add, range(5))
    seen = weakref.ref(executor)
    del executor
    gc.collect()
    assert seen() is None
    for _ in futures:
        gates[1].release()
    assert [future.result(PATIENCE) for future in futures] == list(range(5))
    assert list(results) == list(range(5))


def test_program_does_what_it_has_submitted_before_it_ends(prints) -> None:
    lines = prints(f"""
        import os, {ours.__name__}
        from {library.name} import get_context

        def tell(text):
            os.write(1, f"{{text}}\\n".encode())

        if __name__ == "__main__":
            executors = [{ours.__name__}.ProcessPoolExecutor(2) for _ in range(3)]
            for executor in executors:
                for number in range(5):
                    executor.submit(tell, number)
            executors[0].shutdown(wait=False)
            del executor, executors[1]
            tell("ends")
    """)
    assert sorted(lines) == sorted([*map(str, range(5))] * 3 + ["ends"])


@pytest.mark.procession_only("there the copy waits for ever")
def test_forked_copy_of_a_program_has_no_workers_and_ends(prints) -> None:
    lines = prints("""
        import os, sys, warnings
        from procession.futures import ProcessPoolExecutor

        if __name__ == "__main__":
            executor = ProcessPoolExecutor(2)
            executor.submit(abs, -1).result()
            # From Python 3.12 on it warns of the thread that brings results.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
            if pid == 0:
                try:
                    executor.submit(abs, -1)
                except AssertionError as error:
                    print(error, flush=True)
                executor.shutdown()
                sys.exit(0)
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
            print(executor.submit(abs, -2).result())
    """)
    assert lines == [
        "the pool belongs to the process that made it, not to this forked copy",
        "0",
        "2",
    ]


def test_callback_is_called_in_order_with_the_future(make) -> None:
    future = make().submit(targets.add, 1)
    called = threading.Event()
    order = []
    future.add_done_callback(lambda done: order.append((1, done)))
    future.add_done_callback(lambda done: order.append((2, done)))
    future.add_done_callback(lambda _: called.set())
    assert called.wait(PATIENCE)
    assert order == [(1, future), (2, future)]
    future.add_done_callback(lambda done: order.append((3, done)))
    assert order[2:] == [(3, future)]


def test_shutdown_waits_until_callbacks_were_called(make, gates) -> None:
    executor = make(1, *gates)
    futures = [executor.submit(targets.begin_and_wait)]
    futures += [executor.submit(targets.add, number) for number in range(20)]
    called = []
    # None of them is done before all have a callback, or the order would be any.
    for future in futures:
        future.add_done_callback(called.append)
    gates[1].release()
    executor.shutdown()
    assert all(future.done() for future in futures)
    assert called == futures


def test_callback_may_shut_the_executor_down(make) -> None:
    executor = make(1)
    called = threading.Event()

    def end(_) -> None:
        executor.shutdown()
        called.set()

    future = executor.submit(targets.add, 1)
    future.add_done_callback(end)
    assert future.result(PATIENCE) == 1
    assert called.wait(PATIENCE)


@pytest.mark.procession_only("it has no such error")
def test_error_of_a_dead_worker_crosses(make) -> None:
    error = make(1).submit(death_targets.die).exception(PATIENCE)
    again = make(1).submit(pool_targets.same, error).result(PATIENCE)
    assert type(again) is ours.WorkerDied
    assert (again.pid, again.signal) == (error.pid, "SIGKILL")


def test_callback_may_wait_for_who_waits_for_the_same_future(make, gates) -> None:
    executor = make(1, *gates)
    future = executor.submit(targets.begin_and_wait, 5)
    got = []
    others = [
        threading.Thread(target=lambda: got.append(future.result(PATIENCE)))
        for _ in range(2)
    ]
    called = threading.Event()

    def wait_for_others(_):
        for other in others:
            other.join(PATIENCE)
        called.set()

    future.add_done_callback(wait_for_others)
    for other in others:
        other.start()
    gates[1].release()
    assert called.wait(PATIENCE)
    assert got == [5, 5]


def test_callback_may_submit_and_wait(make) -> None:
    executor = make(1)
    results = []
    called = threading.Event()

    def again(done):
        results.append(executor.submit(targets.add, done.result(), 1))
        called.set()

    executor.submit(targets.add, 1).add_done_callback(again)
    assert called.wait(PATIENCE)
    assert results[0].result(PATIENCE) == 2


@pytest.mark.procession_only("before Python 3.14 there are no such methods")
@pytest.mark.parametrize("method_name", ["terminate_workers", "kill_workers"])
def test_workers_can_be_ended_all_at_once(make, gates, method_name) -> None:
    executor = make(2, *gates)
    running = [executor.submit(targets.begin_and_stay) for _ in range(2)]
    for _ in running:
        assert gates[0].acquire(timeout=PATIENCE)
    waiting = [executor.submit(targets.add, 1) for _ in range(5)]
    processes = list(executor._processes.values())
    assert len(processes) == 2
    getattr(executor, method_name)()
    assert all(future.cancelled() for future in waiting)
    for future in running:
        with pytest.raises(ours.BrokenProcessPool):
            future.result(PATIENCE)
    for process in processes:
        process.join(PATIENCE)
        assert not process.is_alive()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(targets.add, 1)


def test_as_many_workers_are_started_as_there_is_work_for(make, gates, method) -> None:
    executor = make(4, *gates)
    assert len(executor._processes) == 0
    for count in (1, 2, 3):
        executor.submit(targets.begin_and_wait)
        assert gates[0].acquire(timeout=PATIENCE)
        assert len(executor._processes) == (4 if method == "fork" else count)
    for _ in range(3):
        gates[1].release()


@pytest.mark.methods("spawn", "forkserver")
def test_worker_is_replaced_after_its_number_of_tasks(make) -> None:
    executor = make(1, max_tasks_per_child=2)
    pids = [executor.submit(os.getpid).result(PATIENCE) for _ in range(5)]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]


@pytest.mark.methods("fork")
def test_arguments_that_make_no_sense_are_refused(lib, mp) -> None:
    executor = ours.ProcessPoolExecutor
    with pytest.raises(ValueError, match="max_workers"):
        executor(0)
    with pytest.raises(TypeError, match="initializer"):
        executor(1, mp, "text")
    with pytest.raises(ValueError, match="incompatible with the 'fork'"):
        executor(1, mp, max_tasks_per_child=1)
    for wrong, error in ((0, ValueError), ("text", TypeError)):
        with pytest.raises(error, match="max_tasks_per_child"):
            executor(1, lib.get_context("spawn"), max_tasks_per_child=wrong)
    with executor(1, mp) as running, pytest.raises(ValueError, match="chunksize"):
        running.map(targets.add, [1], chunksize=0)


@pytest.mark.procession_only("it has one kind of context")
def test_context_of_another_library_is_refused(lib) -> None:
    import multiprocessing

    with pytest.raises(TypeError, match=r"procession\.get_context\(\) returns one"):
        ours.ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
    with pytest.raises(ValueError, match="timeout"):
        ours.ProcessPoolExecutor(1, timeout=0)


@pytest.mark.procession_only("it is the one that is imported there")
def test_task_may_have_an_executor_of_its_own(make) -> None:
    results = list(make(1).map(targets.call_in_executor, [3, 4]))
    assert [square for square, _ in results] == [9, 16]


def test_futures_have_no_threads_of_their_own(make, gates) -> None:
    executor = make(1, *gates)
    executor.submit(targets.add, 1).result(PATIENCE)
    before = len(os.listdir("/proc/self/task"))
    futures = [executor.submit(targets.begin_and_wait) for _ in range(100)]
    # One that has done nothing for a tenth of a second has ended, and is there again.
    assert len(os.listdir("/proc/self/task")) <= before + 1
    for _ in futures:
        gates[1].release()
    assert concurrent.futures.wait(futures, PATIENCE).not_done == set()


INSTALLED = """
    import sys
    {before}
    import procession
    procession.install()
    import concurrent.futures
    from concurrent.futures import ProcessPoolExecutor

    def kind():
        import concurrent.futures.process
        return concurrent.futures.ProcessPoolExecutor.__module__

    if __name__ == "__main__":
        with ProcessPoolExecutor(1) as executor:
            print(executor.submit(kind).result())
        print(ProcessPoolExecutor.__module__)
        from concurrent.futures import process
        print(process.ProcessPoolExecutor is ProcessPoolExecutor)
        print(process.BrokenProcessPool.__module__)
"""


@pytest.mark.procession_only("it installs nothing")
@pytest.mark.parametrize(
    "before", ["", "from concurrent.futures.process import ProcessPoolExecutor as _"]
)
def test_installed_library_has_the_executor_of_concurrent_futures(
    prints, before
) -> None:
    assert prints(INSTALLED.format(before=before)) == [
        "procession.futures",
        "procession.futures",
        "True",
        "concurrent.futures.process",
    ]


@pytest.mark.parametrize(("chunksize", "tasks"), [(1, 5), (2, 3)])
def test_subclass_that_overrides_submit_changes_map_with_it(
    mp, chunksize, tasks
) -> None:
    class Noting(ours.ProcessPoolExecutor):
        noted = 0

        def submit(self, fn, /, *args, **kwargs):
            self.noted += 1
            return super().submit(fn, *args, **kwargs)

    with Noting(1, mp) as executor:
        results = executor.map(targets.add, range(5), range(5), chunksize=chunksize)
        assert list(results) == [0, 2, 4, 6, 8]
        assert executor.noted == tasks


@pytest.mark.methods("fork")
@pytest.mark.procession_only("it is about its imports")
def test_executor_is_not_imported_with_the_library(prints) -> None:
    assert prints("""
        import sys
        import procession
        print("concurrent.futures" in sys.modules)
        procession.install()
        print("procession.futures" in sys.modules)
        import procession.futures
        print("multiprocessing.queues" in sys.modules)
    """) == ["False", "False", "False"]


# What an error does to a map.

BUFFERED = [{}, {"buffersize": 3}]


@pytest.mark.procession_only("there the first error ends a map")
@pytest.mark.parametrize("options", BUFFERED)
@pytest.mark.parametrize("chunksize", [1, 2, 100])
def test_errors_of_a_map_stand_in_their_places(make, options, chunksize) -> None:
    with make(2) as executor:
        results = executor.map(
            errors.square, range(6), chunksize=chunksize, on_error="collect", **options
        )
        first, *rest = results
    assert [first, *rest][:3] + rest[3:] == [0, 1, 4, 16, 25]
    assert isinstance(rest[2], ValueError)
    assert rest[2].args == (3,)
    assert "in square" in str(rest[2].__cause__)


@pytest.mark.procession_only("there a death ends the executor")
@pytest.mark.parametrize("options", BUFFERED)
@pytest.mark.parametrize("chunksize", [1, 3])
def test_death_in_a_map_stands_in_the_places_of_its_task(
    make, lib, options, chunksize
) -> None:
    with make(2) as executor:
        results = list(
            executor.map(
                errors.square,
                range(4, 10),
                chunksize=chunksize,
                on_error="collect",
                **options,
            )
        )
    lost = 3 // chunksize
    for place, (number, result) in enumerate(zip(range(4, 10), results, strict=True)):
        if place // chunksize == lost:
            assert isinstance(result, lib.WorkerDied)
        else:
            assert result == number * number


@pytest.mark.procession_only("there the first error ends a map")
@pytest.mark.parametrize("options", BUFFERED)
def test_map_that_goes_on_raises_each_error_in_its_place(make, lib, options) -> None:
    told: list[object] = []
    with make(2) as executor:
        results = executor.map(errors.square, range(9), on_error="continue", **options)
        while True:
            try:
                told.append(next(results))
            except StopIteration:
                break
            except (ValueError, lib.WorkerDied) as error:
                told.append(type(error).__name__)
    assert told == [0, 1, 4, "ValueError", 16, 25, 36, "WorkerDied", 64]


@pytest.mark.procession_only("there the first error ends a map")
@pytest.mark.parametrize("options", BUFFERED)
def test_map_that_goes_on_and_is_dropped_cancels_the_rest(make, mp, options) -> None:
    gate = mp.Semaphore(0)
    with make(1) as executor:
        results = executor.map(
            gate.acquire, [True] * 50, on_error="continue", **options
        )
        gate.release()
        assert next(results)
        del results
        for _ in range(50):
            gate.release()
    # One ran, at most.
    assert gate.get_value() >= 49


@pytest.mark.procession_only("there is no on_error")
def test_map_with_an_on_error_that_is_none_is_refused(make) -> None:
    with make(1) as executor:
        for options in BUFFERED:
            with pytest.raises(ValueError, match="on_error must be"):
                executor.map(len, [], on_error="raise", **options)
        view = executor.with_options(retries=1)
        results = view.map(errors.square, [2, 3], on_error="collect")
        assert [type(result) for result in results] == [int, ValueError]
