"""Results of pools that are awaited in an event loop."""

import asyncio
import os
import re
from pathlib import Path

import pytest
from library import PATIENCE, load
from loops import anyio, until_idle
from targets import futures as targets
from targets import pool as pool_targets

pytestmark = pytest.mark.procession_only("there nothing can be awaited")


@pytest.fixture
def pool(mp):
    with mp.Pool(2) as pool:
        yield pool


@pytest.fixture
def gates(mp):
    """Returns two semaphores: tasks tell that they have begun, and are told to end."""
    gates = [mp.Semaphore(0), mp.Semaphore(0)]
    yield gates
    gates.clear()


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 2 * PATIENCE))


async def wait_for(result):
    return await result


def test_awaited_result_is_the_value_or_raises_the_error(pool) -> None:
    async def main() -> None:
        assert await pool.apply_async(pool_targets.square, (7,)) == 49
        assert await pool.map_async(pool_targets.square, range(10)) == [
            number * number for number in range(10)
        ]
        assert await pool.map_async(pool_targets.square, []) == []
        with pytest.raises(ValueError, match="on purpose"):
            await pool.apply_async(pool_targets.fail)

    run(main())


def test_thousand_results_are_awaited_in_one_loop_without_threads(pool) -> None:
    pool.apply_async(pool_targets.square, (1,)).get(PATIENCE)

    async def square(number: int) -> int:
        return await pool.apply_async(pool_targets.square, (number,))

    async def main() -> None:
        before = len(os.listdir("/proc/self/task"))
        tasks = [asyncio.create_task(square(number)) for number in range(1000)]
        await asyncio.sleep(0)
        # The one that runs the pool may not have been there.
        assert len(os.listdir("/proc/self/task")) <= before + 1
        assert await asyncio.gather(*tasks) == [n * n for n in range(1000)]

    run(main())


def test_loop_goes_on_while_a_result_is_awaited(mp, gates) -> None:
    async def main(pool) -> None:
        result = pool.apply_async(targets.begin_and_wait, (3,))
        # Two tasks may await the same.
        tasks = [asyncio.create_task(wait_for(result)) for _ in range(2)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in tasks)
        gates[1].release()
        assert await asyncio.gather(*tasks) == [3, 3]
        assert await result == 3

    with mp.Pool(1, pool_targets.initialize, gates) as pool:
        run(main(pool))


def test_cancelling_who_awaits_kills_the_task_that_runs_and_no_other(mp, gates) -> None:
    async def main(pool) -> None:
        loop = asyncio.get_running_loop()
        (before,) = pool.workers()
        victim = asyncio.create_task(wait_for(pool.apply_async(targets.begin_and_stay)))
        waiting = asyncio.create_task(wait_for(pool.apply_async(os.getpid)))
        given_up = asyncio.create_task(wait_for(pool.apply_async(targets.count)))
        # From 3.14 on the next line may end at once, and leave the tasks no time to begin.
        await asyncio.sleep(0)
        await loop.run_in_executor(None, gates[0].acquire)
        for task in (given_up, victim):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await waiting != before.pid
        assert not gates[0].acquire(block=False)

    with mp.Pool(1, pool_targets.initialize, gates) as pool:
        run(main(pool))


def test_cancelling_who_awaits_the_next_of_many_cancels_what_is_left(mp, gates) -> None:
    async def main(pool) -> None:
        results = pool.imap(targets.begin_and_wait, range(1000))
        gates[1].release()
        assert await anext(results) == 0
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(results), 0.05)
        # Nobody lets the others go on.
        assert await pool.apply_async(pool_targets.square, (3,)) == 9

    with mp.Pool(1, pool_targets.initialize, gates) as pool:
        run(main(pool))


@pytest.mark.parametrize("chunksize", [1, 7])
@pytest.mark.parametrize("use", ["imap", "imap_unordered"])
def test_results_are_iterated_over_as_they_come(pool, use, chunksize) -> None:
    async def main() -> list[int]:
        results = getattr(pool, use)(pool_targets.square, iter(range(500)), chunksize)
        found = [await anext(results), next(results)]
        found += [result async for result in results]
        with pytest.raises(StopAsyncIteration):
            await anext(results)
        return found

    squares = [number * number for number in range(500)]
    found = run(main())
    assert (found if use == "imap" else sorted(found)) == squares


@pytest.mark.parametrize("use", ["imap", "imap_unordered"])
def test_results_are_iterated_over_without_threads(mp, gates, use) -> None:
    async def all_of(results) -> list[int]:
        return [result async for result in results]

    async def main(pool) -> None:
        call = getattr(pool, use)
        before = len(os.listdir("/proc/self/task"))
        several = [call(targets.begin_and_wait, range(3)) for _ in range(20)]
        tasks = [asyncio.create_task(all_of(results)) for results in several]
        await asyncio.sleep(0)
        # The one that runs the pool may not have been there.
        assert len(os.listdir("/proc/self/task")) <= before + 1
        for _ in range(60):
            gates[1].release()
        found = await asyncio.gather(*tasks)
        assert [sorted(each) for each in found] == [[0, 1, 2]] * 20

    with mp.Pool(1, pool_targets.initialize, gates) as pool:
        run(main(pool))


@pytest.mark.parametrize(
    ("chunksize", "inputs", "outcomes"),
    [
        (1, [0, 1, 2, 3], [0, "1", 2, "3"]),
        (2, [0, 1, 2, 4, 5, 6, 8, 10], ["1", 2, 4, "5", 8, 10]),
    ],
)
def test_iteration_goes_on_behind_an_error(pool, chunksize, inputs, outcomes) -> None:
    async def main() -> None:
        results = pool.imap(pool_targets.fail_if_odd, inputs, chunksize)
        for outcome in outcomes:
            if isinstance(outcome, str):
                with pytest.raises(ValueError, match=outcome):
                    await anext(results)
            else:
                assert await anext(results) == outcome
        with pytest.raises(StopAsyncIteration):
            await anext(results)

    run(main())


def test_task_cannot_end_the_iteration(pool) -> None:
    async def main() -> None:
        found = []
        with pytest.raises(
            RuntimeError, match="raised StopAsyncIteration, which is no"
        ):
            async for result in pool.imap(pool_targets.end_async_at_three, range(8)):
                found.append(result)
        assert found == [0, 1, 2]

    asyncio.run(main())


def test_two_tasks_share_an_iterator(pool) -> None:
    async def take(results) -> list[int]:
        return [result async for result in results]

    async def main() -> None:
        results = pool.imap(pool_targets.same, range(200))
        found = await asyncio.gather(take(results), take(results))
        assert sorted(found[0] + found[1]) == list(range(200))

    run(main())


def test_pool_that_ends_tells_who_awaits(lib, mp, gates) -> None:
    async def main(pool) -> None:
        task = asyncio.ensure_future(wait_for(pool.apply_async(targets.begin_and_stay)))
        await asyncio.sleep(0)
        pool.terminate()
        with pytest.raises(lib.ProcessError, match="terminated"):
            await task

    with mp.Pool(1, pool_targets.initialize, gates) as pool:
        run(main(pool))


def test_result_that_nobody_awaits_any_more_does_no_harm(mp, gates) -> None:
    async def main(pool) -> object:
        result = pool.apply_async(targets.begin_and_wait, (4,))
        # The loop ends before the result is there.
        await asyncio.wait([asyncio.ensure_future(ask(result))], timeout=0)
        return result

    async def ask(result):
        return await result

    with mp.Pool(1, pool_targets.initialize, gates) as pool:
        loop = asyncio.new_event_loop()
        result = loop.run_until_complete(main(pool))
        pending = asyncio.all_tasks(loop)
        loop.close()
        gates[1].release()
        assert result.get(PATIENCE) == 4
        for task in pending:
            task._log_destroy_pending = False


# In every loop.


@pytest.mark.methods("fork", "spawn")
def test_results_are_awaited_in_every_loop(pool, loop) -> None:
    async def main() -> None:
        assert await pool.apply_async(pool_targets.square, (7,)) == 49
        with pytest.raises(ValueError, match="on purpose"):
            await pool.apply_async(pool_targets.fail)
        results = pool.imap(pool_targets.square, range(100), 7)
        assert [result async for result in results] == [n * n for n in range(100)]
        results = pool.imap_unordered(pool_targets.square, range(100))
        found = [await anext(results), next(results)]
        found += [result async for result in results]
        assert sorted(found) == [n * n for n in range(100)]

    loop.run(main)


@pytest.mark.slow
@pytest.mark.methods("fork")
def test_ten_thousand_in_flight_add_no_thread_and_no_descriptor(pool, loop) -> None:
    async def main() -> None:
        found, most = [], [0, 0]

        def count() -> list[int]:
            return [len(os.listdir(f"/proc/self/{what}")) for what in ("task", "fd")]

        async def square(number: int) -> None:
            found.append(await pool.apply_async(pool_targets.square, (number,)))

        # What is made once for a pool, and what runs it while others wait, is there now.
        async with anyio.create_task_group() as tasks:
            for number in range(100):
                tasks.start_soon(square, number)
            await until_idle()
            before = count()
        found.clear()
        async with anyio.create_task_group() as tasks:
            for number in range(10_000):
                tasks.start_soon(square, number)
            while len(found) < 10_000:
                most = [max(pair) for pair in zip(most, count())]
                await anyio.sleep(0.01)
        assert sorted(found) == [number * number for number in range(10_000)]
        # The thread that runs the pool may not have been there.
        assert most[0] <= before[0] + 1
        assert most[1] <= before[1]

    loop.run(main)


@pytest.mark.methods("fork", "spawn")
def test_cancelling_who_awaits_kills_the_task_in_every_loop(mp, gates, loop) -> None:
    async def main(pool) -> None:
        (before,) = pool.workers()
        scope = anyio.CancelScope()

        async def stay() -> None:
            with scope:
                await pool.apply_async(targets.begin_and_stay)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stay)
            await until_idle()
            await anyio.to_thread.run_sync(gates[0].acquire)
            scope.cancel()
        assert scope.cancelled_caught
        assert await pool.apply_async(os.getpid) != before.pid
        # A deadline is the loop's.
        with pytest.raises(TimeoutError), anyio.fail_after(0.05):
            await pool.apply_async(targets.begin_and_stay)
        assert await pool.apply_async(pool_targets.square, (3,)) == 9

    with mp.Pool(1, pool_targets.initialize, gates) as pool:
        loop.run(main, pool)


@pytest.mark.methods("fork", "spawn")
def test_futures_of_an_executor_are_awaited_in_every_loop(lib, mp, gates, loop) -> None:
    async def main(executor) -> None:
        assert await executor.submit(pool_targets.square, 7) == 49
        before = len(os.listdir("/proc/self/task"))
        done = executor.submit(pool_targets.square, 3)
        assert [await done, await done] == [9, 9]
        with pytest.raises(ValueError, match="on purpose"):
            await executor.submit(pool_targets.fail)
        with pytest.raises(lib.WorkerDied):
            await executor.submit(os._exit, 3)
        scope = anyio.CancelScope()

        async def stay() -> None:
            with scope:
                await executor.submit(targets.begin_and_stay)

        async def follow() -> None:
            assert await executor.submit(pool_targets.square, 2) == 4

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stay)
            await anyio.to_thread.run_sync(gates[0].acquire)
            for _ in range(50):
                tasks.start_soon(follow)
            await until_idle()
            # Some are the pool's, and anyio's own; none is of a task.
            assert len(os.listdir("/proc/self/task")) < before + 25
            # The worker that stays is killed, and another does the rest.
            scope.cancel()
        assert scope.cancelled_caught
        with pytest.raises(TimeoutError), anyio.fail_after(0.05):
            await executor.submit(targets.begin_and_stay)

    setup = {"initializer": pool_targets.initialize, "initargs": gates}
    with load("futures").ProcessPoolExecutor(1, mp, **setup) as executor:
        loop.run(main, executor)


@pytest.mark.methods("fork")
def test_threads_are_awaited_too(lib) -> None:
    async def main(pool) -> None:
        assert await pool.apply_async(pool_targets.square, (7,)) == 49
        found = [result async for result in pool.imap(pool_targets.square, range(9))]
        assert found == [number * number for number in range(9)]

    with lib.pool.ThreadPool(2) as pool:
        run(main(pool))


@pytest.mark.methods("fork")
def test_nothing_is_awaited_without_a_loop(pool) -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        pool.apply_async(pool_targets.square, (7,)).__await__().send(None)


@pytest.mark.slow
def test_program_on_the_page_runs(program) -> None:
    page = (Path(__file__).parent.parent / "docs" / "asyncio.md").read_text()
    (text,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert program(text) == (0, "[0, 1, 2]\n1024\n3\n2\n1\n", "")
