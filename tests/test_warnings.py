"""Starts where warnings are errors, and where there is something to warn of."""

import pytest

pytestmark = pytest.mark.slow

# A thread that runs from the moment on in which the main module is imported.
TOP = """
    import logging.handlers, multiprocessing, queue, sys, warnings

    listener = logging.handlers.QueueListener(queue.Queue())
    listener.start()

    def work(number):
        return number * number

"""


def test_thread_of_the_main_module_costs_no_start_where_warnings_are_errors(
    prints,
) -> None:
    assert prints(
        TOP
        + """
    if __name__ == "__main__":
        warnings.simplefilter("error")
        process = multiprocessing.Process(target=work, args=(3,))
        process.start()
        process.join()
        print(process.exitcode)
        with multiprocessing.Pool(2, maxtasksperchild=1) as pool:
            print(pool.map(work, range(5), chunksize=1))
            pool.close()
            pool.join()
        listener.stop()
    """
    ) == ["0", "[0, 1, 4, 9, 16]"]


@pytest.mark.methods("forkserver")
@pytest.mark.procession_only("the server is forked in spite of its threads")
@pytest.mark.parametrize(
    ("simplefilter", "told"),
    [("always", ["RuntimeWarning True"]), ("error", [])],
)
def test_preload_that_runs_threads_is_told_once_where_it_was_asked_for(
    prints, simplefilter, told
) -> None:
    assert prints(
        TOP
        + """
    if __name__ == "__main__":
        multiprocessing.set_forkserver_preload(["__main__"])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter(sys.argv[1])
            for _ in range(2):
                process = multiprocessing.Process(target=work, args=(3,))
                process.start()
                process.join()
                print(process.exitcode)
        for one in caught:
            print(one.category.__name__, one.filename == __file__)
        listener.stop()
    """,
        simplefilter,
    ) == ["0", "0", *told]
