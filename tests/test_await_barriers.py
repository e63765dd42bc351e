"""Barriers that tasks of an event loop await."""

import threading

import pytest
from library import PATIENCE, kill
from loops import anyio, ended, until_idle
from targets import awaiting as targets

pytestmark = pytest.mark.procession_only("there nothing can be awaited")


def test_tasks_and_processes_meet(mp, start, loop) -> None:
    calls = []
    barrier = mp.Barrier(4)
    barrier._action = lambda: calls.append("action")

    async def main() -> None:
        for _ in range(5):
            indices = []

            async def come(indices=indices) -> None:
                indices.append(await barrier.wait_async())

            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(come)
                await until_idle()
                assert (barrier.n_waiting, indices) == (3, [])
                other = start(targets.wait_at, barrier)
            await other.join_async()
            assert sorted([*indices, await other.result_async()]) == [0, 1, 2, 3]
        # The processes came last, with the action that they got, or had by a fork.
        assert set(calls) <= {"action"}

    loop.run(main)


def test_last_task_calls_the_action_before_anybody_goes_on(mp, loop) -> None:
    events = []
    barrier = mp.Barrier(3, lambda: events.append("action"))

    async def main() -> None:
        async def come() -> None:
            events.append(await barrier.wait_async())

        for _ in range(2):
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(come)
            assert events[0] == "action"
            assert sorted(events[1:]) == [0, 1, 2]
            events.clear()

    loop.run(main)


def test_task_that_is_cancelled_has_not_come(mp, start, loop) -> None:
    barrier = mp.Barrier(2)

    async def main() -> None:
        assert not await ended(barrier.wait_async())
        assert (barrier.n_waiting, barrier.broken) == (0, False)
        other = start(targets.wait_at, barrier)
        assert {await barrier.wait_async(), await other.result_async()} == {0, 1}

    loop.run(main)


def test_cancelled_at_any_moment_it_has_come_or_not(mp, loop) -> None:
    barrier = mp.Barrier(2)

    async def main() -> None:
        for turn in range(12):
            scope, came = anyio.CancelScope(), []

            async def come(scope=scope, came=came) -> None:
                with scope:
                    came.append(await barrier.wait_async())

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(come)
                await until_idle()
                tasks.start_soon(come, anyio.CancelScope(), other := [])
                # Sometimes before the other comes, sometimes after.
                for _ in range(turn):
                    await anyio.lowlevel.checkpoint()
                scope.cancel()
                await until_idle()
                if not other:
                    assert (barrier.n_waiting, barrier.broken) == (1, False)
                    tasks.start_soon(come, anyio.CancelScope(), [])
            assert (barrier.n_waiting, barrier.broken) == (0, False)

    loop.run(main)


@pytest.mark.parametrize("end", ["abort", "reset"])
def test_who_awaits_a_barrier_is_told_that_it_is_broken(mp, start, loop, end) -> None:
    barrier = mp.Barrier(3)

    async def main() -> None:
        told = []

        async def come() -> None:
            try:
                await barrier.wait_async()
            except threading.BrokenBarrierError:
                told.append("broken")

        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(come)
            await until_idle()
            start(getattr(barrier, end))
        assert told == ["broken"] * 2
        assert barrier.broken is (end == "abort")
        if end == "abort":
            with pytest.raises(threading.BrokenBarrierError):
                await barrier.wait_async()

    loop.run(main)


def test_failing_action_breaks_it_for_those_who_wait(mp, loop) -> None:
    barrier = mp.Barrier(2, lambda: 1 / 0)

    async def main() -> None:
        told = []

        async def come() -> None:
            try:
                await barrier.wait_async()
            except (threading.BrokenBarrierError, ZeroDivisionError) as error:
                told.append(type(error))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(come)
            await until_idle()
            tasks.start_soon(come)
        assert set(told) == {threading.BrokenBarrierError, ZeroDivisionError}

    loop.run(main)


def test_leader_that_dies_in_its_action_breaks_it(mp, start, loop) -> None:
    barrier, held = mp.Barrier(2), mp.Semaphore(0)

    async def main() -> None:
        told = []

        async def come() -> None:
            try:
                await barrier.wait_async()
            except threading.BrokenBarrierError:
                told.append("broken")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(come)
            await until_idle()
            leader = start(targets.wait_and_hold, barrier, held)
            assert held.acquire(timeout=PATIENCE)
            # Comes early, and waits for the end of the action.
            tasks.start_soon(come)
            await until_idle()
            assert told == []
            kill(leader)
        assert told == ["broken"] * 2

    loop.run(main)


def test_wait_that_is_over_at_once_costs_no_descriptor(mp, loop) -> None:
    barrier = mp.Barrier(1)

    async def main() -> None:
        assert await barrier.wait_async() == 0
        assert await barrier.wait_async() == 0

    loop.run(main)
