"""Processes that tasks of an event loop await."""

import os

import pytest
from library import PATIENCE, kill
from loops import anyio, ended, until_idle
from targets import awaiting as targets

pytestmark = pytest.mark.procession_only("there nothing can be awaited")


def test_end_of_a_process_is_awaited(mp, start, loop) -> None:
    go = mp.Semaphore(0)

    async def main() -> None:
        process = start(targets.wait_and_return, go, 7)
        told = []

        async def join() -> None:
            await process.join_async()
            told.append(process.exitcode)

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(join)
            await until_idle()
            assert told == []
            go.release()
        assert told == [0, 0, 0]
        assert await process.result_async() == 7
        # Of what has ended already, too.
        await process.join_async()

    loop.run(main)


def test_process_that_is_killed_has_ended(lib, mp, start, loop) -> None:
    go = mp.Semaphore(0)

    async def main() -> None:
        process = start(targets.wait_and_return, go, None)

        async def result() -> None:
            with pytest.raises(lib.WorkerDied, match="SIGKILL"):
                await process.result_async()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(result)
            await until_idle()
            kill(process)

    loop.run(main)


def test_error_of_a_process_is_raised(mp, start, loop) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="on purpose"):
            await start(targets.fail, "on purpose").result_async()
        process = start(targets.exit_with, 3)
        await process.join_async()
        assert process.exitcode == 3

    loop.run(main)


def test_task_that_is_cancelled_leaves_the_process_as_it_is(mp, start, loop) -> None:
    go = mp.Semaphore(0)

    async def main() -> None:
        process = start(targets.wait_and_return, go, "done")
        assert not await ended(process.join_async())
        assert process.is_alive()
        go.release()
        assert await process.result_async() == "done"

    loop.run(main)


@pytest.mark.methods("fork")
def test_what_cannot_be_joined_cannot_be_awaited(mp, loop) -> None:
    async def main() -> None:
        process = mp.Process(target=print)
        with pytest.raises(AssertionError, match="started"):
            await process.join_async()
        process.close()
        with pytest.raises(ValueError, match="closed"):
            await process.join_async()

    loop.run(main)


def test_what_is_awaited_takes_no_thread(mp, start, loop) -> None:
    go, event, lock, barrier = mp.Semaphore(0), mp.Event(), mp.Lock(), mp.Barrier(9)
    here, there = mp.Pipe()

    async def take() -> None:
        async with lock:
            pass

    async def main() -> None:
        process = start(targets.wait_and_return, go, None)
        waits = [process.join_async, process.result_async, event.wait_async]
        waits += [here.recv_async, barrier.wait_async, take]
        before = set(os.listdir("/proc/self/task"))
        lock.acquire()
        async with anyio.create_task_group() as tasks:
            for wait in waits:
                for _ in range(8):
                    tasks.start_soon(wait)
            await until_idle()
            # One that was there, of a pool that is no more, may have ended.
            assert set(os.listdir("/proc/self/task")) <= before
            go.release()
            event.set()
            lock.release()
            for number in range(8):
                there.send(number)
            await barrier.wait_async()

    loop.run(main)
    here.close()
    there.close()


def test_first_of_several_things_is_awaited(lib, mp, start, loop) -> None:
    go, queue = mp.Semaphore(0), mp.Queue()
    here, there = mp.Pipe()

    async def main() -> None:
        process = start(targets.wait_and_return, go, None)
        things = [process, queue, here]
        assert not await ended(lib.connection.wait_async(things))
        there.send("hello")
        assert await lib.connection.wait_async(things) == [here]
        queue.put(1)
        assert await lib.connection.wait_async(things) == [queue, here]
        assert (here.recv(), queue.get()) == ("hello", 1)
        go.release()
        assert await lib.connection.wait_async(things) == [process]
        process.join(PATIENCE)
        event = mp.Event()
        assert not await ended(lib.connection.wait_async([event, here]))
        event.set()
        assert await lib.connection.wait_async([event, here]) == [event]

    loop.run(main)
    here.close()
    there.close()
