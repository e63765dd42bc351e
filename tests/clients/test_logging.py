"""Logging from many processes: handlers that put into a queue, a listener that gets."""

import sys
import textwrap

import pytest
import script

pytestmark = pytest.mark.slow

WORKER = """
    import logging, logging.handlers
    import multiprocessing

    def work(records, number):
        root = logging.getLogger()
        root.handlers[:] = [logging.handlers.QueueHandler(records)]
        root.setLevel(logging.INFO)
        logger = logging.getLogger(f"worker.{number}")
        for step in range(3):
            logger.info("step %d", step)
        try:
            1 / 0
        except ZeroDivisionError:
            logger.exception("failed")
"""

TOLD = sorted(
    f"worker.{number} {line}"
    for number in range(3)
    for line in ("INFO step 0", "INFO step 1", "INFO step 2", "ERROR failed")
)


def test_listener_thread_gets_the_records_of_all_processes(prints) -> None:
    told = prints(
        WORKER
        + """
    class Collect(logging.Handler):
        def emit(self, record):
            line = record.getMessage().splitlines()[0]
            print(record.name, record.levelname, line)
            assert record.processName.rpartition("-")[2] in "1234", record.processName

    if __name__ == "__main__":
        records = multiprocessing.Queue()
        workers = [
            multiprocessing.Process(target=work, args=(records, number))
            for number in range(3)
        ]
        for worker in workers:
            worker.start()
        # It has a thread, which a fork would not like.
        listener = logging.handlers.QueueListener(records, Collect())
        listener.start()
        for worker in workers:
            worker.join()
        listener.stop()
    """
    )
    assert sorted(told) == TOLD


def test_queue_of_a_manager_carries_the_records_of_a_pool(prints) -> None:
    told = prints(
        WORKER
        + """
    if __name__ == "__main__":
        with multiprocessing.Manager() as manager:
            records = manager.Queue()
            with multiprocessing.Pool(2) as pool:
                pool.starmap(work, [(records, number) for number in range(3)])
            while not records.empty():
                record = records.get()
                print(record.name, record.levelname, record.message.splitlines()[0])
    """
    )
    assert sorted(told) == TOLD


def test_own_logger_tells_with_the_name_of_the_process(program) -> None:
    code, _, err = program("""
        import logging, multiprocessing

        def work():
            multiprocessing.get_logger().warning("from the child")

        if __name__ == "__main__":
            logger = multiprocessing.log_to_stderr()
            logger.setLevel(logging.INFO)
            logger.warning("from the parent")
            child = multiprocessing.Process(target=work, name="the child")
            child.start()
            child.join()
    """)
    assert code == 0
    assert "[WARNING/MainProcess] from the parent" in err
    assert "[WARNING/the child] from the child" in err
    assert "[INFO/the child] process exiting with exitcode 0" in err


@pytest.mark.procession_only("it is imported by its own name")
@pytest.mark.parametrize(
    "imports",
    [
        "import logging, procession as multiprocessing",
        "import procession as multiprocessing",
        "import logging, multiprocessing.pool, procession as multiprocessing",
        "import logging, procession; procession.install(); import multiprocessing",
    ],
)
def test_records_of_children_name_them(tmp_path, method, imports) -> None:
    path = tmp_path / "program.py"
    path.write_text(
        textwrap.dedent(f"""
        {imports}
        import sys

        def work(late):
            import logging
            if late:
                import multiprocessing.process
            logging.basicConfig(
                format="%(processName)s %(message)s", force=True, stream=sys.stdout
            )
            logging.warning("told")

        if __name__ == "__main__":
            context = multiprocessing.get_context(sys.argv[1])
            for late in (False, True):
                process = context.Process(target=work, args=(late,), name="child")
                process.start()
                process.join()
            work(False)
        """)
    )
    code, out, err = script.run([sys.executable, path, method], cwd=tmp_path)
    assert (code, err) == (0, "")
    assert out.splitlines() == ["child told", "child told", "MainProcess told"]
