"""What runs during a soak: everything at once, over and over, deaths included."""

import time

import procession

METHODS = ("fork", "spawn", "forkserver")

# Bytes of items and results: inline, in a block, in several chunks.
SIZES = (10, 3_000, 200_000)

# Seconds after which what must happen has not happened.
WATCHDOG = 60


class Load:
    """A pool and a queue that stay, and processes that come and go."""

    def __init__(self) -> None:
        self.context = procession.get_context("forkserver")
        self.pool = self.context.Pool()
        self.queue = self.context.Queue()
        self.lock = self.context.Lock()
        self.rounds = 0
        self.tasks = 0
        self.items = 0
        self.starts = 0

    def work(self) -> list[float]:
        """Does one round; returns the seconds that single calls took."""
        self.rounds += 1
        self.run_tasks()
        self.pass_items()
        self.start_processes()
        if self.rounds % 5 == 0:
            self.lose_workers()
        return [self.call() for _ in range(100)]

    def call(self) -> float:
        before = time.perf_counter()
        assert self.pool.apply(abs, (-1,)) == 1
        self.tasks += 1
        return time.perf_counter() - before

    def run_tasks(self) -> None:
        assert sum(self.pool.imap_unordered(abs, range(-2000, 0))) == 2_001_000
        for size in SIZES:
            results = self.pool.map(bytes, [size] * 20, 1)
            assert results == [bytes(size)] * 20
            self.tasks += 20
        self.tasks += 2000

    def pass_items(self) -> None:
        arguments = (self.queue, self.lock, 1000)
        producer = self.context.Process(target=produce, args=arguments)
        producer.start()
        for number in range(1000):
            with self.lock:
                pass
            assert self.queue.get(timeout=WATCHDOG) == item(number)
        producer.join()
        producer.close()
        self.items += 1000

    def start_processes(self) -> None:
        for method in METHODS:
            process = procession.get_context(method).Process(target=abs, args=(-1,))
            process.start()
            assert process.result(WATCHDOG) == 1
            process.join()
            process.close()
            self.starts += 1

    def lose_workers(self) -> None:
        """Kills all workers; what they were at fails, the rest is done by others."""
        results = [self.pool.apply_async(time.sleep, (0.001,)) for _ in range(50)]
        for worker in [*self.pool._pool]:
            worker.kill()
        for result in results:
            result.wait(WATCHDOG)
            assert result.ready()

    def end(self) -> None:
        self.pool.close()
        self.pool.join()


def item(number: int) -> bytes:
    return bytes([number % 251]) * SIZES[number % len(SIZES)]


def produce(queue, lock, count: int) -> None:
    for number in range(count):
        with lock:
            pass
        queue.put(item(number))
