"""What other processes cannot import crosses by value, and errors say what does not."""

import collections
import functools
import gc
import io
import operator
import os
import pickle
import textwrap
import threading
import typing
from importlib.util import find_spec

import leftovers
import pytest
import script
from library import PATIENCE, load
from targets import by_value as targets

pytestmark = [
    pytest.mark.procession_only("multiprocessing refuses to pickle these"),
    pytest.mark.skipif(
        find_spec("cloudpickle") is None,
        reason="cloudpickle is not installed: pip install 'procession[cloudpickle]'",
    ),
]

BY_START = pytest.mark.methods("spawn", "forkserver")


def times(factor):
    def times(number):
        return number * factor

    return times


def taking(lock):
    return lambda: lock.acquire(block=False)


def local_class():
    class Point:
        def __init__(self, x):
            self.x = x

        def moved(self, by):
            return type(self)(self.x + by)

    return Point


@pytest.fixture(scope="module")
def pool(mp):
    with mp.Pool(2) as pool:
        yield pool
        pool.close()
        pool.join()


# By every way.


def test_lambda_runs_in_every_call_of_a_pool(pool) -> None:
    assert pool.apply(lambda a, b=0: a - b, (3,), {"b": 1}) == 2
    assert pool.apply_async(lambda: "done").get(PATIENCE) == "done"
    assert pool.map(lambda number: -number, range(5)) == [0, -1, -2, -3, -4]
    assert pool.starmap(lambda a, b: a * b, [(1, 2), (3, 4)]) == [2, 12]
    assert list(pool.imap(lambda number: number + 1, range(3))) == [1, 2, 3]
    fed = pool.imap_unordered(lambda number: number + 1, (n for n in range(3)))
    assert sorted(fed) == [1, 2, 3]


def test_closure_takes_along_what_it_has_closed_over(pool) -> None:
    assert pool.map(times(3), range(4), chunksize=2) == [0, 3, 6, 9]


def test_functions_and_classes_are_inputs_and_results(pool) -> None:
    Point = local_class()
    assert pool.map(targets.call, [times(2), times(3)]) == [2, 3]
    moved = pool.apply(Point.moved, (Point(1), 4))
    assert (type(moved) is Point, moved.x) == (True, 5)
    assert pool.apply(lambda: lambda number: number + 1)(1) == 2


def test_error_of_a_local_class_arrives_as_one(pool) -> None:
    class Local(Exception):
        pass

    def fail():
        raise Local("on purpose")

    with pytest.raises(Local, match="on purpose"):
        pool.apply(fail)


def test_executor_runs_closures(mp) -> None:
    with load("futures").ProcessPoolExecutor(1, mp) as executor:
        assert executor.submit(times(3), 2).result(PATIENCE) == 6
        assert list(executor.map(lambda number: -number, [1, 2])) == [-1, -2]


def test_initializer_may_be_a_lambda(mp) -> None:
    with mp.Pool(1, lambda number: targets.note(number), (7,)) as pool:
        assert pool.apply(targets.noted) == 7


def test_target_and_arguments_of_a_process_may_be_local(start, mp) -> None:
    answers = mp.SimpleQueue()
    start(lambda answers, work: answers.put(work(5)), answers, work=times(2))
    assert answers.get() == 10


def test_process_may_be_of_a_local_class(mp) -> None:
    class Worker(mp.Process):
        def run(self):
            return 6 * 7

    process = Worker()
    process.start()
    assert process.result(PATIENCE) == 42
    process.close()


def test_result_of_a_process_may_be_local(start) -> None:
    assert start(times, 4).result(PATIENCE)(2) == 8


@pytest.mark.parametrize("kind", ["Queue", "SimpleQueue", "JoinableQueue"])
def test_queue_takes_a_closure(mp, start, kind) -> None:
    queue, answers = getattr(mp, kind)(), mp.SimpleQueue()
    queue.put(times(2))
    start(targets.get_call_and_put, queue, answers)
    assert answers.get() == 2


def test_connection_sends_a_closure(mp, start) -> None:
    here, there = mp.Pipe()
    start(targets.answer_calls, there)
    here.send(times(5))
    assert here.recv()(1) == 5


def test_manager_keeps_a_closure(mp) -> None:
    with mp.Manager() as manager:
        shared = manager.dict()
        shared["work"] = times(6)
        assert shared["work"](2) == 12


# What is in a closure.


def test_handles_in_a_closure_are_those_of_the_sender(mp, pool) -> None:
    lock, queue = mp.Lock(), mp.Queue()

    def work(number):
        with lock:
            queue.put(number)
            return lock.acquire(block=False)

    assert pool.map(work, range(3)) == [False] * 3
    assert sorted(queue.get(timeout=PATIENCE) for _ in range(3)) == [0, 1, 2]


def test_handles_in_a_closure_live_as_long_as_the_message(mp) -> None:
    queue = mp.Queue()
    before = leftovers.objects()
    queue.put(taking(mp.Lock()))
    gc.collect()
    assert leftovers.objects() != before
    assert queue.get(timeout=PATIENCE)() is True
    gc.collect()
    assert leftovers.objects() == before


def test_large_buffers_in_a_closure_cross(pool) -> None:
    data = bytes(range(256)) * 4096
    assert pool.map(lambda place: data[place], [0, 255, 256]) == [0, 255, 0]


def test_reducers_that_are_registered_write_what_is_in_a_closure(pool) -> None:
    load("reduction").register(targets.Reduced, targets.reduce)
    reduced = targets.Reduced()
    assert pool.apply(lambda: reduced) == "reduced"


def test_file_in_a_closure_is_refused_and_not_copied(pool) -> None:
    file = io.TextIOWrapper(io.BytesIO(b"text"))
    with pytest.raises(Exception, match="local object|TextIOWrapper") as caught:
        pool.apply(lambda: file)
    assert any("TextIOWrapper" in note for note in caught.value.__notes__)


# How often.


class Counting:
    """Counts how often it is pickled."""

    def __init__(self):
        self.pickled = 0

    def __reduce__(self):
        self.pickled += 1
        return int, (self.pickled,)


def test_closure_begins_anew_with_each_task(pool) -> None:
    seen = []

    def note(number):
        seen.append(number)
        return [*seen]

    assert pool.map(note, range(3), chunksize=1) == [[0], [1], [2]]


def test_function_with_a_cache_crosses_with_an_empty_one(pool) -> None:
    @functools.lru_cache(maxsize=5)
    def fibonacci(number):
        return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)

    assert pool.map(fibonacci, range(10), chunksize=5)[-1] == 34
    copy = pool.apply(lambda: fibonacci)
    assert copy.cache_info() == (0, 0, 5, 0)
    assert copy(10) == 55
    assert copy.__name__ == "fibonacci"


def test_objects_of_a_local_class_with_slots_come_and_go(pool) -> None:
    class Base:
        __slots__ = ("first",)

    class Pair(Base):
        __slots__ = ("__hidden", "second")

        def __init__(self, first, second):
            self.first, self.second, self.__hidden = first, second, first

        def hidden(self):
            return self.__hidden

    pair = pool.apply(Pair, (1, 2))
    back = pool.apply(lambda pair: Pair(pair.second, pair.hidden()), (pair,))
    assert type(back) is Pair
    assert (back.first, back.second, back.hidden()) == (2, 1, 2)
    assert not pool.apply(lambda pair: hasattr(pair, "__dict__"), (pair,))


def test_local_named_tuples_come_and_go(pool) -> None:
    class Typed(typing.NamedTuple):
        first: int
        second: int = 2

    plain = collections.namedtuple("plain", "first second")
    assert pool.apply(Typed, (1,)) == Typed(1)
    assert pool.apply(lambda pair: plain(*pair), (Typed(3),)) == plain(3, 2)


def test_function_that_chooses_by_type_crosses(pool) -> None:
    @functools.singledispatch
    def depth(value):
        """Tells how deep it is."""
        return 0

    @depth.register
    def _(value: list):
        return 1 + max(map(depth, value), default=0)

    class Leaf:
        pass

    depth.register(Leaf, lambda leaf: 10)

    assert pool.map(depth, [3, [], [[], [[]]], Leaf()]) == [0, 1, 3, 10]
    copy = pool.apply(lambda: depth)
    assert (copy([[]]), copy.__name__, copy.__doc__) == (
        2,
        "depth",
        "Tells how deep it is.",
    )
    copy.register(str, len)
    assert (copy("four"), depth("four")) == (4, 0)


def test_pool_that_pickles_plainly_sends_nothing_by_value(mp) -> None:
    with mp.Pool(1, pickler="plain") as pool:
        for call in (
            lambda: pool.apply(lambda: 1),
            lambda: pool.map(lambda number: number, [1]),
            lambda: pool.map(abs, [lambda: 1]),
            lambda: list(pool.imap(abs, iter([lambda: 1]))),
            lambda: pool.apply(eval, ("lambda: 1",)),
        ):
            with pytest.raises(Exception, match="<lambda>"):
                call()
        with pytest.raises(Exception, match="<lambda>") as caught:
            pool.apply(abs, (lambda: 1,))
        assert "args[0] of a call of builtins.abs" in caught.value.__notes__[-1]
        assert pool.map(abs, [-1]) == [1]
    with pytest.raises(ValueError, match="'auto' or 'plain', not 'other'"):
        mp.Pool(1, pickler="other")
    make = load("futures").ProcessPoolExecutor
    with make(1, mp, pickler="plain") as executor:
        for future in (executor.submit(lambda: 1), executor.submit(eval, "lambda: 1")):
            with pytest.raises(Exception, match="<lambda>"):
                future.result(PATIENCE)
    with pytest.raises(ValueError, match="'auto' or 'plain', not 'other'"):
        make(1, mp, pickler="other")


def test_function_of_a_map_is_pickled_once(pool) -> None:
    counting = Counting()
    assert pool.map(lambda _: counting, range(20), chunksize=1) == [1] * 20
    assert counting.pickled == 1


def test_what_is_pickled_plainly_is_pickled_once(mp) -> None:
    counting, queue = Counting(), mp.Queue()
    queue.put((counting, times))
    queue.get(timeout=PATIENCE)
    assert counting.pickled == 1


def test_what_a_reducer_raises_is_no_reason_to_try_again(mp) -> None:
    class Raising:
        tried = 0

        def __reduce__(self):
            Raising.tried += 1
            raise AttributeError("not today")

    with pytest.raises(AttributeError, match="not today"):
        mp.Queue().put([Raising()])
    assert Raising.tried == 1
    with pytest.raises(AttributeError, match="not today"):
        load("reduction").dumps(Raising())
    assert Raising.tried == 2


@BY_START
def test_descriptor_beside_a_lambda_is_given_to_a_child_once(mp, start) -> None:
    reader, writer = mp.Pipe(False)
    closed, leave = mp.Event(), mp.Event()
    process = start(targets.close_and_wait, writer, lambda: None, closed, leave)
    writer.close()
    assert closed.wait(PATIENCE)
    assert reader.poll(PATIENCE)
    with pytest.raises(EOFError):
        reader.recv()
    assert process.is_alive()
    leave.set()


def test_descriptor_beside_a_lambda_is_kept_for_one_reader_only(mp, request) -> None:
    reader, writer = mp.Pipe(False)
    queue = mp.Queue()
    queue.put((writer, lambda: None))
    request.addfinalizer(load("resource_sharer").stop)
    copy, _ = queue.get(timeout=PATIENCE)
    writer.close()
    copy.send("first")
    assert reader.recv() == "first"
    copy.close()
    assert reader.poll(PATIENCE)
    with pytest.raises(EOFError):
        reader.recv()


def test_descriptor_of_what_cannot_cross_is_not_kept(mp, request) -> None:
    reader, writer = mp.Pipe(False)
    request.addfinalizer(load("resource_sharer").stop)
    with pytest.raises(TypeError):
        mp.Queue().put((writer, threading.Lock()))
    writer.close()
    assert reader.poll(PATIENCE)
    with pytest.raises(EOFError):
        reader.recv()


# Without cloudpickle, and what errors say.

TELL = """
    import multiprocessing, sys
    def work(number):
        return number
    def tell(call):
        try:
            print("done", call())
        except Exception as error:
            print(type(error).__name__, error, *error.__notes__, sep=" | ")
    mp = multiprocessing.get_context(sys.argv[1])
"""


@pytest.fixture
def told_without(method, tmp_path):
    """Returns a function that runs a command where there is no cloudpickle."""
    (tmp_path / "cloudpickle.py").write_text("raise ImportError('it is not here')")

    def told_without(text: str) -> list[str]:
        text = textwrap.dedent(TELL) + textwrap.dedent(text)
        paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        return script.output("-c", text, method, env=environment).splitlines()

    return told_without


INSTALL = "pip install 'procession[cloudpickle]'"


@pytest.mark.slow
def test_missing_cloudpickle_is_told_with_the_object_and_its_place(
    told_without,
) -> None:
    told = told_without(
        """
        with mp.Pool(1) as pool:
            tell(lambda: pool.map(lambda number: number, [1]))
            tell(lambda: pool.apply(divmod, (1, lambda: 2)))
            tell(lambda: pool.map(len, ["a", lambda: 2]))
            tell(lambda: pool.apply(eval, ("lambda: 1",)))
        tell(lambda: mp.SimpleQueue().put(lambda: 1))
        """,
    )
    assert len(told) == 5
    for line in told:
        assert "<lambda>" in line
        assert INSTALL in line
    assert "the function of a call of __main__.<lambda>" in told[0]
    assert "args[1] of a call of builtins.divmod" in told[1]
    assert "input 1 (from 0) of builtins.len" in told[2]
    assert told[3].startswith("MaybeEncodingError")


@pytest.mark.slow
@BY_START
def test_missing_cloudpickle_is_told_before_a_child_looks_in_vain(told_without) -> None:
    told = told_without(
        """
        tell(mp.Process(target=work, args=(1,), name="mine").start)
        with mp.Pool(1) as pool:
            tell(lambda: pool.map(work, [1]))
            print(pool.apply(len, ("__main__",)))
        """,
    )
    assert "'work' is defined in a main module that has no file" in told[0]
    assert "the target of process 'mine'" in told[0]
    assert INSTALL in told[0]
    assert "'work' is defined in a main module that has no file" in told[1]
    assert told[2] == "8"


@pytest.mark.slow
@pytest.mark.methods("fork")
def test_missing_cloudpickle_costs_forked_processes_nothing(told_without) -> None:
    told = told_without(
        """
        import functools
        class Point: pass
        @functools.cache
        def cached(number): return number
        with mp.Pool(1) as pool:
            print(pool.map(work, [1, 2]) + pool.map(cached, [3]))
            def later(number): return number
            tell(lambda: pool.map(later, [1]))
        queue = mp.Queue()
        queue.put(Point())
        print(type(queue.get()) is Point)
        """,
    )
    assert told[0] == "[1, 2, 3]"
    assert "after the processes were forked" in told[1]
    assert told[2] == "True"


@BY_START
def test_start_tells_which_argument_cannot_be_pickled(mp) -> None:
    process = mp.Process(
        target=operator.add,
        args=(lambda: None, 1),
        kwargs={"key": threading.Lock()},
        name="mine",
    )
    with pytest.raises((AttributeError, pickle.PicklingError)) as caught:
        process.start()
    assert "kwargs['key'] of process 'mine'" in caught.value.__notes__[-1]


@BY_START
def test_pool_tells_which_argument_of_its_initializer_cannot_be_pickled(mp) -> None:
    with pytest.raises(TypeError) as caught:
        mp.Pool(1, operator.add, (1, threading.Lock()))
    assert "initargs[1] of process" in caught.value.__notes__[-1]


def test_pool_tells_which_input_cannot_be_pickled(pool) -> None:
    inputs = [0, 1, 2, threading.Lock(), 4]
    for chunk in (1, 2):
        with pytest.raises(TypeError) as caught:
            pool.map(operator.neg, inputs, chunksize=chunk)
        assert "input 3 (from 0) of _operator.neg" in caught.value.__notes__[-1]
    fed = pool.imap(operator.neg, iter([*inputs][3:]))
    with pytest.raises(TypeError) as caught:
        next(fed)
    assert "input 0 (from 0)" in caught.value.__notes__[-1]


def test_error_tells_why_something_does_not_cross_by_value_either(pool) -> None:
    lock = threading.Lock()
    with pytest.raises(Exception, match="<lambda>") as caught:
        pool.apply(lambda: lock)
    notes = "\n".join(caught.value.__notes__)
    assert "By value it cannot cross either: TypeError: cannot pickle" in notes


@pytest.mark.slow
def test_cloudpickle_is_not_imported_for_what_needs_it_not(method) -> None:
    text = f"""
        import multiprocessing, operator, sys
        mp = multiprocessing.get_context({method!r})
        with mp.Pool(1) as pool:
            print(pool.map(operator.neg, [1, 2]))
            print("cloudpickle" in sys.modules)
            print(pool.apply(lambda: 3))
            print("cloudpickle" in sys.modules)
    """
    told = script.output("-c", textwrap.dedent(text)).splitlines()
    assert told == ["[-1, -2]", "False", "3", "True"]
