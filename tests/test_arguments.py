"""Arguments that cannot be: each is refused at the call that was given it, by its name."""

import math

import pytest
from library import load

try:
    # Not in its test: it starts threads, which would count as left behind.
    import numpy
except ImportError:
    numpy = None

NO_NUMBERS = ["2", 1.5, [1]]
NO_TIMES = ["1", 0, -1, math.nan, math.inf, 1e300, [1]]

pytestmark = pytest.mark.procession_only("it has other arguments, and other errors")


def make_executor(**options) -> None:
    load("futures").ProcessPoolExecutor(**options).shutdown()


@pytest.mark.parametrize("value", NO_NUMBERS)
@pytest.mark.parametrize("name", ["processes", "retries", "threads_per_worker"])
def test_pool_refuses_what_is_no_whole_number(lib, name, value) -> None:
    with pytest.raises(TypeError, match=f"{name} must be a whole number, not"):
        lib.Pool(**{name: value})


TOO_MANY = [2**63, 10**30]


@pytest.mark.parametrize("value", TOO_MANY)
@pytest.mark.parametrize(
    "name", ["processes", "maxtasksperchild", "threads_per_worker"]
)
def test_pool_refuses_too_large_a_number(lib, name, value) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be at most "):
        lib.Pool(**{"processes": 1, name: value})


@pytest.mark.parametrize("value", TOO_MANY)
@pytest.mark.parametrize(
    "name", ["max_workers", "max_tasks_per_child", "threads_per_worker"]
)
def test_executor_refuses_too_large_a_number(lib, name, value) -> None:
    context = lib.get_context("spawn")
    with pytest.raises(ValueError, match=f"^{name} must be at most "):
        make_executor(**{"max_workers": 1, "mp_context": context, name: value})


@pytest.mark.parametrize("value", TOO_MANY)
def test_calls_refuse_too_large_a_number(lib, value) -> None:
    with lib.Pool(1) as pool:
        for name in ("map", "map_async", "starmap", "starmap_async", "imap"):
            with pytest.raises(ValueError, match="^chunksize must be at most "):
                getattr(pool, name)(abs, [1], chunksize=value)
        with pytest.raises(ValueError, match="^processes must be at most "):
            pool.resize(value)
        # As many as there can be.
        assert pool.map(abs, [-1, 2], chunksize=2**63 - 1) == [1, 2]
        assert list(pool.imap(abs, [-1, 2], chunksize=2**63 - 1)) == [1, 2]
    with load("futures").ProcessPoolExecutor(1) as executor:
        with pytest.raises(ValueError, match="^chunksize must be at most "):
            executor.map(abs, [1], chunksize=value)
        assert list(executor.map(abs, [-1, 2], chunksize=2**63 - 1)) == [1, 2]


@pytest.mark.parametrize("value", NO_NUMBERS)
@pytest.mark.parametrize("name", ["max_workers", "retries", "priority"])
def test_executor_refuses_what_is_no_whole_number(name, value) -> None:
    with pytest.raises(TypeError, match=f"{name} must be a whole number, not"):
        make_executor(**{name: value})


@pytest.mark.parametrize("value", NO_TIMES)
@pytest.mark.parametrize("name", ["timeout", "soft_timeout", "idle_timeout"])
def test_executor_refuses_what_is_no_time(name, value) -> None:
    with pytest.raises(
        ValueError, match=f"{name} must be more than 0 seconds, or None"
    ):
        make_executor(max_workers=1, **{name: value})


def test_calls_of_a_pool_refuse_what_they_cannot_use(lib) -> None:
    with lib.Pool(1) as pool:
        for name in ("map", "map_async", "starmap", "starmap_async", "imap"):
            call = getattr(pool, name)
            with pytest.raises(TypeError, match="chunksize must be a whole number"):
                call(abs, [1], chunksize="2")
            with pytest.raises(ValueError, match="timeout must be more than 0"):
                call(abs, [1], timeout="1")
        for call, arguments in ((pool.apply_async, ()), (pool.map_async, ([1],))):
            with pytest.raises(TypeError, match="^callback must be a callable or None"):
                call(abs, *arguments, callback=1)
            with pytest.raises(TypeError, match="error_callback must be a callable"):
                call(abs, *arguments, error_callback="log")
        with pytest.raises(ValueError, match=r"retries must be 0 or more, and less"):
            pool.apply(abs, (1,), retries=2**31)
        with pytest.raises(TypeError, match="processes must be a whole number"):
            pool.resize("2")
        assert pool.map(abs, [-1]) == [1]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"initargs": 1}, "initargs must be the arguments"),
        ({"initargs": None}, "initargs must be the arguments"),
        ({"affinity": 0}, "affinity must be numbers of CPUs, not 0"),
        ({"affinity": "0"}, "a CPU of affinity must be a whole number, not '0'"),
        ({"affinity": [0.0]}, r"a CPU of affinity must be a whole number, not 0\.0"),
        (
            {"affinity": lambda index: None},
            "affinity must be numbers of CPUs, not None",
        ),
        ({"env": "A=B"}, "env must be a mapping of text, not 'A=B'"),
        ({"env": lambda index: None}, "env must be a mapping of text, not None"),
    ],
)
def test_workers_cannot_be_made_with_it(lib, options, told) -> None:
    with pytest.raises(TypeError, match=told):
        lib.Pool(1, **options)


def test_objects_refuse_what_they_cannot_be_made_of(lib) -> None:
    for make in (lib.Queue, lib.JoinableQueue):
        with pytest.raises(TypeError, match="maxsize must be a whole number, not 'x'"):
            make("x")
    with pytest.raises(TypeError, match="parties must be a whole number"):
        lib.Barrier("2")
    with pytest.raises(ValueError, match="at least one party, not -1"):
        lib.Barrier(-1)
    with pytest.raises(TypeError, match="action must be a callable or None"):
        lib.Barrier(2, action=3)
    with pytest.raises(TypeError, match="lock of a condition must be a Lock or RLock"):
        lib.Condition(3)
    with pytest.raises(ValueError, match="cannot have the value -1 of at most 0"):
        lib.BoundedSemaphore(-1)
    with pytest.raises(ValueError, match="max must be 0 or more, not -1"):
        lib.Queue().get_many(-1)
    with pytest.raises(ValueError, match="cannot find context for 3"):
        lib.get_context(3)


@pytest.mark.skipif(numpy is None, reason="numpy is not installed")
def test_numbers_of_numpy_are_as_good_as_any(lib) -> None:
    one, two, time = numpy.int64(1), numpy.int32(2), numpy.float32(60)
    with lib.Pool(
        two,
        retries=one,
        threads_per_worker=one,
        memory_limit=numpy.int64(2**32),
        idle_timeout=time,
        initializer_timeout=two,
        affinity=lambda index: numpy.array([0]),
    ) as pool:
        assert len(pool.workers()) == 2
        options = {
            "timeout": time,
            "soft_timeout": one,
            "retries": one,
            "priority": two,
        }
        assert pool.map(abs, [-1], chunksize=one, **options) == [1]
        assert list(pool.imap(abs, [-1], chunksize=two, **options)) == [1]
        pool.resize(one)
        assert len(pool.workers()) == 1
    with load("futures").ProcessPoolExecutor(one, timeout=time) as executor:
        assert list(executor.map(abs, [-1], chunksize=one)) == [1]
