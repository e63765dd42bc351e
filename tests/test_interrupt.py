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

def initialize(*both):
    globals()["given"], globals()["told"] = both

def work(_):
    # Workers that have taken the place of these two may meet, too, before the pool ends.
    if given.wait() == 0 and not told.is_set():
        told.set()
        print("waiting", flush=True)
    WORK

if __name__ == "__main__":
    both = multiprocessing.Barrier(2), multiprocessing.Event()
    try:
        with multiprocessing.Pool(2, initialize, both) as pool:
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


@pytest.mark.slow
@pytest.mark.procession_only(
    "a child that is not ready yet ignores it there, and hangs"
)
def test_child_is_interrupted_from_the_moment_of_its_start(program) -> None:
    code, out, _ = program(f"""
        import multiprocessing
        import os
        import signal
        import time

        def child(never):
            never.wait()

        if __name__ == "__main__":
            never = multiprocessing.Event()
            for turn in range(60):
                process = multiprocessing.Process(target=child, args=(never,))
                process.start()
                # At once, and a little later each time.
                until = time.monotonic() + turn // 2 * 0.0001
                while time.monotonic() < until:
                    pass
                os.kill(process.pid, signal.SIGINT)
                process.join({PATIENCE})
                # An interpreter that has no handler yet ends by the signal.
                if process.exitcode not in (1, -signal.SIGINT):
                    print(turn, process.exitcode)
                    process.kill()
    """)
    assert (code, out) == (0, "")


@pytest.mark.slow
@pytest.mark.procession_only("it looks at the processes that wait to be needed")
@pytest.mark.methods("spawn", "forkserver")
def test_interrupt_of_all_is_nothing_to_who_waits_to_be_needed(program) -> None:
    code, out, err = program("""
        import multiprocessing
        import os
        import signal
        from multiprocessing import forkserver
        from procession import _procession

        def child():
            pass

        def have_heard(group):
            # Those whose interrupt is still on its way to them, or has just come and its
            # handler is still to be run: who waits to be needed sleeps otherwise.
            for name in filter(str.isdecimal, os.listdir("/proc")):
                try:
                    if os.getpgid(int(name)) != group:
                        continue
                    with open(f"/proc/{name}/status") as status:
                        sets = dict(line.split(":\t") for line in status)
                except (OSError, ValueError):
                    continue
                if int(sets["ShdPnd"], 16) & ~int(sets["SigBlk"], 16):
                    return False
                if int(name) != os.getpid() and sets["State"][0] in "RD":
                    return False
            return True

        def run():
            process = multiprocessing.Process(target=child)
            process.start()
            process.join()
            return process.exitcode

        if __name__ == "__main__":
            heard = []
            signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
            assert run() == run() == 0
            server = forkserver._forkserver._forkserver_pid
            for _ in range(20):
                os.killpg(0, signal.SIGINT)
                while not have_heard(os.getpgrp()):
                    pass
                code = run()
                assert code == 0, code
            assert len(heard) == 20
            assert server == forkserver._forkserver._forkserver_pid
    """)
    assert (code, out, err) == (0, "", "")


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


INTERRUPTED_START = """
import os
import signal
import sys
import procession as mp

class Stop(Exception):
    pass

def stop(signum, frame):
    raise Stop

def hold(lock, held):
    with lock:
        held.send(1)
        held.recv()

if __name__ == "__main__":
    context = mp.get_context("fork")
    lock = context.Lock()
    here, there = context.Pipe()
    signal.signal(signal.SIGALRM, stop)
    os.register_at_fork(WHEN=lambda: signal.raise_signal(signal.SIGALRM))
    process = context.Process(target=hold, args=(lock, there))
    try:
        process.start()
    except Stop:
        print("stopped", process.pid, mp.active_children())
    try:
        print(lock.acquire(timeout=10))
    except mp.context.OwnerDied:
        # It had come as far as that when it was ended.
        print(lock.acquire(timeout=10))
"""


@pytest.mark.parametrize("when", ["before", "after_in_parent"])
@pytest.mark.methods("fork")
def test_handler_that_raises_during_a_fork_leaves_no_child(program, when) -> None:
    text = INTERRUPTED_START.replace("WHEN", when)
    assert program(text) == (0, "stopped None []\nTrue\n", "")


INTERRUPTED_POOL = """
import signal
import procession as mp

class Interrupting:
    count = 0

    def __call__(self, index):
        Interrupting.count += 1
        if Interrupting.count == 2:
            signal.raise_signal(signal.SIGINT)
        return {}

if __name__ == "__main__":
    try:
        with mp.Pool(3, env=Interrupting()) as pool:
            print(pool.map(abs, [1]))
    except KeyboardInterrupt:
        print("interrupted", mp.active_children())
"""


def test_interrupt_while_a_pool_starts_ends_the_pool(program) -> None:
    assert program(INTERRUPTED_POOL) == (0, "interrupted []\n", "")


GROUP = """
import os
import signal
import threading
import procession as mp

def work(number):
    here.send(os.getpid())
    while True:
        pass

def initialize(end):
    globals()["here"] = end

if __name__ == "__main__":
    there, end = mp.Pipe()
    try:
        with mp.Pool(1, initialize, (end,)) as pool:
            result = pool.map_async(work, [1])
            worker = there.recv()
            os.kill(worker, signal.SIGINT)
            # A moment later, as it may be where others run between the two.
            late = threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT))
            late.start()
            try:
                result.get()
            except BaseException as error:
                print(type(error).__name__, flush=True)
                raise
    except BaseException:
        late.join()
"""


@pytest.mark.slow
def test_interrupt_of_a_group_that_comes_to_a_worker_first_is_an_interrupt(
    program,
) -> None:
    assert program(GROUP) == (0, "KeyboardInterrupt\n", "")


LOOP = """
import asyncio
import procession as mp
import signal

def wait(ready):
    ready.set()
    signal.pause()

async def main():
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, print, "the parent was told")
    context = mp.get_context("fork")
    ready = context.Event()
    process = context.Process(target=wait, args=(ready,))
    process.start()
    await asyncio.to_thread(ready.wait)
    process.terminate()
    await asyncio.to_thread(process.join, 20)
    await asyncio.sleep(0)
    print(process.exitcode)

if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.methods("fork")
def test_child_of_an_asyncio_program_hears_signals_itself(program) -> None:
    assert program(LOOP) == (0, "-15\n", "")
