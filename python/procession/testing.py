"""Tests that hold for every engine on which pools run: `BackendTests`, for pytest.

Whoever writes an engine subclasses it in a test module, says what `context` is, and what
the engine can:

    class TestMine(BackendTests):
        capabilities = BackendTests.capabilities - {"memory"}

        @pytest.fixture
        def context(self):
            return procession.get_context("mine://host")
"""

from __future__ import annotations

import os
import signal
import time

import pytest

import procession
from procession._process_tests import ProcessTests
from procession._sharing_tests import SharingTests
from procession._test_needs import PATIENCE, needs, wait_until
from procession._test_tasks import (
    Buffer,
    bytes_of,
    count_in_state,
    die_if,
    die_once,
    divide,
    divide_ten_by,
    fail_if,
    fail_to_set_up,
    get_variable,
    getpid,
    kill_the_node,
    note_and_kill_the_node_once,
    raise_unlucky,
    read_all,
    set_variable,
    square,
    stop_softly,
    take_memory,
)
from procession.futures import ProcessPoolExecutor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["BackendTests", "needs"]


class BackendTests(ProcessTests, SharingTests):
    """What holds of the pools of every engine. Subclass it, and make a fixture `context`.

    Attributes:
        capabilities: What the engine can. "nodes": pools have agents on nodes, of which one
            may be killed by a task, and nothing of this machine can be sent there.
            "deadlines", "cancel", "memory": tasks can be killed, and confined. "shared": tasks
            use the locks, queues and values that the context makes; the fixture closes the
            context, if it can be closed. "processes": its `Process` runs on the nodes.

    Example:
        >>> from procession.testing import BackendTests
        >>> sorted(BackendTests.capabilities)
        ['cancel', 'deadlines', 'memory', 'nodes', 'processes', 'shared']
        >>> class TestMine(BackendTests):
        ...     capabilities = BackendTests.capabilities - {"memory"}
        >>> fixture = TestMine.context  # Which it overrides, too.
    """

    capabilities = frozenset(
        {"nodes", "deadlines", "cancel", "memory", "processes", "shared"}
    )

    @pytest.fixture
    def context(self) -> Any:
        """Returns the context whose pools are tested."""
        raise NotImplementedError("a subclass of BackendTests says what its context is")

    @pytest.fixture(autouse=True)
    def _only_what_it_can(self, request: pytest.FixtureRequest) -> None:
        missing = {*getattr(request.function, "needs", ())} - self.capabilities
        if missing:
            pytest.skip(f"the engine cannot: {', '.join(sorted(missing))}")

    # Results.

    def test_calls_return_what_the_function_does(self, context: Any) -> None:
        with context.Pool(2) as pool:
            assert pool.apply(square, (3,)) == 9
            assert pool.apply(divide, (9,), {"divisor": 3}) == 3
            assert pool.map(square, range(20)) == [n * n for n in range(20)]
            assert pool.map(square, range(5), chunksize=1) == [0, 1, 4, 9, 16]
            assert pool.map(square, []) == []
            assert pool.starmap(divide, [(8, 2), (9, 3)]) == [4, 3]

    def test_calls_return_at_once_and_their_results_come(self, context: Any) -> None:
        with context.Pool(2) as pool:
            one = pool.apply_async(square, (4,))
            many = pool.map_async(square, [1, 2])
            starred = pool.starmap_async(divide, [(8, 2)])
            assert one.get(PATIENCE) == 16
            assert many.get(PATIENCE) == [1, 4]
            assert starred.get(PATIENCE) == [4]
            assert one.ready() and one.successful() and not one.cancelled()

    @pytest.mark.parametrize("chunksize", [1, 7])
    def test_imap_keeps_the_order_and_unordered_loses_nothing(
        self, context: Any, chunksize: int
    ) -> None:
        with context.Pool(2) as pool:
            squares = [n * n for n in range(100)]
            of_list = pool.imap(square, list(range(100)), chunksize)
            assert list(of_list) == squares
            of_iterator = pool.imap(square, iter(range(100)), chunksize)
            assert list(of_iterator) == squares
            unordered = pool.imap_unordered(square, iter(range(100)), chunksize)
            assert sorted(unordered) == squares
            assert list(pool.imap(square, [])) == []

    def test_imap_reads_an_endless_input_a_bounded_way_ahead(
        self, context: Any
    ) -> None:
        asked: list[None] = []

        def numbers() -> Any:
            while True:
                asked.append(None)
                yield len(asked)

        with context.Pool(2) as pool:
            results = pool.imap(square, numbers())
            assert [next(results) for _ in range(3)] == [1, 4, 9]
            results.close()
        assert len(asked) < 100_000

    def test_callbacks_are_called(self, context: Any) -> None:
        called: list[object] = []
        with context.Pool(2) as pool:
            pool.apply_async(square, (3,), callback=called.append).wait(PATIENCE)
            failed = pool.apply_async(
                fail_if, (1, 1), error_callback=lambda error: called.append(type(error))
            )
            failed.wait(PATIENCE)
            pool.map_async(square, [1, 2], callback=called.append).wait(PATIENCE)
        assert called == [9, KeyError, [1, 4]]

    def test_functions_without_a_name_cross_by_value(self, context: Any) -> None:
        pytest.importorskip("cloudpickle")
        factor = 3
        with context.Pool(2) as pool:
            assert pool.map(lambda n: n * factor, [1, 2]) == [3, 6]

    def test_large_buffers_arrive_as_they_were(self, context: Any) -> None:
        data = bytearray(os.urandom(3 << 20))
        with context.Pool(2) as pool:
            assert pool.apply(bytes, (data,)) == bytes(data)
            assert pool.map(len, [data, data[:70_000]]) == [3 << 20, 70_000]

    def test_buffers_are_sent_as_they_were_at_the_call(self, context: Any) -> None:
        data = bytearray(os.urandom(3 << 20))
        before = bytes(data)
        with context.Pool(1) as pool:
            result = pool.apply_async(bytes_of, (Buffer(data),))
            data[:] = bytes(len(data))
            assert result.get(PATIENCE) == before
            assert pool.apply(bytes_of, (Buffer(data),)) == bytes(len(data))

    def test_many_results_of_many_threads_are_told_apart(self, context: Any) -> None:
        from concurrent.futures import ThreadPoolExecutor

        with context.Pool(2) as pool, ThreadPoolExecutor(4) as threads:
            wanted = [threads.submit(pool.map, square, range(n)) for n in range(40)]
            for n, each in enumerate(wanted):
                assert each.result(PATIENCE) == [i * i for i in range(n)]

    # Errors.

    def test_errors_of_functions_are_raised_with_their_traceback(
        self, context: Any
    ) -> None:
        with context.Pool(2) as pool:
            with pytest.raises(KeyError) as caught:
                pool.apply(fail_if, (1, 1))
            assert "in fail_if" in str(caught.value.__cause__)
            with pytest.raises(KeyError):
                pool.starmap(fail_if, [(n, 3) for n in range(5)])
            assert pool.apply(square, (3,)) == 9

    def test_imap_goes_on_behind_an_error(self, context: Any) -> None:
        with context.Pool(2) as pool:
            results = pool.imap(divide_ten_by, [5, 0, 2])
            assert next(results) == 2
            with pytest.raises(ZeroDivisionError):
                next(results)
            assert next(results) == 5
            with pytest.raises(StopIteration):
                next(results)

    def test_error_that_cannot_be_rebuilt_is_told_by_its_text(
        self, context: Any
    ) -> None:
        with context.Pool(1) as pool, pytest.raises(procession.RemoteError) as caught:
            pool.apply(raise_unlucky)
        assert caught.value.type_name == "procession._test_tasks.Unlucky"

    def test_value_that_cannot_be_pickled_is_an_error_of_its_task(
        self, context: Any
    ) -> None:
        from procession._workers import MaybeEncodingError

        with context.Pool(1) as pool:
            with pytest.raises(MaybeEncodingError):
                pool.apply(open, (os.devnull,))
            assert pool.apply(square, (3,)) == 9

    def test_what_an_error_does_to_its_map_can_be_said(self, context: Any) -> None:
        inputs = [(n, 2) for n in range(5)]
        with context.Pool(2) as pool:
            for chunksize in (1, 2):
                collected = pool.starmap(fail_if, inputs, chunksize, on_error="collect")
                assert collected[:2] + collected[3:] == [0, 1, 3, 4]
                assert type(collected[2]) is KeyError
            with pytest.raises(KeyError):
                pool.starmap(fail_if, inputs, 1, on_error="stop")
            assert pool.apply(square, (3,)) == 9

    # Deaths.

    @pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV"])
    def test_killed_worker_fails_its_task_alone_and_is_named(
        self, context: Any, name: str
    ) -> None:
        signum = getattr(signal, name)
        with context.Pool(2) as pool:
            results = [
                pool.apply_async(die_if, (number, 5, signum)) for number in range(20)
            ]
            with pytest.raises(procession.WorkerDied) as caught:
                results.pop(5).get(PATIENCE)
            died = caught.value
            assert (died.signal, died.exitcode, died.tries) == (name, -signum, 1)
            assert died.task == "procession._test_tasks.die_if"
            assert f"worker process {died.pid} was killed by {name}" in str(died)
            assert (died.node is not None) == ("nodes" in self.capabilities)
            numbers = [result.get(PATIENCE) for result in results]
            assert numbers == [n for n in range(20) if n != 5]

    def test_death_in_a_map_names_the_input(self, context: Any) -> None:
        inputs = [(number, 3) for number in range(6)]
        with context.Pool(2) as pool, pytest.raises(procession.WorkerDied) as caught:
            pool.starmap(die_if, inputs, chunksize=1)
        assert caught.value.task == "procession._test_tasks.die_if on input 3"

    def test_task_whose_worker_died_is_tried_again(
        self, context: Any, tmp_path: Any
    ) -> None:
        with context.Pool(2) as pool:
            assert pool.apply(die_once, (str(tmp_path / "once"),), retries=1) > 0

    def test_task_is_tried_no_more_often_than_is_said(self, context: Any) -> None:
        with context.Pool(2, retries=2) as pool:
            with pytest.raises(procession.WorkerDied) as caught:
                pool.apply(die_if, (1, 1))
            assert caught.value.tries == 3
            assert "which was tried 3 times" in str(caught.value)

    @needs("nodes")
    def test_task_of_a_lost_node_fails_and_the_pool_goes_on(self, context: Any) -> None:
        from procession.distributed import NodeLost

        with context.Pool(2) as pool:
            with pytest.raises(NodeLost) as caught:
                pool.apply(kill_the_node)
            lost = caught.value
            assert (lost.pid, lost.tries) == (None, 1)
            assert lost.task == "procession._test_tasks.kill_the_node"
            assert str(lost.node) in str(lost) and "may have run" in str(lost)
            assert pool.map(square, range(10), chunksize=1) == [
                n * n for n in range(10)
            ]

    @needs("nodes")
    def test_tasks_of_a_lost_node_are_tried_again_and_nothing_is_lost(
        self, context: Any, tmp_path: Any
    ) -> None:
        path = str(tmp_path / "run")
        calls = [(path, number) for number in range(60)]
        with context.Pool(2) as pool:
            done = pool.starmap(note_and_kill_the_node_once, calls, 1, retries=1)
        assert done == list(range(60))
        runs = [len((tmp_path / f"run-{number}").read_text()) for number in range(60)]
        # Each has run, none more often than it might.
        assert set(runs) <= {1, 2} and runs[7] == 2

    # Limits.

    @needs("deadlines")
    def test_task_that_takes_too_long_is_killed(self, context: Any) -> None:
        with context.Pool(2) as pool:
            with pytest.raises(procession.TaskTimeout) as caught:
                pool.apply(time.sleep, (600,), timeout=0.05)
            assert (caught.value.task, caught.value.limit) == ("time.sleep", 0.05)
            assert pool.apply(square, (3,), timeout=PATIENCE) == 9

    @needs("deadlines")
    def test_task_is_told_of_its_soft_limit(self, context: Any) -> None:
        with context.Pool(1) as pool:
            pool.apply(square, (3,))  # What the worker imports is not of the task.
            told = pool.apply(stop_softly, soft_timeout=0.2)
        assert told == "procession._test_tasks.stop_softly"

    @needs("memory")
    def test_task_that_needs_too_much_memory_fails(self, context: Any) -> None:
        with context.Pool(1, memory_limit="1GiB") as pool:
            with pytest.raises(procession.MemoryLimitExceeded) as caught:
                pool.apply(take_memory, (4 << 30,))
            assert caught.value.limit == 1 << 30
            assert caught.value.task == "procession._test_tasks.take_memory"
            assert pool.apply(square, (3,)) == 9

    def test_worker_is_replaced_after_so_many_tasks(self, context: Any) -> None:
        with context.Pool(1, maxtasksperchild=1) as pool:
            pids = {pool.apply(os.getpid) for _ in range(3)}
        assert len(pids) == 3

    # Cancelling.

    @needs("cancel")
    def test_task_that_runs_is_cancelled_only_if_it_may_be_killed(
        self, context: Any
    ) -> None:
        with context.Pool(1) as pool:
            running = pool.apply_async(time.sleep, (600,))
            waiting = [pool.apply_async(square, (n,)) for n in range(10)]
            wait_until(running.running)
            assert not running.cancel()
            assert all(result.cancel() for result in waiting)
            assert running.cancel(kill=True)
            for result in [running, *waiting]:
                with pytest.raises(procession.CancelledError):
                    result.get(PATIENCE)
                assert result.cancelled()
            assert pool.apply(square, (3,)) == 9

    @needs("cancel")
    def test_map_is_cancelled_as_a_whole(self, context: Any) -> None:
        with context.Pool(2) as pool:
            result = pool.map_async(time.sleep, [600] * 50, chunksize=1)
            wait_until(result.running)
            assert result.cancel(kill=True)
            with pytest.raises(procession.CancelledError):
                result.get(PATIENCE)
            results = pool.imap(time.sleep, iter([0, *[600] * 9]))
            assert results.next(PATIENCE) is None
            assert results.cancel(kill=True)
            with pytest.raises(procession.CancelledError):
                for _ in range(20):
                    results.next(PATIENCE)

    def test_high_priorities_go_first(self, context: Any, tmp_path: Any) -> None:
        gate = str(tmp_path / "gate")
        os.mkfifo(gate)
        done: list[int] = []
        with context.Pool(1) as pool:
            first = pool.apply_async(read_all, (gate,))
            wait_until(first.running)
            results = [
                pool.apply_async(
                    abs, (priority,), priority=priority, callback=done.append
                )
                for priority in [*[0] * 20, 5]
            ]
            with open(gate, "w"):
                pass
            for result in results:
                result.wait(PATIENCE)
        # One of the others may have been on its way already.
        assert 5 in done[:2] or done.index(5) < 3

    # Workers.

    def test_initializer_runs_in_each_worker_before_its_tasks(
        self, context: Any
    ) -> None:
        with context.Pool(2, set_variable, ("ready",)) as pool:
            assert set(pool.map(get_variable, range(8), chunksize=1)) == {"ready"}

    def test_initializer_that_fails_is_the_error_of_each_task(
        self, context: Any
    ) -> None:
        with context.Pool(2, fail_to_set_up) as pool:
            for _ in range(2):
                with pytest.raises(LookupError, match="no such database"):
                    pool.apply(square, (3,))

    def test_worker_has_a_state_for_its_tasks(self, context: Any) -> None:
        with context.Pool(1, worker_state=list) as pool:
            assert [pool.apply(count_in_state) for _ in range(3)] == [1, 2, 3]
            pool.apply(list.append, (pool.worker_state, None))
            assert pool.apply(len, (pool.worker_state,)) == 4

    def test_workers_can_be_counted_and_their_number_changed(
        self, context: Any
    ) -> None:
        with context.Pool(2) as pool:
            pids = {worker.pid for worker in pool.workers()}
            assert len(pids) == 2
            assert set(pool.map(getpid, range(20), chunksize=1)) <= pids
            pool.resize(4)
            wait_until(lambda: len(pool.workers()) == 4)

    # The end.

    def test_closed_pool_does_what_it_has_and_takes_no_more(self, context: Any) -> None:
        pool = context.Pool(2)
        result = pool.map_async(square, range(50), chunksize=1)
        pool.close()
        with pytest.raises(ValueError, match="not running"):
            pool.apply(square, (3,))
        pool.join()
        assert result.get(0) == [n * n for n in range(50)]

    def test_terminated_pool_fails_what_it_has_not_done(self, context: Any) -> None:
        pool = context.Pool(2)
        result = pool.map_async(time.sleep, [600] * 5, chunksize=1)
        wait_until(result.running)
        pool.terminate()
        pool.join()
        with pytest.raises(procession.ProcessError):
            result.get(PATIENCE)

    # Executors and await.

    def test_executor_runs_on_it(self, context: Any) -> None:
        from concurrent.futures import as_completed

        with ProcessPoolExecutor(2, context) as executor:
            futures = [executor.submit(square, number) for number in range(10)]
            done = sorted(future.result() for future in as_completed(futures))
            assert done == [n * n for n in range(10)]
            assert list(executor.map(divide, [8, 9], [2, 3])) == [4, 3]
            assert list(executor.map(square, range(9), chunksize=4))[-1] == 64
            assert isinstance(executor.submit(fail_if, 1, 1).exception(), KeyError)

    def test_executor_goes_on_after_a_death(self, context: Any) -> None:
        from procession.futures import BrokenProcessPool, WorkerDied

        with ProcessPoolExecutor(2, context) as executor:
            error = executor.submit(die_if, 1, 1).exception(PATIENCE)
            assert isinstance(error, WorkerDied) and isinstance(
                error, BrokenProcessPool
            )
            assert error.signal == "SIGKILL"
            assert executor.submit(square, 3).result(PATIENCE) == 9

    @needs("cancel")
    def test_future_that_runs_is_cancelled_by_killing_its_task(
        self, context: Any
    ) -> None:
        with ProcessPoolExecutor(1, context) as executor:
            future = executor.submit(time.sleep, 600)
            wait_until(future.running)
            assert not future.cancel()
            assert future.cancel(kill=True) and future.cancelled()
            assert executor.submit(square, 3).result(PATIENCE) == 9

    def test_executor_whose_initializer_fails_is_broken(self, context: Any) -> None:
        from procession.futures import BrokenProcessPool

        with ProcessPoolExecutor(1, context, fail_to_set_up) as executor:
            error = executor.submit(square, 3).exception(PATIENCE)
        assert isinstance(error, BrokenProcessPool)

    def test_results_can_be_awaited(self, context: Any) -> None:
        import asyncio

        async def main(pool: Any) -> tuple[Any, ...]:
            one = await pool.apply_async(square, (3,))
            many = await pool.map_async(square, [1, 2])
            return one, many, [each async for each in pool.imap(square, [4, 5])]

        with context.Pool(2) as pool:
            assert asyncio.run(main(pool)) == (9, [1, 4], [16, 25])

    @needs("cancel")
    def test_task_that_awaits_and_is_cancelled_has_its_work_killed(
        self, context: Any
    ) -> None:
        import asyncio

        async def main(pool: Any) -> None:
            result = pool.apply_async(time.sleep, (600,))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(result, 0.05)
            assert result.cancelled() or not result.ready()
            assert await pool.apply_async(square, (3,)) == 9

        with context.Pool(1) as pool:
            asyncio.run(main(pool))

    # What cannot be sent.

    @needs("nodes")
    def test_what_is_of_this_machine_is_refused_at_the_call(self, context: Any) -> None:
        here = procession.get_context("spawn")
        ours, theirs = here.Pipe()
        with context.Pool(1) as pool:
            for thing in [here.Lock(), here.Queue(), here.Array("i", 3), theirs]:
                with pytest.raises(TypeError, match="of this machine"):
                    pool.apply_async(square, (thing,))
                with pytest.raises(TypeError, match="of this machine"):
                    pool.map(square, [thing])
                with pytest.raises(TypeError, match="of this machine"):
                    context.Pool(1, square, (thing,))
            assert pool.apply(square, (3,)) == 9
        ours.close()
        theirs.close()

    @needs("nodes")
    def test_what_needs_one_machine_is_refused_with_what_to_use(
        self, context: Any
    ) -> None:
        for make in (
            context.Pipe,
            lambda: context.RawValue("i"),
            lambda: context.RawArray("i", 3),
            lambda: context.Actor(list),
        ):
            with pytest.raises(NotImplementedError, match="use"):
                make()
