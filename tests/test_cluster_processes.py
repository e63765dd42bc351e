"""Processes on nodes of this machine: what becomes of them, of their nodes, and of the program."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter

import procession
import pytest
import script
from library import PATIENCE, gone, wait_until
from procession import _test_tasks as tasks
from procession.distributed import EngineMismatch, EngineUnavailable, NodeLost

pytestmark = pytest.mark.slow


def test_processes_of_a_killed_program_end(tmp_path) -> None:
    program = """
import time, procession
if __name__ == "__main__":
    context = procession.get_context("loopback://2?lease=600")
    processes = [context.Process(target=time.sleep, args=(600,)) for _ in range(2)]
    for process in processes:
        process.start()
    nodes = context._launcher._nodes.values()
    print(*(each.pid for each in processes), flush=True)
    processes[0].join()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as process:
        pids = [int(each) for each in process.stdout.readline().split()]
        process.kill()
    assert len(pids) == 2
    wait_until(lambda: all(map(gone, pids)))


def test_processes_of_a_closed_context_are_told(lib) -> None:
    context = procession.get_context("loopback://1")
    process = context.Process(target=time.sleep, args=(600,))
    process.start()
    context.close()
    process.join(PATIENCE)
    assert process.exitcode == 255
    with pytest.raises(NodeLost, match="was let go"):
        process.result()
    process.close()


def test_processes_are_spread_over_the_nodes(lib) -> None:
    context = procession.get_context("loopback://3")
    names, go = context.Queue(), context.Event()
    processes = [
        context.Process(target=tasks.put_and_wait_for, args=(names, n, go))
        for n in range(6)
    ]
    for process in processes:
        process.start()
    nodes = Counter(process._popen.node for process in processes)
    go.set()
    for process in processes:
        assert process.result(PATIENCE) is True
        process.close()
    assert nodes == {"loopback-0": 2, "loopback-1": 2, "loopback-2": 2}
    context.close()


def test_agent_that_stands_still_is_lost_with_its_processes(lib) -> None:
    context = procession.get_context("loopback://1?lease=3")
    process = context.Process(target=time.sleep, args=(600,))
    process.start()
    [node] = context._launcher._nodes.values()
    os.kill(node.link._process.pid, signal.SIGSTOP)
    with pytest.raises(NodeLost, match="has not answered for 3 s"):
        process.result(PATIENCE)
    process.close()
    context.close()


def test_start_that_is_interrupted_leaves_no_process(lib) -> None:
    context = procession.get_context("loopback://1")
    first = context.Process(target=abs, args=(-1,))
    first.start()
    first.join(PATIENCE)
    first.close()
    [node] = context._launcher._nodes.values()

    class Alarm(Exception):
        pass

    def handler(signum, frame) -> None:
        raise Alarm

    def ring() -> None:
        wait_until(lambda: node.processes)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR2)

    before = signal.signal(signal.SIGUSR2, handler)
    try:
        # It cannot have started yet: the agent stands still.
        os.kill(node.link._process.pid, signal.SIGSTOP)
        thread = threading.Thread(target=ring)
        thread.start()
        process = context.Process(target=time.sleep, args=(600,))
        with pytest.raises(Alarm):
            process.start()
        thread.join()
    finally:
        signal.signal(signal.SIGUSR2, before)
        os.kill(node.link._process.pid, signal.SIGCONT)
    assert process.pid is None
    wait_until(lambda: not node.processes)
    context.close()


# Runs on whatever `multiprocessing` is; its processes share queues, locks and values.
UNCHANGED_SHARING = """
    import multiprocessing, os
    from multiprocessing import Lock, Process, Queue, Value

    class Worker(Process):
        def __init__(self, jobs, results):
            super().__init__()
            self.jobs, self.results = jobs, results

        def run(self):
            assert multiprocessing.current_process() is self
            for job in iter(self.jobs.get, None):
                self.results.put((job * job, os.environ["PROCESSION_NODE"]))

    def count(total, lock, notes):
        for _ in range(10):
            with lock:
                total.value += 1
        notes.append(os.environ["PROCESSION_NODE"])

    def use(lock, number):
        with lock:
            return number

    if __name__ == "__main__":
        jobs, results = Queue(), Queue()
        workers = [Worker(jobs, results) for _ in range(2)]
        for worker in workers:
            worker.start()
        for job in [1, 2, 3, None, None]:
            jobs.put(job)
        found = [results.get() for _ in range(3)]
        for worker in workers:
            worker.join()
        print(sorted(square for square, _ in found), [w.exitcode for w in workers])
        total, lock = Value("i", 0), Lock()
        with multiprocessing.Manager() as manager:
            notes = manager.list()
            counters = [Process(target=count, args=(total, lock, notes)) for _ in range(2)]
            for counter in counters:
                counter.start()
            for counter in counters:
                counter.join()
            print(total.value, sorted(notes))
        with multiprocessing.Pool(2) as pool:
            print(pool.starmap(use, [(lock, number) for number in range(4)]))
        assert multiprocessing.get_context("spawn").Lock().acquire()
        here, there = multiprocessing.Pipe()  # Which is of this machine.
        there.send(1)
        assert here.recv() == 1
        Process(target=print, args=("not waited for",)).start()
"""


def test_unchanged_program_shares_with_processes_on_the_nodes(tmp_path) -> None:
    pytest.importorskip("cloudpickle")
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(UNCHANGED_SHARING))
    code, out, err = script.run(
        [sys.executable, "-W", "error", "-m", "procession", path],
        env={**os.environ, "PROCESSION_CONTEXT": "loopback://2"},
    )
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "[1, 4, 9] [0, 0]",
        "20 ['loopback-0', 'loopback-1']",
        "[0, 1, 2, 3]",
        "not waited for",
    ]


def wrapper(tmp_path, text: str) -> str:
    """Returns an executable that is given to agents as their interpreter."""
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_start_on_a_node_of_another_procession_is_refused(lib, tmp_path) -> None:
    program = (
        "import sys, procession; procession.__version__ = '0.0.1'; "
        "from procession.distributed.loopback import serve; serve(int(sys.argv[2]))"
    )
    python = wrapper(tmp_path, f'shift 2; exec {sys.executable} -c "{program}" "$@"')
    context = procession.get_context(f"loopback://1?python={python}")
    with pytest.raises(EngineMismatch, match=r"loopback-0: procession 0\.0\.1 there"):
        context.Process(target=abs, args=(-1,)).start()
    context.close()


def test_start_on_a_node_whose_agent_cannot_start_is_refused(lib, tmp_path) -> None:
    context = procession.get_context(
        f"loopback://1?python={wrapper(tmp_path, 'exit 3')}"
    )
    process = context.Process(target=abs, args=(-1,))
    with pytest.raises(EngineUnavailable, match="exited with code 3"):
        process.start()
    assert process.pid is None and not process.is_alive()
    context.close()


def test_module_that_a_node_lacks_is_the_error_of_the_process(lib, tmp_path) -> None:
    from targets import pool as pool_targets

    # An interpreter of its own does not get the path of this one.
    python = wrapper(tmp_path, f'exec {sys.executable} "$@"')
    context = procession.get_context(f"loopback://1?python={python}")
    process = context.Process(target=pool_targets.square, args=(3,))
    process.start()
    with pytest.raises(ModuleNotFoundError, match="targets"):
        process.result(PATIENCE)
    assert process.exitcode == 1
    process.close()
    context.close()


def test_agent_that_was_killed_while_idle_gives_way_to_another(lib) -> None:
    context = procession.get_context("loopback://1")
    for _ in range(2):
        process = context.Process(target=tasks.square, args=(3,))
        process.start()
        assert process.result(PATIENCE) == 9
        process.close()
        [node] = context._launcher._nodes.values()
        os.kill(node.link._process.pid, signal.SIGKILL)
        wait_until(lambda node=node: node.state == "lost")
    context.close()


def test_memory_and_environment_of_a_process_are_those_that_were_given(lib) -> None:
    context = procession.get_context("loopback://1")
    process = context.Process(
        target=os.getenv, args=("DEVICE",), env={"DEVICE": "7"}, daemon=True
    )
    process.start()
    assert process.result(PATIENCE) == "7" and process.daemon
    greedy = context.Process(
        target=tasks.take_memory, args=(4 << 30,), memory_limit="1GiB"
    )
    greedy.start()
    with pytest.raises(MemoryError):
        greedy.result(PATIENCE)
    process.close()
    greedy.close()
    context.close()
