"""What type checkers know of a program, which runs, too.

Each `assert_type` is what they must infer.
"""

import asyncio
import ctypes
from typing import Any, assert_type

import procession
from procession.actor import Actor
from procession.connection import wait_async
from procession.context import (
    BaseContext,
    ForkContext,
    ForkServerContext,
    SpawnContext,
)
from procession.futures import Future, ProcessPoolExecutor, WorkerDied
from procession.managers import SyncManager
from procession.pool import ApplyResult, AsyncResult, IMapIterator, MapResult, Pool
from procession.queues import JoinableQueue, Queue, SimpleQueue
from procession.sharedctypes import (
    Synchronized,
    SynchronizedArray,
    SynchronizedString,
    SynchronizedStructure,
)


def square(number: int) -> float:
    return float(number * number)


def repeat(word: str, times: int) -> str:
    return word * times


class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_double), ("y", ctypes.c_double)]


class Counter:
    def __init__(self, start: int) -> None:
        self.value = start

    def add(self, number: int, times: int = 1) -> int:
        self.value += number * times
        return self.value


def actors() -> None:
    with procession.Actor(Counter, (10,), timeout=60, restarts=1) as counter:
        assert_type(counter, Actor[Counter])
        assert_type(counter.call(Counter.add, 1), int)
        assert_type(counter.call(Counter.add, 1, times=2), int)
        assert_type(counter.call_async(Counter.add, 1), ApplyResult[int])
        assert_type(counter.with_options(timeout=1.5).call(Counter.add, 1), int)
        counter.add(1)
        assert_type(counter.pid, int)


def pools() -> None:
    with procession.Pool(2) as pool:
        assert_type(pool, Pool)
        assert_type(pool.map(square, [1, 2]), list[float])
        assert_type(pool.map(square, range(3), 1, timeout=2.0, retries=1), list[float])
        assert_type(pool.starmap(repeat, [("a", 2)]), list[str])
        assert_type(pool.apply(repeat, ("a", 2)), str)
        assert_type(pool.apply_async(repeat, ("a",), {"times": 2}), ApplyResult[str])
        assert_type(pool.apply_async(square, (2,)).get(), float)
        assert_type(pool.map_async(square, [1]), MapResult[float])
        assert_type(pool.map_async(square, [1]).get(timeout=1), list[float])
        assert_type(pool.starmap_async(repeat, [("a", 2)]).get(), list[str])
        assert_type(pool.imap(square, [1]), IMapIterator[float])
        assert_type(pool.imap(square, [1]).next(timeout=1), float)
        assert_type(list(pool.imap_unordered(square, [1])), list[float])
        assert_type(next(pool.imap(str, [1])), str)
        assert_type(pool.map(square, [1], on_error="stop", priority=2), list[float])
        found = pool.map(square, [1], soft_timeout=1.5, on_error="collect")
        assert_type(found, list[float | BaseException])
        later_found = pool.starmap_async(repeat, [("a", 2)], on_error="collect")
        assert_type(later_found.get(), list[str | BaseException])
        assert_type(next(pool.imap(str, [1], on_error="continue")), str)
        each = next(pool.imap_unordered(str, [1], on_error="collect"))
        assert_type(each, str | BaseException)
        later: AsyncResult[int] = pool.apply_async(len, ([],))
        assert_type(later.cancel(kill=True), bool)
        assert_type(pool.workers()[0].pid, int)
        assert_type(pool.map(square, [1], progress={"disable": True}), list[float])
        shown = pool.imap(square, [1], progress={"disable": True})
        assert_type(shown, IMapIterator[float])
    shared = procession.Shared([1.5])
    assert_type(shared.value, list[float])
    with procession.Pool(
        1, worker_state=dict, worker_exit=len, idle_timeout=60, threads_per_worker=1
    ) as pool:
        assert_type(pool.apply(repeat, ("a", 2), soft_timeout=60, timeout=90), str)
        assert_type(pool.apply(len, (pool.worker_state,)), int)
        assert_type(pool.exit_results(), list[Any])
    assert_type(procession.current_process().worker_state, Any)
    assert_type(procession.get_pool(1), Pool)


def executors() -> None:
    with ProcessPoolExecutor(2, retries=1) as executor:
        future = executor.submit(repeat, "a", times=2)
        assert_type(future, Future[str])
        assert_type(future.result(timeout=60), str)
        assert_type(future.cancel(kill=True), bool)
        assert_type(list(executor.map(square, [1, 2])), list[float])
        view = executor.with_options(timeout=60, soft_timeout=50, priority=-1)
        assert_type(view.submit(square, 2), Future[float])
        assert_type(asyncio.run(awaited(executor)), float)
        error = future.exception()
        if isinstance(error, WorkerDied):
            assert_type(error.pid, int | None)


async def awaited(executor: ProcessPoolExecutor) -> float:
    with procession.Pool(1) as pool:
        assert_type(await pool.apply_async(repeat, ("a", 2)), str)
        async for result in pool.imap(square, [1]):
            assert_type(result, float)
    assert_type(await executor.submit(square, 2), float)
    return await asyncio.wrap_future(executor.submit(square, 2))


async def rest_awaited() -> None:
    words: Queue[str] = procession.Queue(3)
    await words.put_async("a")
    assert_type(await words.get_async(), str)
    words.put("b")
    words.shutdown()
    async for word in words:
        assert_type(word, str)
    simple: SimpleQueue[bytes] = procession.SimpleQueue()
    await simple.put_async(b"c")
    assert_type(await simple.get_async(), bytes)
    await procession.JoinableQueue().join_async()
    async with procession.Lock() as taken, procession.Semaphore():
        assert_type(taken, bool)
    event = procession.Event()
    event.set()
    assert_type(await event.wait_async(), bool)
    here, there = procession.Pipe()
    with here, there:
        await here.send_bytes_async(b"d")
        assert_type(await wait_async([there]), list[Any])
        assert_type(await there.recv_bytes_async(), bytes)


def told(value: float) -> None:
    assert value.is_integer()


def callbacks(pool: Pool) -> None:
    pool.apply_async(square, (2,), callback=told)
    pool.map_async(square, [2], callback=lambda values: told(values[0]))
    pool.apply_async(square, (2,), error_callback=lambda error: told(len(error.args)))


def contexts(name: str) -> None:
    assert_type(procession.get_context("fork"), ForkContext)
    assert_type(procession.get_context("spawn"), SpawnContext)
    assert_type(procession.get_context("forkserver"), ForkServerContext)
    assert_type(procession.get_context(name), BaseContext)
    assert_type(procession.get_context(), BaseContext)
    assert_type(procession.get_start_method(), str)
    assert_type(procession.get_start_method(allow_none=True), str | None)
    spawn = procession.get_context("spawn")
    assert_type(spawn.get_context("fork"), ForkContext)
    process = spawn.Process(target=square, args=(2,))
    spawn.Process(env={"A": "b"}, affinity={0}, memory_limit="1GiB")
    assert_type(process.exitcode, int | None)
    with procession.Manager() as manager:
        assert_type(manager, SyncManager)


def managed() -> None:
    with procession.Manager() as manager:
        ages = manager.dict({"a": 1})
        assert_type(ages["a"], int)
        assert_type(ages.items(), list[tuple[str, int]])
        ages.update(b=2)
        words = manager.list(["a", "b"])
        assert_type(words[0], str)
        assert_type(words[:1], list[str])
        words.append("c")
        assert_type(manager.set([1]).copy(), set[int])
        assert_type(manager.Value("i", 3).value, int)
        assert_type(manager.Lock().acquire(), bool)
        manager.Queue(3).put(4)
        manager.Namespace(x=1).y = 2


def queues() -> None:
    words: Queue[str] = procession.Queue(3)
    words.put_many(["a", "b"])
    assert_type(words.get(timeout=60), str)
    assert_type(words.get_many(2), list[str])
    numbers: JoinableQueue[int] = procession.JoinableQueue()
    numbers.put(3)
    assert_type(numbers.get_nowait(), int)
    numbers.task_done()
    simple: SimpleQueue[bytes] = procession.SimpleQueue()
    simple.put(b"c")
    assert_type(simple.get(), bytes)


def values() -> None:
    assert_type(procession.Value(ctypes.c_int, 3), Synchronized[int])
    assert_type(procession.Value(ctypes.c_double).value, float)
    assert_type(procession.Value("i", 3).value, int)
    assert_type(procession.Value("d", 3), Synchronized[float])
    assert_type(procession.Value("i", 3, lock=procession.Lock()), Synchronized[int])
    assert_type(procession.Value(ctypes.c_int, 3, lock=False), ctypes.c_int)
    assert_type(procession.Value(Point, 1, 2), SynchronizedStructure[Point])
    procession.Value(Point, 1, 2).x = 3
    assert_type(procession.Value(Point).get_obj(), Point)
    assert_type(procession.RawValue(ctypes.c_int), ctypes.c_int)
    assert_type(procession.RawValue("i"), Any)
    assert_type(procession.Array(ctypes.c_int, 3), SynchronizedArray[int])
    assert_type(procession.Array("d", [1, 2])[0], float)
    assert_type(procession.Array("i", 3)[:2], list[int])
    assert_type(procession.Array("c", b"abc"), SynchronizedString)
    assert_type(procession.Array("c", 3).value, bytes)
    assert_type(
        procession.Array(ctypes.c_int, 3, lock=False), ctypes.Array[ctypes.c_int]
    )
    assert_type(procession.RawArray(ctypes.c_int, 3), ctypes.Array[ctypes.c_int])
    with procession.Value("i") as held:
        assert_type(held, bool)


if __name__ == "__main__":
    pools()
    executors()
    with procession.Pool(1) as workers:
        callbacks(workers)
    contexts("spawn")
    managed()
    queues()
    asyncio.run(rest_awaited())
    values()
