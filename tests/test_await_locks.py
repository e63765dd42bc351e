"""Locks, semaphores and events that tasks of an event loop await."""

import os

import pytest
from library import PATIENCE, kill
from loops import anyio, ended, until_idle
from targets import awaiting as targets
from targets import synchronize

pytestmark = pytest.mark.procession_only("there nothing can be awaited")

KINDS = ["Lock", "RLock", "Semaphore", "BoundedSemaphore"]


@pytest.mark.parametrize("kind", KINDS)
def test_lock_that_another_process_frees_is_had(mp, start, loop, kind) -> None:
    lock, held, go = getattr(mp, kind)(), mp.Semaphore(0), mp.Semaphore(0)

    async def main() -> None:
        start(targets.hold_until_told, lock, held, go)
        assert held.acquire(timeout=PATIENCE)
        events = []

        async def take() -> None:
            async with lock:
                events.append("taken")
                assert not lock.acquire(block=False) or kind == "RLock"

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take)
            await until_idle()
            assert events == []
            go.release()
        assert events == ["taken"]

    loop.run(main)


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore"])
def test_tasks_of_several_processes_exclude_one_another(mp, start, loop, kind) -> None:
    lock, total = getattr(mp, kind)(), mp.RawValue("i")

    async def main() -> None:
        async def add() -> None:
            for _ in range(50):
                async with lock:
                    seen = total.value
                    await anyio.lowlevel.checkpoint()
                    total.value = seen + 1

        adders = [
            start(targets.add_in_a_loop, lock, total, 50),
            start(synchronize.add_without_losing, lock, total, 100),
        ]
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(add)
        for process in adders:
            await process.join_async()
            assert process.exitcode == 0
        assert total.value == 300

    loop.run(main)


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_one_who_awaits_is_told_that_the_owner_died(lib, mp, start, loop, kind) -> None:
    lock, held = getattr(mp, kind)(), mp.Semaphore(0)

    async def main() -> None:
        holder = start(targets.hold_and_stay, lock, held)
        assert held.acquire(timeout=PATIENCE)
        told = []

        async def take() -> None:
            try:
                async with lock:
                    told.append("taken")
            except lib.OwnerDied:
                told.append("OwnerDied")

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(take)
            await until_idle()
            kill(holder)
        assert sorted(told) == ["OwnerDied", "taken", "taken"]

    loop.run(main)


def test_permit_of_a_holder_that_dies_comes_back(mp, start, loop) -> None:
    semaphore, held = mp.Semaphore(1), mp.Semaphore(0)

    async def main() -> None:
        holder = start(targets.hold_and_stay, semaphore, held)
        assert held.acquire(timeout=PATIENCE)
        holder.kill()
        async with semaphore:
            pass

    loop.run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_task_that_is_cancelled_has_taken_nothing(mp, start, loop, kind) -> None:
    lock, held, go = getattr(mp, kind)(), mp.Semaphore(0), mp.Semaphore(0)

    async def main() -> None:
        for turn in range(20):
            start(targets.hold_until_told, lock, held, go)
            assert held.acquire(timeout=PATIENCE)
            scope, took = anyio.CancelScope(), []

            async def take(scope=scope, took=took) -> None:
                with scope:
                    await lock.acquire_async()
                    took.append(True)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(take)
                await until_idle()
                go.release()
                # Sometimes before it is free, sometimes after, sometimes meanwhile.
                for _ in range(turn * 2):
                    await anyio.lowlevel.checkpoint()
                scope.cancel()
            if took:
                if kind == "RLock":
                    lock._task = None
                lock.release()
            assert scope.cancelled_caught is not bool(took)
            async with lock:
                pass

    loop.run(main)


def test_semaphore_lets_as_many_tasks_in_as_it_has_permits(mp, loop) -> None:
    semaphore = mp.Semaphore(3)

    async def main() -> None:
        inside, most = 0, 0

        async def enter() -> None:
            nonlocal inside, most
            async with semaphore:
                inside += 1
                most = max(most, inside)
                await anyio.sleep(0.001)
                inside -= 1

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(enter)
        assert most == 3

    loop.run(main)


def test_two_permits_at_once_are_for_two_tasks(mp, start, loop) -> None:
    semaphore = mp.Semaphore(0)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(semaphore.acquire_async)
            await until_idle()
            for _ in range(5):
                start(synchronize.release, semaphore)

    loop.run(main)


@pytest.mark.methods("fork")
def test_task_owns_a_lock_that_it_may_take_again(mp, loop) -> None:
    lock = mp.RLock()

    async def main() -> None:
        events = []

        async def take() -> None:
            async with lock:
                events.append("taken")

        async with anyio.create_task_group() as tasks, lock, lock:
            tasks.start_soon(take)
            await until_idle()
            async with lock:
                events.append("again")
            events.append("free")
        assert events == ["again", "free", "taken"]
        # What the thread has is no task's.
        with lock:
            assert not await ended(lock.acquire_async())
        async with lock:
            pass

    loop.run(main)


@pytest.mark.methods("fork")
def test_lock_that_is_free_costs_no_descriptor(mp, loop) -> None:
    lock = mp.Lock()

    async def main() -> None:
        before = len(os.listdir("/proc/self/fd"))
        async with lock:
            assert len(os.listdir("/proc/self/fd")) == before

    loop.run(main)


# Events.


def test_event_is_awaited(mp, start, loop) -> None:
    event = mp.Event()

    async def main() -> None:
        told = []

        async def wait() -> None:
            assert await event.wait_async() is True
            told.append(True)

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(wait)
            await until_idle()
            assert told == []
            setter = start(targets.set_and_clear, event)
        assert told == [True] * 3
        await setter.join_async()
        assert not event.is_set()
        assert not await ended(event.wait_async())
        event.set()
        assert await event.wait_async() is True

    loop.run(main)


def test_event_that_this_process_sets_and_clears_is_told(mp, loop) -> None:
    event = mp.Event()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(event.wait_async)
            await until_idle()
            event.set()
            event.clear()

    loop.run(main)


@pytest.mark.methods("fork")
def test_forked_child_awaits_by_descriptors_of_its_own(mp, start, loop) -> None:
    lock, held, go = mp.Lock(), mp.Semaphore(0), mp.Semaphore(0)
    total = mp.RawValue("i")

    async def main() -> None:
        start(targets.hold_until_told, lock, held, go)
        assert held.acquire(timeout=PATIENCE)
        # This process has a descriptor for it.
        assert not await ended(lock.acquire_async())
        child = start(targets.add_in_a_loop, lock, total, 5)
        async with anyio.create_task_group() as tasks:

            async def take() -> None:
                async with lock:
                    pass

            tasks.start_soon(take)
            await until_idle()
            go.release()
        await child.join_async()
        assert (child.exitcode, total.value) == (0, 10)

    loop.run(main)


# Conditions.


def test_notification_is_awaited(mp, start, loop) -> None:
    condition = mp.Condition()

    async def main() -> None:
        told = []

        async def wait(place: int) -> None:
            async with condition:
                assert await condition.wait_async() is True
                told.append(place)

        async with anyio.create_task_group() as tasks:
            for place in range(3):
                tasks.start_soon(wait, place)
                await until_idle()
            # Who came first is notified first.
            start(targets.notify, condition, 1)
            while not told:
                await anyio.sleep(0.001)
            assert told == [0]
            start(targets.notify, condition, 2)
        assert sorted(told) == [0, 1, 2]
        async with condition:
            assert await condition.wait_for_async(lambda: told) == told
            assert not await ended(condition.wait_async())
            # Who is cancelled has the lock again.
            condition.notify()

    loop.run(main)


def test_notification_of_one_who_is_cancelled_goes_to_the_next(mp, loop) -> None:
    condition = mp.Condition(mp.Lock())

    async def main() -> None:
        told = []

        async def wait(scope, place: int) -> None:
            with scope:
                async with condition:
                    await condition.wait_async()
                    told.append(place)

        scopes = [anyio.CancelScope() for _ in range(2)]
        async with anyio.create_task_group() as tasks:
            for place, scope in enumerate(scopes):
                tasks.start_soon(wait, scope, place)
                await until_idle()
            async with condition:
                condition.notify()
                scopes[0].cancel()
        assert told == [1]

    loop.run(main)


@pytest.mark.methods("fork")
def test_condition_that_is_not_held_is_refused(mp, loop) -> None:
    async def main() -> None:
        with pytest.raises(AssertionError, match="acquire"):
            await mp.Condition().wait_async()

    loop.run(main)
