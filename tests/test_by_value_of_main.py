"""Main modules that nobody else can read: what they define crosses by value."""

import ast
import sys
import textwrap
from importlib.util import find_spec

import pytest
import script

pytestmark = [
    pytest.mark.procession_only("multiprocessing refuses to pickle these"),
    pytest.mark.skipif(
        find_spec("cloudpickle") is None,
        reason="cloudpickle is not installed: pip install 'procession[cloudpickle]'",
    ),
]


# Prints what comes of each way; the start method is its argument.
MAIN = """
    import functools, multiprocessing, sys

    FACTOR = 10

    class Point:
        def __init__(self, x):
            self.x = x

    def work(number):
        return number * FACTOR

    @functools.lru_cache
    def cached(number):
        return work(number) + 1

    class Slotted:
        __slots__ = ("x",)

    def filled(slotted):
        slotted.x = work(1)
        return slotted

    @functools.singledispatch
    def kind(value):
        return "any"

    @kind.register
    def _(value: int):
        return "int"

    def moved(point):
        return Point(work(point.x))

    def answer(answers):
        answers.put(Point(4))
        answers.put(work)

    mp = multiprocessing.get_context(sys.argv[1])
    told = []
    with mp.Pool(2) as pool:
        told.append(pool.map(work, range(3)))
        made = pool.apply(moved, (Point(2),))
        told.append((type(made) is Point, made.x))
        told.append(pool.map(cached, range(3)))
        told.append(pool.apply(filled, (Slotted(),)).x)
        told.append(pool.map(kind, [1, None]))
        def later(number):
            return work(number) + 1
        told.append(pool.map(later, range(3)))
        def work(number):
            return "redefined"
        told.append(pool.apply(work, (1,)))

    answers = mp.SimpleQueue()
    process = mp.Process(target=answer, args=(answers,))
    process.start()
    told.append(type(answers.get()) is Point)
    told.append(answers.get()(3))
    process.join()
    told.append(process.exitcode)
    print(told)
"""

TOLD = [
    [0, 10, 20],
    (True, 20),
    [1, 11, 21],
    10,
    ["int", "any"],
    [1, 11, 21],
    "redefined",
    True,
    "redefined",
    0,
]


@pytest.mark.slow
def test_what_a_command_defines_runs_in_processes(method) -> None:
    assert ast.literal_eval(script.output("-c", textwrap.dedent(MAIN), method)) == TOLD


@pytest.mark.slow
def test_what_standard_input_defines_runs_in_processes(method, tmp_path) -> None:
    path = tmp_path / "input"
    path.write_text(textwrap.dedent(MAIN))
    with path.open() as stdin:
        out = script.output("-", method, stdin=stdin)
    assert ast.literal_eval(out) == TOLD


@pytest.mark.slow
def test_what_a_prompt_is_told_runs_in_processes(method, tmp_path) -> None:
    path = tmp_path / "input"
    path.write_text("import procession; procession.install()\n" + textwrap.dedent(MAIN))
    with path.open() as stdin:
        command = [sys.executable, "-q", "-i", "-", method]
        code, out, err = script.run(command, stdin=stdin)
    assert (code, ast.literal_eval(out)) == (0, TOLD), err


@pytest.mark.slow
@pytest.mark.methods("fork")
def test_forked_workers_share_the_globals_of_their_main_module(method) -> None:
    text = """
        import multiprocessing, sys
        state = None
        def begin(value):
            global state
            state = value
        def tell(_):
            return state
        with multiprocessing.get_context(sys.argv[1]).Pool(2, begin, (5,)) as pool:
            print(pool.map(tell, range(4)))
    """
    assert script.output("-c", textwrap.dedent(text), method) == "[5, 5, 5, 5]\n"


@pytest.mark.slow
def test_main_module_with_a_file_is_found_by_name(prints) -> None:
    assert prints("""
        import multiprocessing, sys

        class Point:
            pass

        def same(thing):
            return thing

        if __name__ == "__main__":
            with multiprocessing.Pool(1) as pool:
                print(type(pool.apply(same, (Point(),))) is Point)
                print(pool.apply(same, (same,)) is same)
            print("cloudpickle" in sys.modules)
    """) == ["True", "True", "False"]
