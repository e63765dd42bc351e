"""Functions of `map` to which objects are bound: what tasks see of them, and how long they stay."""

import functools
import re
from pathlib import Path

import pytest
from library import wait_until
from targets import pool as targets


@pytest.fixture(scope="module")
def pool(mp):
    """Returns a pool that the tests of one start method share."""
    with mp.Pool(2) as pool:
        yield pool


@pytest.mark.parametrize(
    ("function", "lengths"),
    [
        (functools.partial(targets.note_in, []), [1]),
        (functools.partial(targets.note_in, [], more=([], [])), [1, 1, 1]),
        (functools.partial(functools.partial(targets.note_in, [1]), more=()), [2]),
        (functools.partial(functools.partial, targets.note_in)([]), [1]),
    ],
)
def test_what_a_task_does_to_bound_objects_the_next_does_not_see(
    pool, function, lengths
) -> None:
    assert pool.map(function, range(8), chunksize=1) == [lengths] * 8


@pytest.mark.parametrize(
    ("bound", "length"),
    [((b"x" * 100_000,), 100_000), (("text",), 4), (((1, 2.5, (None, True)),), 3)],
)
def test_constants_may_be_bound(pool, bound, length) -> None:
    function = functools.partial(targets.length_with, *bound)
    assert pool.map(function, range(8), chunksize=1) == [length] * 8


@pytest.mark.procession_only("it keeps nothing between tasks")
def test_idle_worker_lets_go_of_what_was_bound(mp) -> None:
    def memory(pid: int) -> int:
        """Returns the bytes that are the process's own."""
        (line,) = re.findall(
            r"RssAnon:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text()
        )
        return int(line) * 1024

    with mp.Pool(1) as pool:
        pid = pool.apply(targets.pid)
        before = memory(pid)
        size = 64 << 20
        function = functools.partial(targets.length_with, bytes(size))
        assert pool.map(function, range(4), chunksize=1) == [size] * 4
        wait_until(lambda: memory(pid) < before + size // 2)
