"""Arrays of numpy: they arrive whole, writable, and private to the receiver."""

import gc
import pickle
import threading

import numpy as np
import pytest
from library import PATIENCE
from targets import arrays as targets

ARRAYS = {
    "numbers": np.arange(1000, dtype=np.float64),
    "one": np.array([7], dtype=np.int8),
    "none": np.zeros(0),
    "without dimensions": np.array(3.5),
    "table": np.arange(600, dtype=np.int32).reshape(20, 30),
    "by columns": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "every other": np.arange(100)[::2],
    "backwards": np.arange(100)[::-1],
    "truths": np.array([True, False, True]),
    "complex": np.array([1 + 2j, 3 - 4j]),
    "texts": np.array(["one", "three"]),
    "structures": np.array([(1, 2.5), (3, 4.5)], dtype=[("x", "i4"), ("y", "f8")]),
    "dates": np.array(["2026-01-01", "2026-11-21"], dtype="datetime64[D]"),
}

# Items of eight bytes: 16 MB.
LARGE = 2_000_000


def each_array():
    return pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)


def through_pipe(lib, message: object) -> object:
    """Sends an object through a pipe that may be too small to hold it."""
    here, there = lib.Pipe()
    with here, there:
        thread = threading.Thread(target=here.send, args=(message,))
        thread.start()
        got = there.recv()
        thread.join()
    return got


@pytest.mark.slow
def test_arrays_of_all_kinds_are_arguments(call) -> None:
    seen = call(targets.described, [array.copy() for array in ARRAYS.values()])
    for array, (shape, dtype, items, writable) in zip(
        ARRAYS.values(), seen, strict=True
    ):
        assert (shape, dtype, items) == (array.shape, str(array.dtype), array.tolist())
        assert writable


@each_array()
@pytest.mark.parametrize("kind", ["Queue", "SimpleQueue"])
def test_array_of_any_kind_goes_through_a_queue(lib, kind, array) -> None:
    queue = getattr(lib, kind)()
    queue.put(array)
    got = queue.get()
    assert got.dtype == array.dtype
    assert np.array_equal(got, array)
    assert got.flags.writeable


@each_array()
def test_array_of_any_kind_goes_through_a_pipe(lib, array) -> None:
    got = through_pipe(lib, array)
    assert got.dtype == array.dtype
    assert np.array_equal(got, array)
    assert got.flags.writeable


def test_array_of_objects_goes_through_a_queue(lib) -> None:
    queue = lib.Queue()
    queue.put(np.array([1, "two", None, [3]], dtype=object))
    assert queue.get().tolist() == [1, "two", None, [3]]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Queue", "SimpleQueue"])
def test_large_array_through_a_queue_is_the_receivers_own(mp, start, kind) -> None:
    queue, done = getattr(mp, kind)(), mp.SimpleQueue()
    array = np.ones(LARGE)
    process = start(targets.overwrite_what_comes, queue, done)
    queue.put(array)
    assert done.get() == LARGE
    assert float(array.sum()) == LARGE
    process.join()
    assert process.exitcode == 0


@pytest.mark.slow
def test_large_array_through_a_pipe_is_the_receivers_own(mp, start) -> None:
    here, there = mp.Pipe()
    done = mp.SimpleQueue()
    array = np.ones(LARGE)
    with here, there:
        start(targets.overwrite_what_comes, there, done)
        here.send(array)
        assert done.get() == LARGE
    assert float(array.sum()) == LARGE


def test_two_receivers_of_one_item_do_not_share_it(lib) -> None:
    queue = lib.Queue()
    array = np.zeros(100_000)
    queue.put(array)
    queue.put(array)
    first, second = queue.get(), queue.get()
    first[:] = 1
    assert float(second.sum()) == 0
    assert float(array.sum()) == 0


def test_arrays_inside_other_objects_are_private_and_writable_too(lib) -> None:
    array = np.zeros(50_000)
    got = through_pipe(lib, {"first": array, "rest": [array, (array, "text")]})
    assert got["first"] is got["rest"][0] is got["rest"][1][0]
    got["first"][:] = 1
    assert float(array.sum()) == 0


SIZES = {"a few": 5, "some": 1000, "many": 50_000}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_array_that_may_not_be_written_arrives_as_one_that_may(lib, size) -> None:
    queue = lib.Queue()
    array = np.arange(size)
    array.flags.writeable = False
    for message in (
        array,
        np.frombuffer(array.tobytes(), array.dtype),
        array[: size // 2],
    ):
        queue.put(message)
        for got in (queue.get(), through_pipe(lib, message)):
            assert np.array_equal(got, message)
            got[:] = 7
            assert message[-1] == len(message) - 1


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_task_may_write_to_what_its_sender_may_not(mp, call, size) -> None:
    array = np.arange(size, dtype=np.float64)
    array.flags.writeable = False
    if mp.get_start_method() != "fork":  # There a child has the parent's array.
        assert call(targets.overwrite, array) == array.sum()
    with mp.Pool(1) as pool:
        assert pool.apply(targets.overwrite, (array,)) == array.sum()
        assert pool.map(targets.overwrite, [array, array]) == [array.sum()] * 2
        got = pool.apply(targets.same_but_fixed, (array,))
    got[:] = 7
    assert array[-1] == size - 1


def test_bytes_in_a_pickle_buffer_arrive_as_bytes(lib) -> None:
    queue = lib.Queue()
    queue.put(pickle.PickleBuffer(b"abc"))
    assert queue.get() == b"abc"


def test_received_array_outlives_what_it_came_through(lib) -> None:
    got = through_pipe(lib, np.arange(100_000))
    gc.collect()
    through_pipe(lib, np.zeros(100_000))
    assert np.array_equal(got, np.arange(100_000))


def test_view_keeps_alive_what_it_views(lib) -> None:
    queue = lib.Queue()
    queue.put(np.arange(100_000))
    view = queue.get()[50_000:50_010]
    gc.collect()
    queue.put(np.zeros(100_000))
    queue.get()
    assert view.tolist() == list(range(50_000, 50_010))


@pytest.mark.slow
def test_large_arrays_are_arguments_and_results_of_tasks(mp) -> None:
    arrays = [np.full(LARGE // 5, float(number)) for number in range(4)]
    with mp.Pool(2) as pool:
        results = pool.map(targets.double, arrays, chunksize=1)
        made = pool.starmap(targets.make, [(LARGE, 1.0), (3, 2.0)])
    for number, (array, result) in enumerate(zip(arrays, results, strict=True)):
        assert float(array[0]) == number
        assert np.array_equal(result, array * 2)
        assert result.flags.writeable
        result[:] = 0
    assert [float(array.sum()) for array in made] == [LARGE, 6.0]


@pytest.mark.slow
@pytest.mark.procession_only("it copies them out of a pipe")
def test_large_array_is_read_in_place(mp, start) -> None:
    array = np.ones(50_000)
    with mp.Pool(1) as pool:
        files = pool.map(targets.file_of, [array, array], chunksize=1)
        files.append(pool.apply(targets.file_of, (array,)))
        files.append(targets.file_of(pool.apply(targets.make, (50_000, 1.0))))
    queue, (here, there) = mp.Queue(), mp.Pipe()
    with here, there:
        process = start(targets.files_of_what_comes, queue, there)
        queue.put(array)
        here.send(array)
        files += process.result(PATIENCE)
    # That of the family, in which the sender has put it.
    assert {file.partition(" ")[0] for file in files} == {"/memfd:procession"}
    assert "procession" not in targets.file_of(array)


@pytest.mark.slow
def test_memory_of_received_arrays_is_used_again(mp, start) -> None:
    queue, done = mp.Queue(), mp.SimpleQueue()
    array = np.ones(LARGE)
    for _ in range(3):
        process = start(targets.overwrite_what_comes, queue, done)
        queue.put(array)
        assert done.get() == LARGE
        process.join()
    for _ in range(6):
        queue.put(array)
        got = queue.get()
        assert float(got[-1]) == 1
        got[:] = 0


def test_shared_array_is_an_array_of_numpy(mp, start) -> None:
    shared = mp.RawArray("d", 1000)
    view = np.frombuffer(shared)
    assert view.flags.writeable
    start(targets.fill, shared, 2.0).join()
    assert float(view.sum()) == 2000
    view[:] = 3
    assert sum(shared) == 3000
