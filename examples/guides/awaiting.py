"""A loop of asyncio that awaits a pool, a queue and a process; no thread waits for it."""

import asyncio
import time

import procession


def square(number: int) -> int:
    return number * number


async def gather(pool) -> None:
    calls = [pool.apply_async(square, (number,)) for number in range(5)]
    print("gathered:", await asyncio.gather(*calls))


async def iterate(pool) -> None:
    async for result in pool.imap(square, range(3)):
        print("one by one:", result)


async def limit_time(pool) -> None:
    """When the time is over, the task is cancelled, and its worker killed if it had begun."""
    try:
        async with asyncio.timeout(0.2):
            await pool.apply_async(time.sleep, (3600,))
    except TimeoutError:
        print("timeout")


def produce(queue, count: int) -> None:
    for number in range(count):
        queue.put(number)


async def read_queue() -> None:
    queue = procession.Queue(maxsize=2)
    producer = procession.Process(target=produce, args=(queue, 4))
    producer.start()
    print("queue:", [await queue.get_async() for _ in range(4)])
    await producer.join_async()


async def main() -> None:
    with procession.Pool(2) as pool:
        await gather(pool)
        await iterate(pool)
        await limit_time(pool)
    await read_queue()


if __name__ == "__main__":
    asyncio.run(main())
