"""loky, which starts its workers itself and tracks by names, alone and inside joblib."""

import library as tested
import pytest

pytestmark = pytest.mark.slow

versions = pytest.mark.parametrize(
    "requirement",
    [
        pytest.param(name, marks=pytest.mark.installs(name))
        for name in ("loky==3.5.*", "loky==3.7.*")
    ],
)

# Its workers are started in its own way, whatever the start method of the program is.
in_its_own_way = pytest.mark.methods("spawn")


@in_its_own_way
@versions
def test_reusable_executor_of_each_generation_runs(prints, requirement) -> None:
    assert prints("""
        import loky, os

        def work(number):
            return number * number, os.getpid()

        if __name__ == "__main__":
            executor = loky.get_reusable_executor(max_workers=2)
            results = list(executor.map(work, range(8)))
            print(*(square for square, _ in results))
            print(os.getpid() in {pid for _, pid in results})
            print(executor.submit(lambda: "by value").result())
            executor.shutdown()
    """) == ["0 1 4 9 16 25 36 49", "False", "by value"]


@in_its_own_way
@versions
def test_worker_that_dies_is_told(prints, requirement) -> None:
    assert prints("""
        import loky, os, signal

        def die():
            os.kill(os.getpid(), signal.SIGKILL)

        if __name__ == "__main__":
            executor = loky.get_reusable_executor(max_workers=2)
            try:
                executor.submit(die).result()
            except loky.BrokenProcessPool as error:
                print(type(error).__name__)
            print(loky.get_reusable_executor(max_workers=2).submit(pow, 2, 5).result())
    """) == ["TerminatedWorkerError", "32"]


@in_its_own_way
@versions
def test_tracker_removes_the_folder_that_a_program_leaves(
    prints, requirement, tmp_path
) -> None:
    # The end of the tracker, which removes it, belongs to the program's session.
    folder = tmp_path / "left"
    folder.mkdir()
    assert (
        prints(
            """
        import sys
        from loky.backend import resource_tracker

        if __name__ == "__main__":
            resource_tracker.register(sys.argv[1], "folder")
            resource_tracker.register(sys.argv[1], "folder")
            resource_tracker.maybe_unlink(sys.argv[1], "folder")
            resource_tracker.maybe_unlink(sys.argv[1], "folder")
        """,
            str(folder),
        )
        == []
    )
    assert not folder.exists()


versions_of_joblib = pytest.mark.parametrize(
    "requirement",
    [
        pytest.param(name, marks=pytest.mark.installs(name))
        for name in ("joblib==1.5.*", "joblib==1.6.*")
    ],
)

JOBLIB = """
    import os, sys
    import numpy
    from joblib import Parallel, delayed

    def work(number):
        return number * number, os.getpid()

    def look(array):
        return type(array).__name__, float(array.sum())

    if __name__ == "__main__":
        run = Parallel(n_jobs=2, backend=sys.argv[1], max_nbytes=1000)
        results = run(delayed(work)(number) for number in range(8))
        print(*(square for square, _ in results))
        print(os.getpid() in {pid for _, pid in results})
        print(*run(delayed(look)(numpy.ones(2000)) for _ in range(2)))
"""

PRINTED_BY_JOBLIB = [
    "0 1 4 9 16 25 36 49",
    "False",
    "('memmap', 2000.0) ('memmap', 2000.0)",
]


@in_its_own_way
@versions_of_joblib
def test_joblib_of_each_generation_runs_with_loky(prints, requirement) -> None:
    assert prints(JOBLIB, "loky") == PRINTED_BY_JOBLIB


@versions_of_joblib
def test_joblib_of_each_generation_runs_with_pools(prints, requirement) -> None:
    assert prints(JOBLIB, "multiprocessing") == PRINTED_BY_JOBLIB


@pytest.mark.installs("loky==3.7.*")
def test_workers_know_the_key_of_the_program_and_who_they_are(prints) -> None:
    assert prints(
        """
        import loky, multiprocessing, os

        def work(numbers, key, number):
            from multiprocessing import current_process
            numbers[number] = number * number
            return key, current_process()._identity

        def ours(numbers):
            # The package that was installed in the program.
            import PACKAGE as package
            return package.current_process()._identity, len(numbers)

        if __name__ == "__main__":
            with multiprocessing.Manager() as manager:
                numbers = manager.dict()
                executor = loky.ProcessPoolExecutor(max_workers=2)
                for number in range(4):
                    key, identity = executor.submit(work, numbers, 1, number).result()
                    assert len(identity) == 1, identity
                print(numbers)
                identity, many = executor.submit(ours, numbers).result()
                print(len(identity), many)
                executor.shutdown()
    """.replace("PACKAGE", tested.multiprocessing.__name__)
    ) == [
        "{0: 0, 1: 1, 2: 4, 3: 9}",
        "1 4",
    ]
