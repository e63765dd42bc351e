"""Nodes of this machine: what becomes of them and of their client, and what is refused."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from pathlib import Path

import procession
import pytest
import script
from library import PATIENCE, gone, wait_until
from procession import _test_tasks as tasks
from procession.distributed import (
    EngineMismatch,
    EngineUnavailable,
    NodeLost,
    _pickling,
)
from procession.distributed.backend import TaskEnvelope
from procession.distributed.node import NodeAgent
from targets import pool as pool_targets

pytestmark = pytest.mark.slow


def agents(pool) -> list[int]:
    """Returns the process ids of a pool's agents."""
    return [int(each) for each in pool.map(node_pid, range(20), chunksize=1)]


def node_pid(_: object) -> str:
    return os.environ["PROCESSION_NODE_PID"]


def node_name(_: object) -> str:
    return os.environ["PROCESSION_NODE"]


# Prints the process ids of its agents and workers, and has tasks that run.
CLIENT = """
    import sys, time
    import procession

    def pids(gate):
        import os
        open(gate, "a").close()
        return int(os.environ["PROCESSION_NODE_PID"]), os.getpid()

    if __name__ == "__main__":
        with procession.get_context(sys.argv[1]).Pool() as pool:
            found = pool.map(pids, [sys.argv[2]] * 20, chunksize=1)
            running = [pool.apply_async(time.sleep, (600,)) for _ in range(2)]
            while not all(result.running() for result in running):
                time.sleep(0.01)
            print(*{pid for pair in found for pid in pair}, flush=True)
            try:
                running[0].get()
            except procession.distributed.NodeLost:
                print("lost", flush=True)
"""


@pytest.fixture
def client(tmp_path):
    """Returns a function that starts a client; it returns that, and who works for it."""
    started = []

    def client(url: str):
        path = tmp_path / "client.py"
        path.write_text(textwrap.dedent(CLIENT))
        process = subprocess.Popen(
            [sys.executable, path, url, tmp_path / "gate"],
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        pids = [int(each) for each in process.stdout.readline().split()]
        assert len(pids) >= 2
        return process, pids

    yield client
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_agents_and_workers_of_a_killed_client_end(client) -> None:
    # The lease is far from over.
    process, pids = client("loopback://2?lease=600")
    process.kill()
    wait_until(lambda: all(map(gone, pids)))


def test_agents_of_a_client_that_stands_still_end_with_their_lease(client) -> None:
    process, pids = client("loopback://2?lease=3")
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: all(dead_or_a_zombie(pid) for pid in pids))
    process.send_signal(signal.SIGCONT)
    assert process.stdout.readline() == "lost\n"
    assert process.wait(PATIENCE) == 0


def dead_or_a_zombie(pid: int) -> bool:
    """Tells whether a process has ended; its parent may not have looked yet."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_agent_that_stands_still_is_lost_with_its_tasks(lib) -> None:
    with procession.get_context("loopback://2?lease=3").Pool() as pool:
        stopped, *_ = agents(pool)
        results = [pool.apply_async(time.sleep, (0.2,)) for _ in range(4)]
        os.kill(stopped, signal.SIGSTOP)
        outcomes = [outcome(result) for result in results]
        assert {type(each) for each in outcomes} <= {NodeLost, type(None)}
        lost = [each for each in outcomes if each is not None]
        assert all("has not answered for 3 s" in str(each) for each in lost)
        assert pool.map(tasks.square, range(9), chunksize=1) == [
            n * n for n in range(9)
        ]


def outcome(result) -> BaseException | None:
    try:
        result.get(PATIENCE)
    except NodeLost as error:
        return error
    return None


def test_node_whose_idle_agent_was_killed_gets_another(lib) -> None:
    with procession.get_context("loopback://1").Pool() as pool:
        for _ in range(3):
            [agent] = {*agents(pool)}
            os.kill(agent, signal.SIGKILL)
            # A task may be sent before its end is seen.
            assert pool.apply(tasks.square, (3,), retries=3) == 9
            assert agent not in agents(pool)


def test_nodes_that_are_lost_again_and_again_are_given_up(lib, tmp_path) -> None:
    doom = tmp_path / "doom"
    context = procession.get_context("loopback://1")
    with context.Pool(1, tasks.kill_the_node_if_there, (str(doom),)) as pool:
        [agent] = {*agents(pool)}
        doom.touch()
        os.kill(agent, signal.SIGKILL)
        with pytest.raises((EngineUnavailable, NodeLost)):
            pool.apply_async(tasks.square, (3,), retries=20).get(PATIENCE)
        wait_until(lambda: pool._engine.broken() is not None)
        with pytest.raises(EngineUnavailable, match="no node is left"):
            pool.apply_async(tasks.square, (3,)).get(PATIENCE)


def test_workers_are_spread_over_the_nodes(lib) -> None:
    context = procession.get_context("loopback://3?slots=2")
    assert context.cpu_count() == 6
    with context.Pool() as pool:
        assert len({worker.pid for worker in pool.workers()}) == 6
        names = {*pool.map(node_name, range(200), chunksize=1)}
        assert names <= {"loopback-0", "loopback-1", "loopback-2"}
    with context.Pool(2) as pool:
        assert len(pool.workers()) == 2
    with context.Pool(8) as pool:
        assert len(pool.workers()) == 8


def wrapper(tmp_path, text: str) -> str:
    """Returns an executable that is given to agents as their interpreter."""
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_agent_of_another_procession_is_told_when_the_pool_is_made(
    lib, tmp_path
) -> None:
    # It says of itself that it is another, whatever program it is given.
    program = (
        "import sys, procession; procession.__version__ = '0.0.1'; "
        "from procession.distributed.loopback import serve; serve(int(sys.argv[2]))"
    )
    python = wrapper(tmp_path, f'shift 2; exec {sys.executable} -c "{program}" "$@"')
    with pytest.raises(EngineMismatch) as caught:
        procession.get_context(f"loopback://2?python={python}").Pool()
    version = procession.__version__
    assert caught.value.nodes == {
        name: f"procession 0.0.1 there, {version} here"
        for name in ("loopback-0", "loopback-1")
    }


def test_module_that_a_node_lacks_is_told_when_the_pool_is_made(lib, tmp_path) -> None:
    # An interpreter of its own does not get the path of this one.
    python = wrapper(tmp_path, f'exec {sys.executable} "$@"')
    context = procession.get_context(f"loopback://1?python={python}")
    with pytest.raises(EngineMismatch, match="loopback-0: it has no module targets"):
        context.Pool(1, pool_targets.square, (3,))
    with (
        context.Pool(1) as pool,
        pytest.raises(ModuleNotFoundError, match="targets") as caught,
    ):
        pool.apply(pool_targets.square, (3,))
    assert caught.value.__notes__ == ["It was on node loopback-0."]


def test_module_of_the_main_one_that_a_node_lacks_is_a_warning(
    lib, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "calls", pool_targets, raising=False)
    python = wrapper(tmp_path, f'exec {sys.executable} "$@"')
    context = procession.get_context(f"loopback://1?python={python}")
    with pytest.warns(RuntimeWarning, match="loopback-0 has no module targets") as told:
        context.Pool(1).terminate()
    assert told[0].filename == __file__


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("exit 3", "exited with code 3 before it was ready"),
        ("kill -9 $$", "was killed by SIGKILL before it was ready"),
    ],
)
def test_agent_that_does_not_start_is_told(lib, tmp_path, text, reason) -> None:
    context = procession.get_context(f"loopback://2?python={wrapper(tmp_path, text)}")
    with pytest.raises(EngineUnavailable, match=reason):
        context.Pool()


def test_pool_is_made_without_a_node_that_is_lost_meanwhile(lib, tmp_path) -> None:
    first_dies = (
        f'mkdir {tmp_path}/died 2> /dev/null && kill -9 $$\nexec {sys.executable} "$@"'
    )
    context = procession.get_context(
        f"loopback://2?python={wrapper(tmp_path, first_dies)}"
    )
    with pytest.warns(RuntimeWarning, match="the pool goes on without it") as told:
        pool = context.Pool()
    assert "was killed by SIGKILL" in str(told[0].message)
    assert told[0].filename == __file__
    with pool:
        assert pool.map(abs, range(-9, 0)) == [*range(9, 0, -1)]
        # Another agent takes its place.
        wait_until(lambda: len({*pool.map(os.getenv, ["PROCESSION_NODE"] * 9, 1)}) == 2)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("loopback://0", "the number of nodes"),
        ("loopback://many", "the number of nodes"),
        ("loopback://1?slots=0", "slots"),
        ("loopback://1?lease=-1", "lease"),
        ("loopback://1?colour=red", "no option 'colour'"),
        ("loopback?colour=red", "no option 'colour'"),
        ("nonesuch://1", "cannot find context for 'nonesuch://1'"),
        ("nonesuch", "cannot find context for 'nonesuch'"),
    ],
)
def test_url_that_means_nothing_is_refused(lib, url, reason) -> None:
    with pytest.raises(ValueError, match=reason):
        procession.get_context(url)


@pytest.mark.parametrize(
    ("url", "package"),
    [("dask", "dask"), ("dask://host:8786", "dask"), ("ray", "ray")],
)
def test_engine_that_is_not_installed_is_told_with_what_to_do(
    monkeypatch, url, package
) -> None:
    # None says that there is no such module.
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=rf"pip install 'procession\[{package}\]'"):
        procession.get_context(url)


@pytest.mark.parametrize(
    "options",
    [
        {"affinity": [0]},
        {"env": lambda index: {}},
        {"log_relay": True},
        {"worker_exit": print},
        {"pickler": "plain"},
    ],
)
def test_option_that_nodes_do_not_have_is_refused(lib, options) -> None:
    with pytest.raises(ValueError, match="has no"):
        procession.get_context("loopback://1").Pool(1, **options)


def test_start_methods_are_what_they_were(lib) -> None:
    assert "loopback" not in str(procession.get_all_start_methods())
    context = procession.get_context("loopback://2")
    assert context is procession.get_context("loopback://2")
    assert context.get_start_method() == "loopback://2"


def test_environment_of_workers_is_what_was_given(lib) -> None:
    with procession.get_context("loopback://1").Pool(1, env={"DEVICE": "7"}) as pool:
        assert pool.apply(os.getenv, ("DEVICE",)) == "7"


def test_forked_copy_of_a_client_leaves_the_agents_alone(lib) -> None:
    with procession.get_context("loopback://1").Pool() as pool:
        child = procession.get_context("fork").Process(target=pool.terminate)
        child.start()
        child.join(PATIENCE)
        assert child.exitcode == 0
        assert pool.apply(tasks.square, (3,)) == 9


def test_large_function_is_sent_to_a_node_once(lib) -> None:
    data = os.urandom(1 << 20)
    with procession.get_context("loopback://1?slots=2").Pool() as pool:
        found = pool.map(Finder(data), range(50), chunksize=1)
    assert found == [data[n] for n in range(50)]


class Finder:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def __call__(self, place: int) -> int:
        return self.data[place]


def envelope(number: int, nonce: int, path: str) -> TaskEnvelope:
    body = _pickling.dumps((tasks.leave, (path,), {}))
    return TaskEnvelope(number, nonce, 1, None, "leave", (None, None, 0), body)


def test_task_that_comes_twice_or_is_for_another_agent_does_not_run(
    lib, tmp_path
) -> None:
    path = str(tmp_path / "runs")
    agent = NodeAgent(nonce=5, slots=1)
    try:
        agent.put([envelope(1, 5, path), envelope(1, 5, path), envelope(2, 6, path)])
        agent.put([envelope(3, 5, path)])
        answered: list[int] = []
        while 3 not in answered:
            answered += [answer.task for answer in agent.take(PATIENCE) if answer.task]
        agent.put([envelope(3, 5, path), envelope(4, 5, path)])
        while 4 not in answered:
            answered += [answer.task for answer in agent.take(PATIENCE) if answer.task]
    finally:
        agent.end()
    assert answered == [1, 3, 4]
    assert (tmp_path / "runs").read_text() == "xxx"


def test_program_that_stays_on_its_machine_does_not_import_it() -> None:
    program = """
import sys, procession, procession.futures
with procession.Pool(1) as pool:
    assert pool.map(abs, [-1]) == [1]
print([name for name in sys.modules if "distributed" in name])
"""
    assert script.run([sys.executable, "-c", program]) == (0, "[]\n", "")


def test_program_that_ends_with_an_open_pool_leaves_nobody_behind() -> None:
    program = """
import procession, time
pool = procession.get_context("loopback://2").Pool()
later = pool.map_async(time.sleep, [600] * 4, chunksize=1)
print(pool.apply(abs, (-1,), priority=1) if False else "open")
"""
    code, out, err = script.run([sys.executable, "-W", "ignore", "-c", program])
    assert (code, out, err) == (0, "open\n", "")


# Runs on whatever `multiprocessing` is; says where its workers are.
UNCHANGED = """
    import multiprocessing, os
    from concurrent.futures import ProcessPoolExecutor

    SCALE = 10

    class Refused(Exception):
        pass

    def work(number):
        if number < 0:
            raise Refused(number)
        return number * SCALE

    def node(_):
        return os.environ.get("PROCESSION_NODE", "here")

    if __name__ == "__main__":
        multiprocessing.set_start_method("spawn")
        print(multiprocessing.cpu_count())
        with multiprocessing.Pool() as pool:
            print(pool.map(work, range(5)), sorted({*pool.map(node, range(50), 1)}))
            try:
                pool.map(work, [1, -1])
            except Refused as error:
                print("refused", error)
        with ProcessPoolExecutor() as executor:
            print(sorted({*executor.map(node, range(50))}))
        with multiprocessing.get_context("fork").Pool(1) as pool:
            print(pool.apply(node, (0,)))
"""


def test_unchanged_program_runs_on_the_nodes_that_a_variable_names(tmp_path) -> None:
    pytest.importorskip("cloudpickle")
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(UNCHANGED))
    code, out, err = script.run(
        [sys.executable, "-m", "procession", path],
        env={**os.environ, "PROCESSION_CONTEXT": "loopback://2"},
    )
    nodes = "['loopback-0', 'loopback-1']"
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "2",
        f"[0, 10, 20, 30, 40] {nodes}",
        "refused -1",
        nodes,
        "here",
    ]


# A variable that an initializer sets and one that tasks add to, as programs for pools have
# them, and a function that is defined anew.
SETS_VARIABLES = """
    import multiprocessing

    table = None
    numbers = []


    def scale(x):
        return 10 * x


    def set_up(base):
        global table
        table = {"base": base}


    def task(x):
        numbers.append(x)
        return table["base"] + scale(x), len(numbers)


    if __name__ == "__main__":
        with multiprocessing.Pool(1, set_up, (5,)) as pool:
            print(pool.map(task, [1, 2]), pool.apply(task, (3,)))

            def scale(x):
                return 100 * x

            print(multiprocessing.get_start_method(), pool.apply(task, (4,)))
"""


@pytest.mark.parametrize(
    ("context", "last"), [("loopback://1", 405), ("spawn", 45), ("forkserver", 45)]
)
def test_variables_of_the_main_module_are_one_place_in_each_worker(
    tmp_path, context, last
) -> None:
    pytest.importorskip("cloudpickle")
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(SETS_VARIABLES))
    code, out, err = script.run(
        [sys.executable, "-m", "procession", path],
        env={**os.environ, "PROCESSION_CONTEXT": context},
    )
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "[(15, 1), (25, 2)] (35, 3)",
        f"{context} ({last}, 4)",
    ]


@pytest.mark.parametrize("url", ["nonesuch://1", "loopback://0", "nonesuch"])
def test_variable_that_names_no_cluster_is_told_at_once(url) -> None:
    code, out, err = script.run(
        [sys.executable, "-m", "procession", "-c", "print(1)"],
        env={**os.environ, "PROCESSION_CONTEXT": url},
    )
    assert (code, out) == (2, "")
    assert err.startswith(f"procession: PROCESSION_CONTEXT={url}: ")


def leave_and_return(path: str, number: int) -> int:
    """Leaves a line in a file for each run."""
    with open(path, "ab", buffering=0) as file:
        file.write(b"%d\n" % number)
    time.sleep(random.random() * 0.01)
    return number


@pytest.mark.parametrize("retries", [0, 50])
def test_kills_at_random_lose_nothing_and_double_nothing(
    lib, tmp_path, retries
) -> None:
    path, count = str(tmp_path / "runs"), 300
    over = threading.Event()
    chance = random.Random(retries)

    def kill_some(pool) -> None:
        while not over.wait(chance.random() * 0.6):
            # One that starts has done nothing yet: five such in a row would end the pool.
            ready = [each for each in pool._engine._agents if each.has_worked]
            pids = [worker.pid for worker in pool.workers()]
            if ready and chance.random() < 0.3:
                pids = [each.link._process.pid for each in ready]
            if not pids:
                continue
            try:
                os.kill(chance.choice(pids), signal.SIGKILL)
            except ProcessLookupError:
                pass

    with procession.get_context("loopback://2?slots=2").Pool() as pool:
        killer = threading.Thread(target=kill_some, args=(pool,))
        killer.start()
        try:
            calls = [(path, number) for number in range(count)]
            results = pool.starmap(
                leave_and_return, calls, 1, on_error="collect", retries=retries
            )
        finally:
            over.set()
            killer.join()
    runs = Counter(int(line) for line in Path(path).read_text().split())
    assert len(results) == count
    for number, result in enumerate(results):
        if result == number:
            assert 1 <= runs[number] <= retries + 1
        else:
            assert retries == 0 and isinstance(result, procession.WorkerDied)
            assert runs[number] <= 1
