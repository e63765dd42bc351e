"""Log records of children arrive at the handlers of their parent."""

import textwrap

import pytest

# Prints what it handles, so that a record which is lost or comes twice is seen.
CONFIGURED = """
import logging, multiprocessing as mp, os, signal, sys, warnings

def configure():
    logging.basicConfig(
        level=logging.INFO, stream=sys.stdout,
        format="%(processName)s %(name)s %(levelname)s %(message)s",
    )
    logging.getLogger("quiet").setLevel(logging.ERROR)

def log(number):
    logger = logging.getLogger(f"work.{number % 2}")
    logger.debug("not at this level")
    logging.getLogger("quiet").warning("not of this logger")
    logger.info("task %d", number)
    return os.getpid()
"""


def lines(prints, body: str) -> list[str]:
    return prints(CONFIGURED + textwrap.dedent(body))


@pytest.mark.procession_only("it has no such thing")
def test_records_of_processes_arrive_with_their_names(prints) -> None:
    told = lines(
        prints,
        """
        if __name__ == "__main__":
            configure()
            with mp.relay_logs():
                processes = [
                    mp.Process(target=log, args=(number,), name=f"child-{number}")
                    for number in range(3)
                ]
                for process in processes:
                    process.start()
                for process in processes:
                    process.join()
        """,
    )
    assert sorted(told) == [
        f"child-{number} work.{number % 2} INFO task {number}" for number in range(3)
    ]


@pytest.mark.procession_only("it has no such thing")
def test_records_of_workers_arrive_and_none_is_lost_at_the_end(prints) -> None:
    told = lines(
        prints,
        """
        if __name__ == "__main__":
            configure()
            with mp.Pool(2, log_relay=True) as pool:
                pool.map(log, range(200), chunksize=1)
            logging.info("over")
        """,
    )
    assert told[-1] == "MainProcess root INFO over"
    numbers = [int(line.rpartition(" ")[2]) for line in told[:-1]]
    assert sorted(numbers) == list(range(200))
    assert all("PoolWorker-" in line.split()[0] for line in told[:-1])


@pytest.mark.procession_only("it has no such thing")
@pytest.mark.parametrize("end", ["shutdown()", "terminate_workers()"])
def test_records_of_an_executor_arrive(prints, end) -> None:
    told = lines(
        prints,
        f"""
        if __name__ == "__main__":
            from procession.futures import ProcessPoolExecutor
            configure()
            executor = ProcessPoolExecutor(2, log_relay=True)
            list(executor.map(log, range(50)))
            executor.{end}
            logging.info("over")
        """,
    )
    assert told[-1] == "MainProcess root INFO over"
    numbers = [int(line.rpartition(" ")[2]) for line in told[:-1]]
    assert sorted(numbers) == list(range(50))
    assert not any(line.startswith("MainProcess") for line in told[:-1])


@pytest.mark.procession_only("it has no such thing")
def test_program_that_stops_nothing_loses_nothing(prints) -> None:
    told = lines(
        prints,
        """
        if __name__ == "__main__":
            configure()
            mp.relay_logs()
            mp.Process(target=log, args=(7,), name="child").start()
        """,
    )
    assert told == ["child work.1 INFO task 7"]


@pytest.mark.procession_only("it has no such thing")
def test_what_a_killed_process_has_logged_arrives(prints) -> None:
    told = lines(
        prints,
        """
        def log_and_die():
            for number in range(100):
                log(number)
            os.kill(os.getpid(), signal.SIGKILL)

        if __name__ == "__main__":
            configure()
            with mp.relay_logs():
                process = mp.Process(target=log_and_die, name="child")
                process.start()
                process.join()
            logging.info("%s", process.exitcode)
        """,
    )
    assert told[-1] == "MainProcess root INFO -9"
    assert [line.rpartition(" ")[2] for line in told[:-1]] == [
        str(number) for number in range(100)
    ]


@pytest.mark.procession_only("it has no such thing")
def test_records_of_grandchildren_arrive(prints) -> None:
    told = lines(
        prints,
        """
        def start_another():
            process = mp.Process(target=log, args=(1,), name="grandchild")
            process.start()
            process.join()

        if __name__ == "__main__":
            configure()
            with mp.relay_logs():
                process = mp.Process(target=start_another)
                process.start()
                process.join()
        """,
    )
    assert told == ["grandchild work.1 INFO task 1"]


@pytest.mark.procession_only("it has no such thing")
def test_record_is_handled_once_by_the_loggers_of_the_parent(prints) -> None:
    told = lines(
        prints,
        """
        def trouble():
            try:
                1 / 0
            except ZeroDivisionError:
                logging.getLogger("apart").exception("failed %s", object)

        if __name__ == "__main__":
            configure()
            apart = logging.getLogger("apart")
            apart.addHandler(logging.StreamHandler(sys.stdout))
            apart.propagate = False
            with mp.relay_logs():
                process = mp.Process(target=trouble)
                process.start()
                process.join()
        """,
    )
    assert told[0] == "failed <class 'object'>"
    assert told[1] == "Traceback (most recent call last):"
    assert told[-1] == "ZeroDivisionError: division by zero"
    assert sum("Traceback" in line for line in told) == 1


@pytest.mark.procession_only("it has no such thing")
def test_process_that_outlives_the_relay_goes_on_and_tells_its_warnings(
    program,
) -> None:
    code, out, err = program(
        CONFIGURED
        + textwrap.dedent("""
        def outlive(go):
            logging.info("before")
            go[0].set()
            go[1].wait()
            logging.info("a secret")
            logging.warning("a warning")

        if __name__ == "__main__":
            configure()
            go = mp.Event(), mp.Event()
            with mp.relay_logs():
                process = mp.Process(target=outlive, args=(go,), name="child")
                process.start()
                go[0].wait()
            logging.info("stopped")
            go[1].set()
            process.join()
            sys.exit(process.exitcode)
        """)
    )
    assert (code, out) == (
        0,
        "child root INFO before\nMainProcess root INFO stopped\n",
    )
    assert err == "a warning\n"


@pytest.mark.procession_only("it has no such thing")
def test_handler_that_logs_and_starts_processes_is_no_hindrance(prints) -> None:
    told = lines(
        prints,
        """
        class Starts(logging.Handler):
            def emit(self, record):
                if record.processName == "child":
                    process = mp.Process(target=log, args=(2,), name="another")
                    process.start()
                    process.join()
                    logging.info("handled")
                    handled.set()

        if __name__ == "__main__":
            configure()
            import threading
            handled = threading.Event()
            logging.getLogger().addHandler(Starts())
            with mp.relay_logs():
                process = mp.Process(target=log, args=(1,), name="child")
                process.start()
                process.join()
                handled.wait()
        """,
    )
    assert sorted(told) == [
        "MainProcess root INFO handled",
        "another work.0 INFO task 2",
        "child work.1 INFO task 1",
    ]


@pytest.mark.procession_only("it has no such thing")
def test_filter_that_raises_costs_its_record_only(program) -> None:
    code, out, err = program(
        CONFIGURED
        + textwrap.dedent("""
        class Picky(logging.Filter):
            def filter(self, record):
                if os.getpid() == parent and "task 0" in record.getMessage():
                    raise ValueError("not this one")
                return True

        def log_twice():
            log(0)
            log(2)

        if __name__ == "__main__":
            configure()
            parent = os.getpid()
            logging.getLogger("work.0").addFilter(Picky())
            with mp.relay_logs():
                process = mp.Process(target=log_twice, name="child")
                process.start()
                process.join()
            sys.exit(process.exitcode)
        """)
    )
    assert (code, out) == (0, "child work.0 INFO task 2\n")
    assert "ValueError: not this one" in err


@pytest.mark.methods("fork")
@pytest.mark.procession_only("it has no such thing")
def test_copy_of_the_process_leaves_the_relay_alone(prints) -> None:
    told = lines(
        prints,
        """
        if __name__ == "__main__":
            # Python 3.12 and later warn of the thread that handles records.
            warnings.simplefilter("ignore", DeprecationWarning)
            configure()
            with mp.relay_logs():
                if os.fork() == 0:
                    # As a program that ends in the copy, out of all `with` statements.
                    sys.exit()
                os.wait()
                process = mp.Process(target=log, args=(1,), name="child")
                process.start()
                process.join()
        """,
    )
    assert told == ["child work.1 INFO task 1"]
