"""What is ahead of who fetches results is bounded, and memory comes back."""

import itertools
import os
import sysconfig
from pathlib import Path

import pytest
from library import PATIENCE
from targets import pool as targets

pytestmark = pytest.mark.procession_only("the input is swallowed whole")

# More tasks than are ahead of who fetches: made, at hand of workers, or done.
FAR = 10_000

MEBIBYTE = 1 << 20


class Counted:
    """An endless input that counts what was taken of it."""

    def __init__(self, make=int) -> None:
        self.taken = 0
        self.make = make

    def __iter__(self):
        return self

    def __next__(self) -> object:
        self.taken += 1
        return self.make(self.taken - 1)


@pytest.mark.parametrize("use", ["imap", "imap_unordered"])
def test_endless_input_is_taken_as_results_are_fetched(mp, use) -> None:
    numbers = Counted()
    with mp.Pool(2, targets.initialize, (mp.Barrier(2), None)) as pool:
        # Else a task may wait for a worker that starts until the other has done thousands.
        assert (
            len(set(pool.map(targets.initialized_number, range(2), chunksize=1))) == 2
        )
        results = getattr(pool, use)(targets.square, numbers)
        got = [next(results) for _ in range(10)]
        # The pool has time for ten times as much.
        for number in range(3000):
            assert pool.apply(targets.square, (number,)) == number * number
        assert numbers.taken < FAR
        got += [next(results) for _ in range(2 * FAR)]
        assert sorted(got)[:5000] == [n * n for n in range(5000)]
        assert numbers.taken < 4 * FAR


@pytest.mark.slow
def test_endless_input_of_much_data_is_taken_a_little_at_a_time(mp) -> None:
    data = Counted(lambda number: bytes([number % 251]) * (4 * MEBIBYTE))
    with mp.Pool(2) as pool:
        results = pool.imap(targets.same, data)
        for number in range(20):
            next(results)
            # 16 MiB of results, 8 of tasks for each worker, 1 in line, and one each that
            # was the last to be let in.
            assert data.taken <= number + 24


def test_results_that_nobody_fetches_come_before_the_end_of_the_pool(mp) -> None:
    pool = mp.Pool(2)
    iterators = [
        pool.imap(targets.square, range(FAR)),
        pool.imap_unordered(targets.square, itertools.islice(Counted(), 5000), 10),
    ]
    pool.close()
    pool.join()
    assert list(iterators[0]) == [n * n for n in range(FAR)]
    assert sorted(iterators[1]) == [n * n for n in range(5000)]


@pytest.mark.parametrize("use", ["imap", "imap_unordered"])
def test_slow_reader_gets_every_result(mp, use) -> None:
    with mp.Pool(2) as pool:
        results = getattr(pool, use)(targets.square, range(FAR))
        got = []
        for result in results:
            got.append(result)
            if len(got) % 1000 == 0:
                # Meanwhile as many results come as may.
                pool.apply_async(targets.square, (3,)).get(PATIENCE)
        assert sorted(got) == [n * n for n in range(FAR)]


# Memory of a burst.


def backed() -> int:
    """Returns how many bytes of memory the files of this process's family have."""
    files = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if "memfd:procession" in os.readlink(entry):
                status = entry.stat()
                files.add((status.st_ino, status.st_blocks * 512))
        except FileNotFoundError:
            pass  # The descriptor through which the folder itself is read.
    assert files
    return sum(size for _, size in files)


def resident(pids: list[int]) -> int:
    """Returns how many bytes of memory processes have, what they share counted once."""
    total = 0
    for pid in pids:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += int(text.split("\nPss:")[1].split()[0]) * 1024
    return total


def settled(pool, family: list[int]) -> int:
    """Returns what a pool's family has when each has given back what the C library keeps
    of what was freed: how much that is depends on the order of its frees."""
    assert len(set(pool.map(targets.trim_memory, range(2), chunksize=1))) == 2
    targets.trim()
    return resident(family)


# Whether what the interpreter frees goes back to the system; without a GIL it allocates
# by mimalloc, which keeps even large pieces, and has no call to be asked for them.
CAN_TRIM = not sysconfig.get_config_var("Py_GIL_DISABLED")

# Bytes that a family keeps for the next who needs them, and what else it may have.
KEPT = 128 * MEBIBYTE + 16 * MEBIBYTE


@pytest.mark.slow
def test_memory_that_a_burst_took_is_given_back(mp) -> None:
    burst, item = 256 * MEBIBYTE, os.urandom(8 * MEBIBYTE)
    count = burst // len(item)
    with mp.Pool(2, targets.initialize, (mp.Barrier(2), None)) as pool:
        workers = pool.map(targets.initialized_number, range(2), chunksize=1)
        family = [os.getpid(), *(pid for pid, _ in workers)]
        queue = mp.Queue()
        before = settled(pool, family)
        for _ in range(count):
            queue.put(item)
        assert backed() >= burst
        assert resident(family) >= burst
        for _ in range(count):
            assert queue.get() == item
        assert backed() <= KEPT
        assert not CAN_TRIM or settled(pool, family) <= before + KEPT
        results = pool.map(targets.same, [item] * count, chunksize=1)
        assert all(result == item for result in results)
        del results
        assert backed() <= KEPT
        results = [pool.apply_async(targets.same, (item,)) for _ in range(count)]
        for result in results:
            assert result.get(PATIENCE) == item
        del result, results
        assert backed() <= KEPT
        assert not CAN_TRIM or settled(pool, family) <= before + KEPT
