"""An ordinary `multiprocessing` program: six kinds of work, each checked and timed.

    python demo.py [fork | spawn | forkserver]

It knows one library, the one it imports. Each line that it prints has the work, how
many processes did it, and the seconds that it took.
"""

import multiprocessing
import os
import sys
import time

STARTED = 24
PRIMES_BELOW = 1_000_000
SLICES = 16
SMALL_TASKS = 30_000
MESSAGES = 50_000
LARGE = 48_000_000
LARGE_TIMES = 3
INCREMENTS = 50_000


def start_and_join() -> set[int]:
    """Starts named processes, one after another, that report to a queue."""
    queue = multiprocessing.SimpleQueue()
    pids = set()
    for number in range(STARTED):
        name = f"worker-{number}"
        child = multiprocessing.Process(target=report, args=(queue,), name=name)
        child.start()
        assert queue.get() == (name, child.pid)
        child.join()
        assert child.exitcode == 0
        pids.add(child.pid)
    return pids


def report(queue) -> None:
    """Puts the name and the pid of the process it runs in."""
    queue.put((multiprocessing.current_process().name, os.getpid()))


def map_long_tasks() -> set[int]:
    """Counts primes on a pool: the processors decide how long that takes."""
    slices = [
        range(start, PRIMES_BELOW, 2 * SLICES) for start in range(1, 2 * SLICES, 2)
    ]
    with multiprocessing.Pool(2) as pool:
        counts = pool.map(count_primes, slices, chunksize=1)
    # The 1 is counted and is no prime; the 2 is one and is not counted.
    assert sum(count for count, _ in counts) == 78_498
    return {pid for _, pid in counts}


def count_primes(numbers: range) -> tuple[int, int]:
    """Returns how many odd numbers have no odd divisor, and the pid of who counted."""
    count = 0
    for number in numbers:
        divisor = 3
        while divisor * divisor <= number and number % divisor:
            divisor += 2
        count += divisor * divisor > number
    return count, os.getpid()


def map_small_tasks() -> set[int]:
    """Sends tasks so small that the sending is all there is to measure."""
    with multiprocessing.Pool(2) as pool:
        squares = pool.map(square, range(SMALL_TASKS), chunksize=1)
    assert [value for value, _ in squares] == [n * n for n in range(SMALL_TASKS)]
    return {pid for _, pid in squares}


def square(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


def drain_a_queue() -> set[int]:
    """Gets what a child puts."""
    queue = multiprocessing.Queue()
    child = multiprocessing.Process(target=fill, args=(queue,))
    child.start()
    assert sum(queue.get() for _ in range(MESSAGES)) == sum(range(MESSAGES))
    child.join()
    return {child.pid}


def fill(queue) -> None:
    for number in range(MESSAGES):
        queue.put(number)


def send_large_bytes() -> set[int]:
    """Sends a large payload to a worker, which answers with as much."""
    payload = bytes(LARGE)
    pids = set()
    with multiprocessing.Pool(1) as pool:
        for _ in range(LARGE_TIMES):
            answer, pid = pool.apply(send_back, (payload,))
            assert len(answer) == LARGE
            assert answer[-1] == 0
            pids.add(pid)
    return pids


def send_back(payload: bytes) -> tuple[bytes, int]:
    return payload, os.getpid()


def count_under_a_lock() -> set[int]:
    """Lets two processes count together on a shared value."""
    total = multiprocessing.Value("q", 0, lock=False)
    lock = multiprocessing.Lock()
    children = [
        multiprocessing.Process(target=increment, args=(total, lock)) for _ in range(2)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert total.value == 2 * INCREMENTS
    return {child.pid for child in children}


def increment(total, lock) -> None:
    for _ in range(INCREMENTS):
        with lock:
            total.value += 1


WORK = {
    f"start and join {STARTED} processes": start_and_join,
    f"count primes below {PRIMES_BELOW:,}, Pool(2)": map_long_tasks,
    f"map {SMALL_TASKS:,} tiny tasks, Pool(2)": map_small_tasks,
    f"get {MESSAGES:,} items from a queue": drain_a_queue,
    f"{LARGE // 10**6} MB there and back, {LARGE_TIMES} times": send_large_bytes,
    f"count to {2 * INCREMENTS:,} under a lock": count_under_a_lock,
}

if __name__ == "__main__":
    if sys.argv[1:]:
        multiprocessing.set_start_method(sys.argv[1])
    for name, work in WORK.items():
        begin = time.perf_counter()
        pids = work()
        print(f"{name}\t{len(pids)}\t{time.perf_counter() - begin:.4f}", flush=True)
