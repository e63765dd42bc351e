"""What programs put on `ForkingPickler`, or in its place, pickles what is sent."""

import pytest

pytestmark = pytest.mark.slow

# A pickler that knows lambdas, by what their code is, and the ways to send one.
LAMBDAS = """
    import io, marshal, multiprocessing, pickle, sys, types
    import multiprocessing.connection, multiprocessing.queues
    from multiprocessing import reduction

    def make(code):
        return types.FunctionType(marshal.loads(code), globals())

    def reducer_override(self, obj):
        if isinstance(obj, types.FunctionType) and obj.__name__ == "<lambda>":
            return make, (marshal.dumps(obj.__code__),)
        return NotImplemented

    def work(end, queue, simple):
        for send in (end.send, queue.put, simple.put):
            send(lambda number: number + 1)
        queue.put(end.recv()(1))

    class Mine(reduction.ForkingPickler):
        reducer_override = reducer_override

    class Whole:
        asked = []

        @classmethod
        def dumps(cls, obj, protocol=None):
            buffer = io.BytesIO()
            Mine(buffer, protocol).dump(obj)
            return b"mine" + buffer.getvalue()

        @staticmethod
        def loads(data):
            assert bytes(data[:4]) == b"mine"
            return pickle.loads(data[4:])

    REPLACE

    if __name__ == "__main__":
        end, other = multiprocessing.Pipe()
        queue, simple = multiprocessing.Queue(), multiprocessing.SimpleQueue()
        process = multiprocessing.Process(target=work, args=(other, queue, simple))
        process.start()
        end.send(lambda number: number * 2)
        print(end.recv()(1), queue.get()(2), simple.get()(3), queue.get())
        process.join()
        with multiprocessing.Pool(2) as pool:
            print(pool.map(lambda number: -number, range(3)))
"""

REPLACED = [
    "reduction.ForkingPickler.reducer_override = reducer_override",
    "reduction.ForkingPickler.dumps = Mine.dumps",
    "reduction.ForkingPickler = Mine",
    """multiprocessing.connection._ForkingPickler = Mine
    multiprocessing.queues._ForkingPickler = Mine""",
    """reduction.ForkingPickler.dumps = Whole.dumps
    reduction.ForkingPickler.loads = Whole.loads""",
]


@pytest.mark.procession_only("some of it comes too late there")
@pytest.mark.parametrize("replace", REPLACED)
def test_pickler_of_the_program_is_used_for_messages_and_tasks(prints, replace) -> None:
    text = LAMBDAS.replace("REPLACE", replace)
    assert prints(text) == ["2 3 4 2", "[0, -1, -2]"]


@pytest.mark.methods("spawn", "forkserver")
@pytest.mark.parametrize(
    "replace",
    [
        "reduction.ForkingPickler.reducer_override = reducer_override",
        "reduction.ForkingPickler = Mine",
        "multiprocessing.get_context().reducer = Reducer()",
    ],
)
def test_pickler_of_the_program_is_used_for_what_is_started(prints, replace) -> None:
    head = LAMBDAS.partition("    REPLACE")[0]
    assert prints(
        head
        + f"""
    class Reducer(reduction.AbstractReducer):
        ForkingPickler = Mine

        def dump(self, obj, file, protocol=None):
            Mine(file, protocol).dump(obj)

    if __name__ == "__main__":
        {replace}
        process = multiprocessing.Process(target=lambda: print("in the child"))
        process.start()
        process.join()
        print(process.exitcode)
    """
    ) == ["in the child", "0"]


@pytest.mark.methods("fork")
def test_what_is_taken_away_again_is_not_used_any_more(prints) -> None:
    assert prints("""
    import multiprocessing
    from multiprocessing import reduction

    def refuse(cls, obj, protocol=None):
        raise ZeroDivisionError

    if __name__ == "__main__":
        one, other = multiprocessing.Pipe()
        original = vars(reduction.ForkingPickler)["dumps"]
        reduction.ForkingPickler.dumps = classmethod(refuse)
        try:
            one.send(1)
        except ZeroDivisionError:
            print("refused")
        reduction.ForkingPickler.dumps = original
        one.send(1)
        print(other.recv())
    """) == ["refused", "1"]
