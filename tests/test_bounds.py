"""What the workers of a pool may use, and where they are: memory, processors, names."""

import os
import signal
import textwrap
from pathlib import Path

import pytest
from library import PATIENCE, load
from targets import bounds as targets
from targets import pool as pool_targets

pytestmark = pytest.mark.procession_only("a worker takes what it takes")

MEBIBYTE = targets.MEBIBYTE

# Mebibytes that are refused.
MUCH = 8192


@pytest.fixture
def limit() -> int:
    """Returns more bytes than a worker has by itself, also one that is forked from here."""
    status = Path("/proc/self/status").read_text()
    kibibytes = int(status.partition("VmData:")[2].split()[0])
    return kibibytes * 1024 + 200 * MEBIBYTE


# Memory that is refused.


@pytest.mark.parametrize("use", [targets.use, targets.use_and_return])
def test_task_that_needs_too_much_memory_fails_alone_and_is_named(
    lib, mp, limit, use
) -> None:
    with mp.Pool(1, memory_limit=limit) as pool:
        others = pool.map_async(targets.use, range(3), 1)
        pid = pool.apply(pool_targets.pid)
        with pytest.raises(lib.MemoryLimitExceeded) as caught:
            pool.apply_async(use, (MUCH,)).get(PATIENCE)
        error = caught.value
        assert isinstance(error, MemoryError)
        name = f"targets.bounds.{use.__name__}"
        assert (error.task, error.limit) == (name, limit)
        assert str(error) == (
            f"{name} needed more memory than the {limit} bytes that its worker may have"
        )
        assert f"in {use.__name__}" in str(error.__cause__)
        assert pool.apply(pool_targets.pid) == pid
        assert others.get(PATIENCE) == [0, 1, 2]
        assert pool.apply(targets.use, (10,)) == 10


@pytest.mark.slow
def test_task_that_fills_its_memory_bit_by_bit_is_named_too(lib, mp, limit) -> None:
    with mp.Pool(1, memory_limit=limit) as pool:
        for _ in range(2):
            with pytest.raises(lib.MemoryLimitExceeded, match="use_bit_by_bit needed"):
                pool.apply_async(targets.use_bit_by_bit, (MUCH,)).get(PATIENCE)
            assert pool.apply(targets.use, (10,)) == 10


def test_map_names_the_input_that_needed_too_much(lib, mp, limit) -> None:
    with mp.Pool(2, memory_limit=limit) as pool:
        results = pool.imap(targets.use, [1, MUCH, 2])
        assert next(results) == 1
        with pytest.raises(lib.MemoryLimitExceeded, match="use on input 1 needed"):
            next(results)
        assert next(results) == 2


def test_task_whose_worker_dies_of_its_limit_is_named(lib, mp, limit) -> None:
    with mp.Pool(1, memory_limit=limit) as pool:
        with pytest.raises(lib.MemoryLimitExceeded, match="SIGSEGV") as caught:
            pool.apply_async(targets.die_for_want_of_memory, (MUCH,)).get(PATIENCE)
        assert caught.value.task == "targets.bounds.die_for_want_of_memory"
        assert pool.apply(targets.use, (10,)) == 10


def test_other_deaths_are_not_blamed_on_the_limit(lib, mp, limit) -> None:
    with mp.Pool(1, memory_limit=limit) as pool:
        with pytest.raises(lib.WorkerDied) as caught:
            pool.apply_async(targets.abort).get(PATIENCE)
        assert caught.value.exitcode == -signal.SIGABRT


def test_memory_error_without_a_limit_is_what_it_is(lib, mp) -> None:
    with mp.Pool(1) as pool, pytest.raises(MemoryError, match="on purpose") as caught:
        pool.apply(targets.raise_memory_error)
    assert not isinstance(caught.value, lib.MemoryLimitExceeded)


def test_limit_below_what_a_worker_has_is_an_error_at_once(mp) -> None:
    with (
        mp.Pool(1, memory_limit=MEBIBYTE) as pool,
        pytest.raises(
            ValueError, match=r"before its first task, more than the 1048576"
        ),
    ):
        pool.apply(targets.use, (1,))


# Memory that is given back.


@pytest.mark.slow
def test_worker_that_has_grown_is_replaced_between_tasks(mp, limit) -> None:
    with mp.Pool(1, max_memory_per_worker=limit) as pool:
        first = pool.apply(targets.grow, (1,))
        assert pool.apply(targets.grow, (1,)) == first
        assert pool.apply(targets.grow, (limit // MEBIBYTE + 1,)) == first
        assert pool.apply(targets.grow, (1,)) != first


# Where workers run, and who they are.


def test_workers_run_where_they_are_told(mp) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    with mp.Pool(1, affinity=cpus[:1]) as pool:
        assert pool.apply(targets.where) == (0, cpus[:1])
    with mp.Pool(2, affinity=lambda index: [cpus[index % len(cpus)]]) as pool:
        for index, where in pool.map(targets.where, range(20), 1):
            assert where == [cpus[index % len(cpus)]]
    assert sorted(os.sched_getaffinity(0)) == cpus


@pytest.mark.parametrize(
    "cpus", [[100_000], [1 << 40], [-1], [], [0, 100_000], lambda index: [100_000]]
)
def test_processor_that_is_not_there_is_refused_at_the_call(mp, cpus) -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises(ValueError, match=r"CPU"):
        mp.Pool(1, affinity=cpus)
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize(
    "env",
    [
        {"A=": "1"},
        {"": "1"},
        {"A\0": "1"},
        {"A": "1\0"},
        {"A": "\ud800"},
        lambda index: {"A=": "1"},
    ],
)
def test_environment_that_there_cannot_be_is_refused_at_the_call(mp, env) -> None:
    with pytest.raises(ValueError):
        mp.Pool(1, env=env)


@pytest.mark.parametrize("env", [{"A": 1}, {1: "A"}, {b"A": b"1"}])
def test_environment_that_is_no_text_is_refused_at_the_call(mp, env) -> None:
    with pytest.raises(TypeError, match="env must be of text"):
        mp.Pool(1, env=env)


def test_each_worker_has_a_place_and_an_environment_of_its_own(mp) -> None:
    barrier = mp.Barrier(3)
    names = [(barrier, "PROCESSION_TEST_PLACE")] * 3
    with mp.Pool(
        3, env=lambda index: {"PROCESSION_TEST_PLACE": f"place {index}"}
    ) as pool:
        found = pool.map(targets.meet, names, 1)
    assert sorted(found) == [(index, f"place {index}") for index in range(3)]
    assert "PROCESSION_TEST_PLACE" not in os.environ


def test_successor_of_a_dead_worker_has_its_place(lib, mp) -> None:
    with mp.Pool(1, env={"PROCESSION_TEST_PLACE": "here"}) as pool:
        with pytest.raises(lib.WorkerDied):
            pool.apply_async(targets.abort).get(PATIENCE)
        assert pool.apply(targets.where)[0] == 0
        assert pool.apply(os.getenv, ("PROCESSION_TEST_PLACE",)) == "here"


def test_who_works_for_no_pool_has_no_place(lib, start) -> None:
    assert lib.current_process().worker_index is None
    assert start(targets.where).result(PATIENCE)[0] is None


@pytest.mark.methods("spawn")
def test_spawned_worker_has_its_environment_from_the_start(program) -> None:
    code, out, err = program(
        textwrap.dedent("""
        import multiprocessing
        import os

        # What is imported by the main module sees it.
        SEEN = os.environ.get("PROCESSION_TEST_PLACE")

        def seen(_):
            return SEEN

        if __name__ == "__main__":
            env = {"PROCESSION_TEST_PLACE": "here"}
            with multiprocessing.Pool(1, env=env) as pool:
                print(pool.map(seen, [1]), SEEN)
        """)
    )
    assert (code, out, err) == (0, "['here'] None\n", "")


@pytest.mark.parametrize("option", ["memory_limit", "max_memory_per_worker"])
@pytest.mark.parametrize(
    "value",
    [0, -1, 1.5, True, "text", "", "1", "GB", "1G", "-1GB", "0MB", ".5GB", "1.GB"]
    + ["1e3MB", "1,5GB", "1 000MB", "1GB per worker", "0.1B", b"1GB"],
)
def test_limit_is_a_number_of_bytes_or_a_size(lib, option, value) -> None:
    with pytest.raises(ValueError, match=f"{option} must be .* not {value!r}"):
        lib.Pool(1, **{option: value})


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("10B", 10),
        ("3kB", 3000),
        ("3 KiB", 3072),
        ("512MB", 512 * 1000**2),
        ("512mib", 512 * 1024**2),
        ("1.5GB", 1_500_000_000),
        ("1.5GiB", 3 * 1024**3 // 2),
        ("0.001TB", 1000**3),
        ("2TiB", 2 * 1024**4),
        # A float does not hold it.
        ("9.007199254740993TB", 9_007_199_254_740),
        ("9007199254740993B", 9_007_199_254_740_993),
    ],
)
def test_size_is_text_with_a_unit(text, size) -> None:
    assert load("_sizes").parse_size("memory_limit", text) == size


def test_limit_given_as_text_is_that_of_the_workers(lib, mp, limit) -> None:
    mebibytes = limit // MEBIBYTE
    with mp.Pool(1, memory_limit=f"{mebibytes}MiB") as pool:
        with pytest.raises(lib.MemoryLimitExceeded) as caught:
            pool.apply_async(targets.use, (MUCH,)).get(PATIENCE)
        assert caught.value.limit == mebibytes * MEBIBYTE
