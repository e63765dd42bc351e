"""A process ends with all that it has started, if that is asked for or must be.

`multiprocessing` leaves orphans.
"""

import os
import select
import signal

import pytest
import script
from library import PATIENCE
from targets import death as targets

pytestmark = pytest.mark.procession_only("whoever waits for the dead waits for ever")


# A process with all that it has started.


@pytest.mark.parametrize("way", ["terminate", "kill"])
def test_tree_ends_together(mp, start, way) -> None:
    pids = mp.Queue()
    child = start(targets.have_descendants, 2, pids)
    line = [pids.get(timeout=PATIENCE) for _ in range(4)]
    watches = [os.pidfd_open(pid) for pid in line]
    try:
        getattr(child, way)(tree=True)
        child.join(PATIENCE)
        signum = signal.SIGTERM if way == "terminate" else signal.SIGKILL
        assert child.exitcode == -signum
        for watch in watches:
            assert select.select([watch], [], [], PATIENCE)[0]
    finally:
        for watch in watches:
            os.close(watch)


def test_terminate_alone_leaves_the_rest_of_the_tree(mp, start) -> None:
    pids = mp.Queue()
    child = start(targets.have_descendants, 0, pids)
    watches = [os.pidfd_open(pids.get(timeout=PATIENCE)) for _ in range(2)]
    child.terminate()
    child.join(PATIENCE)
    try:
        assert select.select([watches[1]], [], [], 0)[0] == []
        signal.pidfd_send_signal(watches[1], signal.SIGKILL)
        assert select.select([watches[1]], [], [], PATIENCE)[0]
    finally:
        for watch in watches:
            os.close(watch)


# The parent.


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_nobody_outlives_a_parent_that_is_killed(program, signum) -> None:
    text = """
        import multiprocessing
        import threading
        import time

        def work(started):
            started.release()
            while True:
                pass

        def wait(started, never):
            started.release()
            never.wait()

        def hold_the_interpreter(started):
            started.release()
            sum(range(10**15))  # Without a look at signals, or at other threads.

        def sleep(started):
            started.release()
            time.sleep(600)

        def initialize(started):
            globals()["given"] = started

        def work_in_pool(_):
            work(given)

        if __name__ == "__main__":
            started, never = multiprocessing.Semaphore(0), multiprocessing.Event()
            pool = multiprocessing.Pool(2, initialize, (started,))
            result = pool.map_async(work_in_pool, range(10), 1)
            idle = multiprocessing.Pool(1)
            processes = [
                multiprocessing.Process(target=work, args=(started,), daemon=True),
                multiprocessing.Process(target=wait, args=(started, never), daemon=True),
                multiprocessing.Process(
                    target=hold_the_interpreter, args=(started,), daemon=True
                ),
                multiprocessing.Process(target=sleep, args=(started,), daemon=True),
            ]
            manager = multiprocessing.Manager()
            shared = manager.dict(answer=42)
            for process in processes:
                process.start()
            for _ in range(2 + len(processes)):
                started.acquire()
            print("all run", flush=True)
            threading.Event().wait()
    """
    with script.Script(program.command(text)) as parent:
        assert parent.line() == "all run"
        assert len(parent.members()) >= 9
        os.kill(parent.process.pid, signum)
        parent.process.wait(PATIENCE)
        parent.must_be_empty()


@pytest.mark.slow
def test_daemon_of_a_killed_child_does_not_outlive_it(program) -> None:
    text = """
        import multiprocessing
        import os
        import signal

        def wait(started, never):
            started.set()
            never.wait()

        def start_daemon(started, never):
            args = (started, never)
            multiprocessing.Process(target=wait, args=args, daemon=True).start()
            never.wait()

        if __name__ == "__main__":
            started, never = multiprocessing.Event(), multiprocessing.Event()
            child = multiprocessing.Process(target=start_daemon, args=(started, never))
            child.start()
            started.wait()
            child.kill()
            child.join()
            print("the child is dead")
    """
    code, out, err = script.run(program.command(text))
    assert (code, out, err) == (0, "the child is dead\n", "")
