"""Locks, queues and all else that a cluster's hub keeps, awaited by tasks of an event loop."""

import threading

import procession
import pytest
from library import PATIENCE, wait_until
from loops import anyio, ended, until_idle
from procession import _test_tasks as tasks
from procession.distributed import EngineUnavailable
from procession.queues import ShutDown

pytestmark = [pytest.mark.slow, pytest.mark.methods("fork")]


def waiting(context) -> int:
    """Returns how many requests wait at the hub."""
    kept = [*context._hub._kept.values()]
    lines = [line for each in kept for line in each.waiting.values()]
    lines += [getattr(each, "_sleepers", ()) for each in kept]
    return sum(map(len, lines))


async def until_waiting(context, count: int) -> None:
    """Lets the tasks of the loop go on until so many requests wait at the hub."""
    with anyio.fail_after(PATIENCE):
        while waiting(context) != count:
            await anyio.sleep(0.001)


@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue", "SimpleQueue"])
def test_items_are_awaited(context, loop, kind) -> None:
    queue = getattr(context, kind)()

    async def main() -> None:
        got = []

        async def get_all() -> None:
            for _ in range(3):
                got.append(await queue.get_async())

        async with anyio.create_task_group() as group:
            group.start_soon(get_all)
            await until_waiting(context, 1)
            assert got == []
            await queue.put_async("one")
            queue.put(None)
            # More than a socket has room for, so that both sides wait in the middle of it.
            await queue.put_async(bytes(20_000_000))
        assert got == ["one", None, bytes(20_000_000)]

    loop.run(main)


def test_room_the_end_of_all_tasks_and_the_end_of_a_queue_are_awaited(
    context, loop
) -> None:
    queue = context.JoinableQueue(2)

    async def main() -> None:
        seen = []

        async def put_all() -> None:
            for number in range(6):
                await queue.put_async(number)
            await queue.join_async()
            seen.append("all done")
            queue.shutdown()

        async with anyio.create_task_group() as group:
            group.start_soon(put_all)
            await until_waiting(context, 1)
            assert queue.qsize() == 2
            async for item in queue:
                seen.append(item)
                queue.task_done()
        assert seen == [0, 1, 2, 3, 4, 5, "all done"]
        with pytest.raises(ShutDown):
            await queue.get_async()
        queue.close()
        with pytest.raises(ValueError, match="is closed"):
            await queue.put_async(1)

    loop.run(main)


def test_task_that_is_cancelled_takes_no_item(context, loop) -> None:
    queue = context.Queue()

    async def main() -> None:
        got = []

        async def get_some(scope) -> None:
            with scope:
                while True:
                    got.append(await queue.get_async())

        for turn in range(60):
            async with anyio.create_task_group() as group:
                scopes = [anyio.CancelScope() for _ in range(2)]
                for scope in scopes:
                    group.start_soon(get_some, scope)
                if turn % 2:
                    await until_waiting(context, 2)
                queue.put(turn)
                # Sometimes before the item comes, sometimes after, sometimes meanwhile.
                for _ in range(turn % 7):
                    await anyio.lowlevel.checkpoint()
                for scope in scopes:
                    scope.cancel()
        while len(got) < 60:
            got.append(await queue.get_async())
        assert sorted(got) == list(range(60))
        assert queue.empty()

    loop.run(main)


def test_task_that_is_cancelled_in_the_middle_of_a_large_item_has_put_nothing(
    context, loop
) -> None:
    queue = context.Queue()

    async def main() -> None:
        stopped = threading.Event()
        serve = context._hub._look_at_time

        def stand_still() -> None:
            assert stopped.wait(PATIENCE)
            serve()

        context._hub._look_at_time = stand_still
        context._hub._waker.send(b"x")
        async with anyio.create_task_group() as group:
            group.start_soon(queue.put_async, bytes(20_000_000))
            await until_idle()
            group.cancel_scope.cancel()
        context._hub._look_at_time = serve
        stopped.set()
        await queue.put_async("next")
        assert await queue.get_async() == "next"
        assert queue.empty()

    queue.put("warm")  # The connection is there.
    assert queue.get() == "warm"
    loop.run(main)


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore", "BoundedSemaphore"])
def test_tasks_threads_and_nodes_exclude_one_another(context, loop, kind) -> None:
    lock, total = getattr(context, kind)(), context.Value("i", lock=False)

    async def main() -> None:
        async def add() -> None:
            for _ in range(10):
                async with lock:
                    seen = total.value
                    await anyio.lowlevel.checkpoint()
                    total.value = seen + 1

        process = context.Process(target=tasks.add_in_turn, args=(lock, total, 10))
        process.start()
        thread = threading.Thread(target=tasks.add_in_turn, args=(lock, total, 10))
        thread.start()
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(add)
        await process.join_async()
        assert process.exitcode == 0
        thread.join()
        assert total.value == 50
        process.close()

    loop.run(main)


def test_re_entrant_lock_is_that_of_the_task_and_its_value_can_be_used(
    context, loop
) -> None:
    value = context.Value("i")
    tree = value.get_lock()

    async def main() -> None:
        async with tree:
            async with tree:
                value.value += 1
                assert tree.acquire(timeout=0)
                tree.release()
            assert not await ended_in_another_task(tree)
            value.value += 1
        assert value.value == 2 and not tree.locked()
        with pytest.raises(AssertionError, match="not held"):
            tree.release()
        with tree:
            assert not await ended(tree.acquire_async())
        assert await tree.acquire_async()
        tree.release()
        assert not tree.locked()

    async def ended_in_another_task(lock) -> bool:
        got = []

        async def take() -> None:
            got.append(await ended(lock.acquire_async()))

        async with anyio.create_task_group() as group:
            group.start_soon(take)
        return got[0]

    loop.run(main)


def test_one_who_awaits_is_told_that_the_owner_died(context, loop) -> None:
    lock, held = context.Lock(), context.Event()

    async def main() -> None:
        holder = context.Process(target=tasks.hold, args=(lock, held))
        holder.start()
        await held.wait_async()
        told = []

        async def take() -> None:
            try:
                await lock.acquire_async()
            except procession.OwnerDied:
                told.append("died")

        async with anyio.create_task_group() as group:
            group.start_soon(take)
            await until_waiting(context, 1)
            holder.kill()
        assert told == ["died"]
        assert await lock.acquire_async()
        lock.release()
        holder.join(PATIENCE)
        holder.close()

    loop.run(main)


def test_notification_is_awaited_and_passed_on_by_one_who_is_cancelled(
    context, loop
) -> None:
    changed, shelf = context.Condition(), []

    async def main() -> None:
        async def wait_for_bread() -> None:
            async with changed, changed:
                await changed.wait_for_async(lambda: shelf)
                shelf.append("eaten")

        async with anyio.create_task_group() as group:
            group.start_soon(wait_for_bread)
            await until_waiting(context, 1)
            with anyio.CancelScope() as scope:
                async with changed:
                    scope.cancel()
                    try:
                        await changed.wait_async()
                    finally:
                        # Which only a holder may: the lock was taken again.
                        shelf.append("bread")
                        changed.notify_all()
            assert scope.cancelled_caught
        assert shelf == ["bread", "eaten"]
        with pytest.raises(AssertionError, match="must acquire"):
            await changed.wait_async()
        assert not changed._lock.locked()

    loop.run(main)


def test_one_who_is_cancelled_while_it_sleeps_has_the_lock_again(context, loop) -> None:
    changed = context.Condition(context.Lock())

    async def main() -> None:
        entered = []

        async def wait() -> None:
            async with changed:
                try:
                    await changed.wait_async()
                finally:
                    entered.append(changed._lock.locked())

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await until_waiting(context, 1)
            group.cancel_scope.cancel()
        assert entered == [True] and not changed._lock.locked()

    loop.run(main)


def test_event_is_awaited_though_it_is_cleared_at_once(context, loop) -> None:
    event = context.Event()

    async def main() -> None:
        assert not await ended(event.wait_async())
        woken = []

        async def wait() -> None:
            woken.append(await event.wait_async())

        async with anyio.create_task_group() as group:
            for _ in range(40):
                group.start_soon(wait)
            await until_waiting(context, 40)
            event.set()
            event.clear()
        assert woken == [True] * 40

    loop.run(main)


def test_barrier_is_awaited_and_one_who_is_cancelled_has_not_come(
    context, loop
) -> None:
    led = []
    meeting = context.Barrier(3, action=lambda: led.append("led"))

    async def main() -> None:
        assert not await ended(meeting.wait_async())
        await until_waiting(context, 0)
        places = []

        async def come() -> None:
            places.append(await meeting.wait_async())

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(come)
        assert sorted(places) == [0, 1, 2] and led == ["led"]
        async with anyio.create_task_group() as group:
            group.start_soon(wait_in_vain)
            await until_waiting(context, 1)
            meeting.abort()

    async def wait_in_vain() -> None:
        with pytest.raises(threading.BrokenBarrierError, match="has aborted"):
            await meeting.wait_async()

    loop.run(main)


def test_one_who_awaits_is_told_that_the_hub_is_gone(context, loop) -> None:
    queue = context.Queue()

    async def main() -> None:
        async def get() -> None:
            with pytest.raises(EngineUnavailable, match="does not answer any more"):
                await queue.get_async()

        async with anyio.create_task_group() as group:
            group.start_soon(get)
            await until_waiting(context, 1)
            context.close()
        with pytest.raises(EngineUnavailable, match="cannot be reached"):
            await queue.get_async()

    loop.run(main)


def test_task_that_is_cancelled_while_it_connects_leaves_nothing(context, loop) -> None:
    queue = context.Queue()

    async def main() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await queue.get_async()
        queue.put(1)
        assert await queue.get_async() == 1

    loop.run(main)
    wait_until(lambda: not waiting(context))
    assert queue.empty()


def test_nothing_is_awaited_without_a_loop(context) -> None:
    coroutine = context.Queue().get_async()
    with pytest.raises(RuntimeError, match="no running event loop"):
        coroutine.send(None)
