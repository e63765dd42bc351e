"""pytest, whose tests start processes, with each warning an error."""

import textwrap

import pytest

pytestmark = pytest.mark.slow

TESTS = """
    import multiprocessing
    import threading

    import pytest

    def double(number):
        return 2 * number

    @pytest.fixture
    def thread():
        go = threading.Event()
        thread = threading.Thread(target=go.wait)
        thread.start()
        yield
        go.set()
        thread.join()

    def test_process(thread):
        process = multiprocessing.Process(target=double, args=(1,))
        process.start()
        process.join()
        assert process.exitcode == 0

    def test_pool_that_replaces_its_workers(thread):
        with multiprocessing.Pool(2, maxtasksperchild=1) as pool:
            assert pool.map(double, range(6), chunksize=1) == [0, 2, 4, 6, 8, 10]
            pool.close()
            pool.join()

    def test_manager(thread):
        with multiprocessing.Manager() as manager:
            assert list(manager.list([1, 2])) == [1, 2]

    def test_queue(thread):
        queue = multiprocessing.Queue()
        queue.put(1)
        assert queue.get() == 1
        queue.close()
        queue.join_thread()
"""


def test_tests_that_start_processes_pass_where_warnings_are_errors(
    program, tmp_path
) -> None:
    (tmp_path / "test_inner.py").write_text(textwrap.dedent(TESTS))
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    code, out, err = program("""
        import sys
        import pytest

        if __name__ == "__main__":
            sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "test_inner.py"]))
    """)
    assert code == 0, out + err
    assert "4 passed" in out
