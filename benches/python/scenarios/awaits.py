"""Scenarios that await many small tasks in one loop of asyncio."""

import asyncio
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import BaseContext
from time import perf_counter

TASKS = 10_000
TIMES = 5


def identity(value: int) -> int:
    return value


def await_tasks(context: BaseContext) -> float:
    """Returns tasks per second of 10,000 that are in flight at once."""
    if context.Process.__module__.startswith("procession"):
        with context.Pool(2) as pool:
            return asyncio.run(
                _await_all(lambda value: pool.apply_async(identity, (value,)))
            )
    with ProcessPoolExecutor(2, context) as executor:

        def submit(value: int) -> asyncio.Future[int]:
            loop = asyncio.get_running_loop()
            return loop.run_in_executor(executor, identity, value)

        return asyncio.run(_await_all(submit))


async def _await_all(call) -> float:
    async def one(value: int) -> int:
        return await call(value)

    async def all_of(count: int) -> list[int]:
        tasks = [asyncio.create_task(one(value)) for value in range(count)]
        return await asyncio.gather(*tasks)

    await all_of(100)
    begin = perf_counter()
    for _ in range(TIMES):
        assert await all_of(TASKS) == list(range(TASKS))
    return TIMES * TASKS / (perf_counter() - begin)
