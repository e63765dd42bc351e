"""joblib, whose pool is a subclass of ours with queues and picklers of its own."""

import pytest

PACKAGE = "joblib"
pytestmark = pytest.mark.slow


def test_parallel_calls_in_worker_processes(prints) -> None:
    assert prints("""
        import os
        from joblib import Parallel, delayed

        def work(number):
            return number * number, os.getpid()

        if __name__ == "__main__":
            run = Parallel(n_jobs=2, backend="multiprocessing")
            results = run(delayed(work)(number) for number in range(20))
            print([square for square, _ in results] == [n * n for n in range(20)])
            print(os.getpid() in {pid for _, pid in results})
    """) == ["True", "False"]


def test_large_array_is_mapped_once_and_not_copied(prints) -> None:
    assert (
        prints("""
        import numpy
        from joblib import Parallel, delayed

        def look(array):
            return type(array).__name__, array.flags.writeable, float(array.sum())

        if __name__ == "__main__":
            run = Parallel(n_jobs=2, backend="multiprocessing", max_nbytes=1000)
            print(*run(delayed(look)(numpy.ones(2000)) for _ in range(2)), sep="\\n")
    """)
        == ["('memmap', False, 2000.0)"] * 2
    )


def test_workers_write_into_the_memory_map_that_they_are_given(prints) -> None:
    assert prints("""
        import numpy
        from joblib import Parallel, delayed

        def fill(output, index):
            output[index] = index + 1

        if __name__ == "__main__":
            output = numpy.memmap("output", dtype=int, shape=6, mode="w+")
            run = Parallel(n_jobs=2, backend="multiprocessing")
            run(delayed(fill)(output, index) for index in range(6))
            print(*output)
    """) == ["1 2 3 4 5 6"]


def test_exception_of_a_task_is_raised_in_the_caller(prints) -> None:
    assert prints("""
        from joblib import Parallel, delayed

        def fail(number):
            raise ValueError(number)

        if __name__ == "__main__":
            try:
                Parallel(n_jobs=2, backend="multiprocessing")([delayed(fail)(17)])
            except ValueError as error:
                print(repr(error))
    """) == ["ValueError(17)"]


POOL = """
    import os, signal, sys
    from joblib.pool import PicklingPool

    class Number:
        def __init__(self, value):
            self.value = value

        def __reduce__(self):
            raise TypeError("only by a reducer")

    def reduce_number(number):
        return Number, (number.value,)

    def double(number):
        return Number(2 * number.value)

    def die(number):
        os.kill(os.getpid(), signal.SIGKILL)

    def identity(value):
        return value

    if __name__ == "__main__":
        reducers = {Number: reduce_number}
        pool = PicklingPool(2, forward_reducers=reducers, backward_reducers=reducers)
        ACTION
        pool.close()
        pool.join()
"""


def test_reducers_of_a_pool_are_used_in_both_directions(prints) -> None:
    action = "print(*(n.value for n in pool.map(double, map(Number, range(5)))))"
    assert prints(POOL.replace("ACTION", action)) == ["0 2 4 6 8"]


@pytest.mark.procession_only("the caller waits for ever")
def test_killed_worker_costs_its_task_only(prints) -> None:
    action = """
        others = pool.map_async(identity, range(100))
        try:
            pool.apply(die, (1,))
        except Exception as error:
            print(type(error).__name__)
        print(others.get() == list(range(100)), pool.apply(identity, ("alive",)))
    """
    printed = prints(POOL.replace("ACTION", action.strip()))
    assert printed == ["WorkerDied", "True alive"]


@pytest.mark.methods("fork")
def test_default_backend_runs_too(prints) -> None:
    # Its processes are started by itself, and are no relatives of ours.
    assert prints("""
        from joblib import Parallel, delayed

        def fail(number):
            raise ValueError(number)

        if __name__ == "__main__":
            print(*Parallel(n_jobs=2)(delayed(pow)(n, 2) for n in range(10)))
            data = bytes(1_000_000)
            print(*Parallel(n_jobs=2)(delayed(len)(data) for n in range(3)))
            try:
                Parallel(n_jobs=2)([delayed(fail)(17)])
            except ValueError as error:
                print(repr(error))
    """) == ["0 1 4 9 16 25 36 49 64 81", "1000000 1000000 1000000", "ValueError(17)"]
