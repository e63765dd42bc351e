"""Queues that tasks of an event loop await."""

import asyncio
import os

import pytest
from library import PATIENCE, kill
from loops import anyio, ended, until_idle
from targets import awaiting as targets
from targets import queues

pytestmark = pytest.mark.procession_only("there nothing can be awaited")


@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue", "SimpleQueue"])
def test_items_are_awaited(mp, start, loop, kind) -> None:
    queue, go = getattr(mp, kind)(), mp.Semaphore(0)

    async def main() -> None:
        producer = start(targets.put_when_told, queue, go, ["one", None, bytes(5000)])
        got = []

        async def get_all() -> None:
            for _ in range(3):
                got.append(await queue.get_async())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(get_all)
            await until_idle()
            assert got == []
            for _ in range(3):
                go.release()
        assert got == ["one", None, bytes(5000)]
        producer.join(PATIENCE)

    loop.run(main)


def test_item_that_is_there_is_had_at_once(mp, loop) -> None:
    queue = mp.Queue()
    queue.put(1)

    async def main() -> None:
        assert await queue.get_async() == 1

    loop.run(main)


def test_tasks_that_wait_are_served_in_turn(mp, start, loop) -> None:
    queue, go = mp.Queue(), mp.Semaphore(0)

    async def main() -> None:
        start(targets.put_when_told, queue, go, range(20))
        got = []

        async def get(place: int) -> None:
            got.append((place, await queue.get_async()))

        async with anyio.create_task_group() as tasks:
            for place in range(20):
                tasks.start_soon(get, place)
                await until_idle()
            for _ in range(20):
                go.release()
        assert got == [(place, place) for place in range(20)]

    loop.run(main)


def test_task_that_is_cancelled_takes_no_item(mp, start, loop) -> None:
    queue, go = mp.Queue(), mp.Semaphore(0)

    async def main() -> None:
        start(targets.put_when_told, queue, go, range(100))
        got = []

        async def get_some(scope) -> None:
            with scope:
                while True:
                    got.append(await queue.get_async())

        for turn in range(100):
            async with anyio.create_task_group() as tasks:
                scopes = [anyio.CancelScope() for _ in range(2)]
                for scope in scopes:
                    tasks.start_soon(get_some, scope)
                await until_idle()
                go.release()
                # Sometimes before the item comes, sometimes after, sometimes meanwhile.
                for _ in range(turn % 7):
                    await anyio.lowlevel.checkpoint()
                for scope in scopes:
                    scope.cancel()
        while len(got) < 100:
            got.append(await queue.get_async())
        assert got == list(range(100))
        assert queue.empty()

    loop.run(main)


def test_deadline_of_the_loop_ends_a_wait(mp, loop) -> None:
    queue = mp.Queue()

    async def main() -> None:
        assert not await ended(queue.get_async())
        queue.put("there")
        assert await queue.get_async() == "there"

    loop.run(main)


def test_items_are_iterated_over_until_the_queue_is_shut_down(mp, start, loop) -> None:
    queue, go = mp.Queue(), mp.Semaphore(10)

    async def main() -> None:
        producer = start(targets.put_when_told, queue, go, range(10))
        got = []
        async for item in queue:
            got.append(item)
            if len(got) == 5:
                producer.join(PATIENCE)
                queue.shutdown()
        assert got == list(range(10))

    loop.run(main)


def test_shutdown_tells_who_awaits(lib, mp, loop) -> None:
    queue = mp.Queue()

    async def main() -> None:
        async def get() -> None:
            with pytest.raises(lib.queues.ShutDown):
                await queue.get_async()

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(get)
            await until_idle()
            queue.shutdown()

    loop.run(main)


def test_closed_queue_is_refused(mp, loop) -> None:
    queue = mp.Queue()
    queue.close()

    async def main() -> None:
        with pytest.raises(ValueError, match="closed"):
            await queue.get_async()

    loop.run(main)


def test_what_a_producer_that_dies_has_put_is_had(mp, start, loop) -> None:
    queue = mp.Queue()

    async def main() -> None:
        async def get() -> list:
            return [await queue.get_async() for _ in range(3)]

        start(targets.put_and_die, queue, ["a", "b", "c"])
        assert await get() == ["a", "b", "c"]
        assert not await ended(queue.get_async())

    loop.run(main)


def test_another_consumer_that_dies_leaves_the_item_to_who_awaits(
    mp, start, loop
) -> None:
    queue, go = mp.Queue(), mp.Semaphore(0)

    async def main() -> None:
        consumer = start(queues.get_until_none, queue, queue)
        got = []

        async def get() -> None:
            got.append(await queue.get_async())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(get)
            await until_idle()
            kill(consumer)
            start(targets.put_when_told, queue, go, ["left"])
            go.release()
        assert got == ["left"]

    loop.run(main)


# Putting, and the end of tasks.


def test_put_waits_for_room(mp, start, loop) -> None:
    queue, go = mp.Queue(2), mp.Semaphore(0)
    # Some as they are, and some in blocks of their own.
    items = [bytes([number]) * (number % 3 * 2000) for number in range(30)]

    async def main() -> None:
        consumer = start(targets.get_when_told, queue, go, len(items))
        put = []

        async def put_all() -> None:
            for item in items:
                await queue.put_async(item)
                put.append(item)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(put_all)
            await until_idle()
            assert len(put) == 2
            for _ in items:
                go.release()
        assert await consumer.result_async() == items

    loop.run(main)


def test_tasks_that_put_are_let_in_in_turn(mp, loop) -> None:
    queue = mp.Queue(1)

    async def main() -> None:
        queue.put(-1)
        got = []
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(queue.put_async, number)
                await until_idle()
            while len(got) < 21:
                got.append(await queue.get_async())
        assert got == list(range(-1, 20))

    loop.run(main)


def test_put_that_is_cancelled_has_put_nothing(mp, loop) -> None:
    queue, semaphore = mp.Queue(1), mp.Semaphore(0)

    async def main() -> None:
        queue.put("first")
        assert not await ended(queue.put_async("second"))
        # What goes with it is given back.
        assert not await ended(queue.put_async([mp.Lock(), semaphore, bytes(5000)]))
        assert await queue.get_async() == "first"
        assert queue.empty()
        await queue.put_async("third")
        assert queue.get() == "third"

    loop.run(main)


def test_put_raises_what_is_wrong_with_the_item_or_the_queue(lib, mp, loop) -> None:
    queue = mp.Queue(1)

    async def main() -> None:
        with pytest.raises(TypeError):
            await queue.put_async(number for number in ())
        await queue.put_async(1)

        async def put() -> None:
            with pytest.raises(lib.queues.ShutDown):
                await queue.put_async(2)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(put)
            await until_idle()
            queue.shutdown()

    loop.run(main)


def test_consumer_that_dies_leaves_the_room_that_it_made(mp, start, loop) -> None:
    queue, go = mp.Queue(1), mp.Semaphore(0)

    async def main() -> None:
        queue.put(1)
        consumer = start(targets.get_when_told, queue, go, 2)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(queue.put_async, 2)
            await until_idle()
            go.release()
        kill(consumer)
        assert not await ended(queue.put_async(3))
        assert queue.get() == 2

    loop.run(main)


def test_end_of_all_tasks_is_awaited(mp, start, loop) -> None:
    tasks_to_do, done = mp.JoinableQueue(), mp.SimpleQueue()

    async def main() -> None:
        await tasks_to_do.join_async()
        for number in range(5):
            tasks_to_do.put(number)
        assert not await ended(tasks_to_do.join_async())
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(tasks_to_do.join_async)
            await until_idle()
            start(queues.do_tasks, tasks_to_do, done)
        assert [done.get() for _ in range(5)] == list(range(5))
        tasks_to_do.put(None)
        await tasks_to_do.join_async()

    loop.run(main)


# Loops, threads, descriptors.


def test_two_loops_in_two_threads_await_one_queue(mp, loop) -> None:
    from concurrent.futures import ThreadPoolExecutor

    queue = mp.Queue()

    async def main() -> list:
        return [await queue.get_async() for _ in range(50)]

    with ThreadPoolExecutor(2) as threads:
        lists = [threads.submit(loop.run, main) for _ in range(2)]
        for number in range(100):
            queue.put(number)
        got = [each.result(PATIENCE) for each in lists]
    assert sorted(got[0] + got[1]) == list(range(100))
    assert got == [sorted(each) for each in got]


def test_tasks_that_await_add_no_thread_and_one_descriptor(mp, loop) -> None:
    queue = mp.Queue()

    async def main() -> None:
        async def get() -> None:
            await queue.get_async()

        with anyio.move_on_after(0.05):
            await get()  # What is made once for a queue is there now.
        before = [len(os.listdir(f"/proc/self/{what}")) for what in ("task", "fd")]
        async with anyio.create_task_group() as tasks:
            for _ in range(1000):
                tasks.start_soon(get)
            await until_idle()
            now = [len(os.listdir(f"/proc/self/{what}")) for what in ("task", "fd")]
            for _ in range(1000):
                queue.put(None)
        assert now == before

    loop.run(main)


@pytest.mark.methods("fork")
def test_reader_of_the_programs_own_is_left_alone_when_nobody_awaits(mp) -> None:
    queue = mp.Queue()

    async def main() -> None:
        queue.put(1)
        assert await queue.get_async() == 1
        loop, told = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(queue.fileno(), told.set)
        queue.put(2)
        await told.wait()
        loop.remove_reader(queue.fileno())
        assert queue.get() == 2

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


@pytest.mark.methods("fork")
def test_nothing_is_awaited_without_a_loop(mp) -> None:
    getting = mp.Queue().get_async()
    with pytest.raises(RuntimeError, match="no running event loop"):
        getting.send(None)
