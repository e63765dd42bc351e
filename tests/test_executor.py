"""`concurrent.futures.ProcessPoolExecutor` on the contexts of the library."""

import os
import sys
import textwrap
import threading
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack

import library
import pytest
from library import PATIENCE
from script import Script
from targets import executor as targets

pytestmark = pytest.mark.slow


@pytest.fixture
def executor(mp):
    with ProcessPoolExecutor(2, mp_context=mp) as executor:
        yield executor


def test_calls_are_made_in_workers(executor) -> None:
    assert list(executor.map(targets.square, range(20), chunksize=3)) == [
        number * number for number in range(20)
    ]
    futures = [executor.submit(targets.where) for _ in range(4)]
    pids = {future.result(PATIENCE) for future in as_completed(futures, PATIENCE)}
    assert os.getpid() not in pids
    assert len(pids) <= 2


def test_exception_of_a_call_is_that_of_its_future(executor) -> None:
    error = executor.submit(targets.fail, "for a reason").exception(PATIENCE)
    assert repr(error) == "ValueError('for a reason')"
    assert "in fail" in str(error.__cause__)


def test_argument_that_does_not_pickle_fails_its_own_call_only(executor) -> None:
    refused = executor.submit(targets.square, threading.Lock())
    assert executor.submit(targets.square, 3).result(PATIENCE) == 9
    with pytest.raises(Exception, match="cannot pickle"):
        refused.result(PATIENCE)


def test_result_that_does_not_pickle_fails_its_own_call_only(executor) -> None:
    refused = executor.submit(threading.Lock)
    assert executor.submit(targets.square, 3).result(PATIENCE) == 9
    with pytest.raises(Exception, match="cannot pickle"):
        refused.result(PATIENCE)


def test_large_arguments_and_results_cross(executor) -> None:
    data = os.urandom(3_000_000)
    assert executor.submit(targets.double, data).result(PATIENCE) == data + data


def test_initializer_is_called_in_each_worker(mp) -> None:
    options = {"initializer": targets.note, "initargs": ("noted",)}
    with ProcessPoolExecutor(2, mp_context=mp, **options) as executor:
        assert executor.submit(targets.noted).result(PATIENCE) == "noted"


def test_initializer_that_fails_breaks_the_executor(mp) -> None:
    options = {"initializer": targets.fail, "initargs": ("at the beginning",)}
    with (
        ProcessPoolExecutor(1, mp_context=mp, **options) as executor,
        pytest.raises(BrokenProcessPool),
    ):
        executor.submit(targets.square, 1).result(PATIENCE)


def test_killed_worker_breaks_the_executor_and_nobody_waits(mp) -> None:
    with ProcessPoolExecutor(2, mp_context=mp) as executor:
        assert executor.submit(targets.square, 3).result(PATIENCE) == 9
        with pytest.raises(BrokenProcessPool):
            executor.submit(targets.kill_this).result(PATIENCE)
        with pytest.raises(BrokenProcessPool):
            executor.submit(targets.square, 3)


@pytest.mark.methods("spawn", "forkserver")
def test_worker_is_replaced_after_its_number_of_calls(mp) -> None:
    with ProcessPoolExecutor(1, mp_context=mp, max_tasks_per_child=2) as executor:
        pids = [executor.submit(targets.where).result(PATIENCE) for _ in range(5)]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]


def test_executor_shuts_down_and_drops_what_has_not_begun(mp) -> None:
    executor = ProcessPoolExecutor(1, mp_context=mp)
    running = executor.submit(targets.square, 2)
    futures = [executor.submit(targets.square, number) for number in range(50)]
    executor.shutdown(wait=True, cancel_futures=True)
    assert running.result(PATIENCE) == 4
    assert all(future.done() for future in futures)
    assert any(future.cancelled() for future in futures)


def test_executor_of_an_installed_library_needs_no_context(program) -> None:
    code, out, err = program("""
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        def name():
            return multiprocessing.__name__, multiprocessing.current_process().name

        if __name__ == "__main__":
            with ProcessPoolExecutor(2) as executor:
                library, process = executor.submit(name).result()
            print(library == multiprocessing.__name__, "Process" in process)
    """)
    assert (code, out, err) == (0, "True True\n", "")


STORM = """
    import sys
    from concurrent.futures import ProcessPoolExecutor
    from {library} import get_context

    if __name__ == "__main__":
        for number in range(25):
            context = get_context({method!r})
            with ProcessPoolExecutor(5, mp_context=context) as executor:
                assert list(executor.map(abs, range(-4, 0))) == [4, 3, 2, 1]
"""


@pytest.mark.methods("fork", "forkserver")
@pytest.mark.parametrize("runner", [[], ["-m", library.name]])
def test_storm_of_executors_side_by_side_comes_to_an_end(
    method, tmp_path, runner
) -> None:
    if library.name == "multiprocessing" and runner:
        pytest.skip("nothing to install")
    path = tmp_path / "storm.py"
    path.write_text(textwrap.dedent(STORM.format(library=library.name, method=method)))
    with ExitStack() as stack:
        storms = [
            stack.enter_context(Script([sys.executable, *runner, path]))
            for _ in range(4)
        ]
        assert [storm.finish() for storm in storms] == [(0, "", "")] * 4
