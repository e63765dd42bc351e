"""What type checkers must refuse: each line that ends in `# refused`, and no other."""

import procession
from procession.futures import Future, ProcessPoolExecutor
from procession.pool import AsyncResult, Pool
from procession.queues import Queue


def square(number: int) -> float:
    return float(number * number)


def told(value: str) -> None:
    print(value)


def pools(pool: Pool) -> None:
    pool.map(square, ["a"])  # refused
    pool.map(square, 3)  # refused
    pool.map(square, [1], timeout="soon")  # refused
    names: list[str] = pool.map(square, [1])  # refused
    later: AsyncResult[str] = pool.apply_async(square, (1,))  # refused
    pool.apply_async(square, (1,), callback=told)  # refused
    pool.imap(square, [1]).next().upper()  # refused
    pool.map(square)  # refused
    pool.map(square, [1], on_error="raise")  # refused
    pool.map(square, [1], on_error="collect")[0].hex()  # refused
    pool.apply(square, (1,), soft_timeout="soon")  # refused
    pool.apply(square, (1,), priority=0.5)  # refused
    pool.imap(square, [1], chunks=3)  # refused
    pool.map(square, [1], progress="yes")  # refused
    print(names, later)


def executors(executor: ProcessPoolExecutor) -> None:
    executor.submit(square, "a")  # refused
    later: Future[str] = executor.submit(square, 1)  # refused
    executor.with_options(retries="often")  # refused
    print(later)


class Counter:
    def add(self, number: int) -> int:
        return number


def actors() -> None:
    counter = procession.Actor(Counter)
    counter.call(Counter.add, "a")  # refused
    counter.call(Counter.add)  # refused
    counter.call(square, 1)  # refused
    word: str = counter.call(Counter.add, 1)  # refused
    procession.Actor(3)  # refused
    print(word)


async def awaited(words: Queue[str]) -> None:
    await words.put_async(3)  # refused
    number: int = await words.get_async()  # refused
    async with procession.Event():  # refused
        print(number)


def rest() -> None:
    words: Queue[str] = procession.Queue()
    words.put(3)  # refused
    procession.Value("i").value = "a"  # refused
    procession.Array("i", 3)[0] = "a"  # refused
    procession.Process(target=3)  # refused
    procession.Process(affinity=3)  # refused
    procession.Process(env={"A": 1})  # refused
    procession.get_context(3)  # refused
    procession.get_context("spawn").Pool("two")  # refused
    procession.Manager().dictionary()  # refused
    procession.Manager().list(["a"]).append(1)  # refused
    procession.Manager().dict({"a": 1})[2] = 2  # refused
