"""Ctrl-C while a program waits: a KeyboardInterrupt at once, and a clean end."""

import os
import signal
import textwrap
import time
from pathlib import Path

import pytest
import script
from library import PATIENCE, comes_below

WAITS = {
    "lock": "lock = mp.Lock(); lock.acquire(); wait = lock.acquire",
    "lock with timeout": "lock = mp.Lock(); lock.acquire()\n"
    "wait = lambda: lock.acquire(timeout=100)",
    "semaphore": "wait = mp.Semaphore(0).acquire",
    "event": "wait = mp.Event().wait",
    "condition": "condition = mp.Condition(); condition.acquire()\n"
    "wait = condition.wait",
    "barrier": "wait = mp.Barrier(2).wait",
    "queue": "wait = mp.Queue().get",
    "queue with timeout": "queue = mp.Queue(); wait = lambda: queue.get(timeout=100)",
    "full queue": "queue = mp.Queue(1); queue.put(1); wait = lambda: queue.put(2)",
    "simple queue": "wait = mp.SimpleQueue().get",
    "tasks": "queue = mp.JoinableQueue(); queue.put(1); wait = queue.join",
    "connection": "here, there = mp.Pipe(); wait = here.recv",
    "poll": "here, there = mp.Pipe(); wait = lambda: here.poll(None)",
    "several": "here, there = mp.Pipe(); wait = lambda: connection.wait([here])",
    "process": "wait = sleeper().join",
    "sentinel": "process = sleeper()\n"
    "wait = lambda: connection.wait([process.sentinel])",
    "apply": "pool = mp.Pool(1); wait = lambda: pool.apply(sleep)",
    "map": "pool = mp.Pool(2); wait = lambda: pool.map(sleep, range(10))",
    "imap": "pool = mp.Pool(2); wait = lambda: list(pool.imap(sleep, range(10)))",
}

PROGRAM = """
import multiprocessing as mp
import signal
import threading
import time
from multiprocessing import connection

def sleep(_=None):
    time.sleep(1000)

def sleeper():
    process = mp.Process(target=sleep, daemon=True)
    process.start()
    return process

if __name__ == "__main__":
    SETUP
    print("waiting", flush=True)
    try:
        wait()
    except KeyboardInterrupt:
        print("interrupted", time.monotonic())
    if "pool" in globals():
        pool.terminate()
        pool.join()
    if "queue" in globals():
        queue.cancel_join_thread()
"""


def program_that(setup: str) -> str:
    """Returns the program in which this defines `wait`."""
    return PROGRAM.replace("SETUP", textwrap.indent(setup, "    ").strip())


def wait_until_asleep(pid: int) -> None:
    """Returns when the operating system says that a process sleeps."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        stat = Path(f"/proc/{pid}/stat").read_text()
        if stat.rpartition(")")[2].split()[0] == "S":
            return
        time.sleep(0.001)
    raise AssertionError(f"process {pid} does not wait")


@pytest.mark.slow
@pytest.mark.parametrize("what", WAITS)
@pytest.mark.methods("fork")
def test_wait_is_interrupted(program, what) -> None:
    with script.Script(program.command(program_that(WAITS[what]))) as running:
        assert running.line() == "waiting"
        wait_until_asleep(running.process.pid)
        os.kill(running.process.pid, signal.SIGINT)
        code, out, _err = running.finish()
        assert (code, out.split()[0]) == (0, "interrupted")


# What workers may be at. The last is C code that lets no other thread run.
WORK = {
    "sleep": "time.sleep(1000)",
    "Python": "while True: pass",
    "C": "sum(itertools.repeat(0))",
}

POOL_AT_A_TERMINAL = """
import itertools
import multiprocessing
import time

def initialize(both):
    globals()["given"] = both

def work(_):
    if given.wait() == 0:
        print("waiting", flush=True)
    WORK

if __name__ == "__main__":
    both = multiprocessing.Barrier(2)
    try:
        with multiprocessing.Pool(2, initialize, (both,)) as pool:
            WAIT
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.mark.slow
@pytest.mark.procession_only("workers that are interrupted die, and are replaced")
@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize(
    "wait",
    [
        "pool.map(work, range(10), 1)",
        "pool.map_async(work, range(10), 1).get()",
        "pool.apply_async(work, (1,)).wait(0); list(pool.imap(work, range(10)))",
    ],
)
def test_ctrl_c_is_one_interrupt_and_silence_and_the_end_within_a_second(
    program, wait, work
) -> None:
    text = POOL_AT_A_TERMINAL.replace("WAIT", wait).replace("WORK", WORK[work])

    def delay() -> float:
        with script.Script(program.command(text)) as running:
            assert running.line() == "waiting"
            wait_until_asleep(running.process.pid)
            before = time.monotonic()
            os.killpg(running.process.pid, signal.SIGINT)
            # Its end is that of its workers, too: none of the session is left.
            code, out, err = running.finish()
            assert (code, out, err) == (0, "interrupted\n", "")
            return time.monotonic() - before

    assert comes_below(delay, 1)


@pytest.mark.slow
@pytest.mark.procession_only(
    "there an interrupt that comes with a result is the result"
)
def test_interrupt_while_a_result_is_unpickled_is_not_taken_for_the_result(
    program,
) -> None:
    # An error is rebuilt by code of Python, in the midst of which the handler runs.
    code, out, err = program("""
        import multiprocessing
        import os
        import signal
        import time

        class Rebuilt(Exception):
            def __reduce__(self):
                return rebuild, (os.getpid(),)

        def rebuild(pid):
            if pid != os.getpid() and not rebuilt:
                rebuilt.append(pid)
                signal.raise_signal(signal.SIGINT)
            return Rebuilt()

        rebuilt = []

        def work(number):
            if number == 0:
                raise Rebuilt
            time.sleep(1000)

        if __name__ == "__main__":
            with multiprocessing.Pool(2) as pool:
                result = pool.map_async(work, range(3), 1)
                try:
                    result.get()
                except KeyboardInterrupt:
                    print("interrupted", len(rebuilt), result.ready())
    """)
    assert (code, out, err) == (0, "interrupted 1 False\n", "")


# A further piece of the program: its handler runs in another thread than the wait.
ASIDE = """
def interrupt():
    # The longer a wait takes, the rarer are its breaks.
    time.sleep(0.4)
    print(time.monotonic(), flush=True)
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)

threading.Thread(target=interrupt).start()
"""


@pytest.mark.slow
@pytest.mark.procession_only("there a wait that is not interrupted itself goes on")
@pytest.mark.parametrize(
    "what", ["lock", "condition", "barrier", "queue", "several", "process", "map"]
)
@pytest.mark.methods("fork")
def test_wait_ends_soon_though_its_sleep_was_not_interrupted(program, what) -> None:
    # As if the signal had come just before that sleep.
    text = program_that(f"{WAITS[what]}\n{ASIDE}")

    def delay() -> float:
        code, out, err = program(text)
        assert (code, err) == (0, "")
        waiting, sent, interrupted, came = out.split()
        assert (waiting, interrupted) == ("waiting", "interrupted")
        return float(came) - float(sent)

    assert comes_below(delay, 0.5)


@pytest.mark.slow
def test_child_that_is_interrupted_ends_with_a_traceback_and_code_1(program) -> None:
    code, out, err = program("""
        import multiprocessing
        import os
        import signal

        def child(ready, never):
            ready.set()
            never.wait()

        if __name__ == "__main__":
            ready, never = multiprocessing.Event(), multiprocessing.Event()
            process = multiprocessing.Process(target=child, args=(ready, never))
            process.start()
            ready.wait()
            os.kill(process.pid, signal.SIGINT)
            process.join()
            print(process.exitcode)
    """)
    assert (code, out) == (0, "1\n")
    assert "KeyboardInterrupt" in err


def test_signal_handler_runs_while_its_process_waits(program) -> None:
    code, out, err = program("""
        import multiprocessing
        import os
        import signal
        import threading

        def send(pid, go):
            go.wait()
            os.kill(pid, signal.SIGUSR1)

        if __name__ == "__main__":
            lock, go = multiprocessing.Lock(), multiprocessing.Event()
            lock.acquire()
            # What it was waiting for happens in the handler; the wait goes on till then.
            signal.signal(signal.SIGUSR1, lambda number, frame: lock.release())
            process = multiprocessing.Process(target=send, args=(os.getpid(), go))
            process.start()
            go.set()
            print(lock.acquire(timeout=30))
            process.join()
    """)
    assert (code, out, err) == (0, "True\n", "")
