"""Methods of what a manager keeps, awaited by tasks of an event loop."""

import os
import threading

import pytest
from library import kill, load
from loops import anyio, ended, until_idle
from targets import awaiting as targets
from targets import proxies

pytestmark = pytest.mark.procession_only("there nothing can be awaited")


@pytest.fixture
def manager(mp):
    with proxies.StoreManager(ctx=mp) as manager:
        yield manager
    manager.join()


def test_methods_are_awaited(manager, loop) -> None:
    numbers, table = manager.list([3, 1]), manager.dict()

    async def main() -> None:
        await numbers.call_async("append", 2)
        await numbers.call_async("sort", reverse=True)
        await table.call_async("update", {"a": 1}, b=2)
        assert await numbers.call_async("#GETVALUE") == [3, 2, 1]
        assert await table.call_async("items") == [("a", 1), ("b", 2)]
        with pytest.raises(KeyError, match="absent") as caught:
            await table.call_async("pop", "absent")
        assert "in _call" in str(caught.value.__cause__)
        with pytest.raises(load("managers").RemoteError, match="no_such"):
            await numbers.call_async("no_such")

    loop.run(main)


def test_a_long_call_holds_up_nobody_and_takes_no_thread(manager, loop) -> None:
    queue, numbers = manager.Queue(), manager.list()

    async def main() -> None:
        got = []

        async def get() -> None:
            got.append(await queue.call_async("get"))

        threads = threading.active_count()
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(get)
            await until_idle()
            assert (got, threading.active_count()) == ([], threads)
            await numbers.call_async("append", 1)
            for number in range(20):
                await queue.call_async("put", number)
        assert sorted(got) == list(range(20))

    loop.run(main)


def test_connections_are_used_again_and_closed_with_the_last_proxy(
    manager, loop
) -> None:
    numbers = manager.list()

    async def main(numbers) -> None:
        before = len(os.listdir("/proc/self/fd"))
        for number in range(30):
            await numbers.call_async("append", number)
        assert len(os.listdir("/proc/self/fd")) <= before + 2

        async def append(number: int) -> None:
            await numbers.call_async("append", number)

        async with anyio.create_task_group() as tasks:
            for number in range(30):
                tasks.start_soon(append, number)
        assert len(numbers._connections._idle) <= 8
        assert len(numbers) == 60

    loop.run(main, numbers)
    connections = numbers._connections
    assert connections._idle
    del numbers
    assert connections._idle == []


def test_task_that_is_cancelled_leaves_the_next_answer_alone(manager, loop) -> None:
    queue, numbers = manager.Queue(), manager.list()

    async def main() -> None:
        for number in range(3):
            assert not await ended(queue.call_async("get"))
            assert await numbers.call_async("append", number) is None
            assert await numbers.call_async("index", number) == number
        assert await numbers.call_async("copy") == [0, 1, 2]

    loop.run(main)


def test_method_that_returns_a_proxy_is_awaited(manager, loop) -> None:
    shelf = manager.Shelf()

    async def main() -> None:
        box = await shelf.call_async("box", 21)
        assert type(box) is proxies.BoxProxy
        assert await box.call_async("get") == 21
        assert box.doubled() == 42
        assert await shelf.call_async("number") == 1
        del box
        assert await shelf.call_async("number") == 0

    loop.run(main)


def test_end_of_the_server_is_told(mp, loop) -> None:
    manager = proxies.StoreManager(ctx=mp)
    manager.start()
    queue = manager.Queue()

    async def main() -> None:
        told = []

        async def get() -> None:
            try:
                await queue.call_async("get")
            except (EOFError, ConnectionError) as error:
                told.append(error)

        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(get)
            await until_idle()
            kill(manager._process)
        assert len(told) == 2

    loop.run(main)
    manager.shutdown()
    manager.join()


@pytest.mark.parametrize("kind", ["RLock", "Condition"])
def test_what_belongs_to_a_thread_is_refused(manager, loop, kind) -> None:
    thing = getattr(manager, kind)()

    async def main() -> None:
        with pytest.raises(TypeError, match=f"await procession.{kind}"):
            await thing.call_async("acquire")

    loop.run(main)


def test_lock_of_a_manager_is_awaited(manager, loop) -> None:
    lock = manager.Lock()

    async def main() -> None:
        assert await lock.call_async("acquire")
        assert not await lock.call_async("acquire", False)
        await lock.call_async("release")
        assert await lock.call_async("acquire", False)

    loop.run(main)


def test_child_awaits_the_proxy_that_it_was_given(manager, mp, start, loop) -> None:
    numbers = manager.list()

    async def main() -> None:
        await numbers.call_async("append", 1)
        process = start(targets.append_in_a_loop, numbers, 2)
        await process.join_async()
        assert process.exitcode == 0
        assert await numbers.call_async("copy") == [1, 2]

    loop.run(main)


def test_manager_that_writes_xml_is_awaited(loop) -> None:
    class Tallies(load("managers").BaseManager):
        pass

    Tallies.register("Tally", list)
    with Tallies(serializer="xmlrpclib") as manager:
        tally = manager.Tally()

        async def main(tally) -> None:
            await tally.call_async("append", 5)
            assert await tally.call_async("count", 5) == 1

        loop.run(main, tally)
        del tally
    manager.join()


def test_server_at_a_port_is_awaited(mp, loop) -> None:
    manager = proxies.StoreManager(("127.0.0.1", 0), b"key", ctx=mp)
    with manager:
        numbers = manager.list()

        async def main(numbers) -> None:
            await numbers.call_async("append", 1)
            assert await numbers.call_async("copy") == [1]

        loop.run(main, numbers)
        del numbers
    manager.join()
