"""Interpreters that are booted ahead: used where they cannot be told from fresh ones."""

import importlib
import os
import signal
import sys
import time

import leftovers
import pytest
from library import PATIENCE
from targets import spares as targets

pytestmark = [
    pytest.mark.methods("spawn"),
    pytest.mark.procession_only("it boots nothing ahead"),
    pytest.mark.slow,
]

# Spares that four starts in a row lead to, on any machine.
MOST = 4


@pytest.fixture
def spares(lib, mp):
    """Returns a function that has spares booted, and returns their process ids."""
    native = importlib.import_module("procession._procession")

    def spares() -> set[int]:
        for _ in range(MOST):
            process = mp.Process(target=targets.nothing)
            process.start()
            process.join()
        deadline = time.monotonic() + PATIENCE
        while True:
            pids = {pid for pid in native.spare_pids() if leftovers.is_spare(pid)}
            if len(pids) >= MOST:
                return pids
            assert time.monotonic() < deadline, pids
            time.sleep(0.005)  # Nothing tells when a spare has parked.

    yield spares
    native.end_spares()


def test_one_start_boots_nothing_ahead(lib, mp, start) -> None:
    start(targets.nothing).join()
    assert importlib.import_module("procession._procession").spare_pids() == []


def test_spare_is_a_child_like_any_other(mp, start, call, spares) -> None:
    fresh = call(targets.describe)
    pids = spares()
    found = call(targets.describe)
    assert found.pop("pid") in pids
    assert fresh.pop("pid") not in pids
    assert found == fresh
    assert found["parent"] == os.getpid()


def test_spare_sees_what_has_changed_since(
    mp, call, spares, tmp_path, monkeypatch
) -> None:
    pids = spares()
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.setattr(sys, "argv", ["another", "line"])
    found = call(targets.describe)
    assert found["pid"] in pids
    assert found["path"][-1] == str(tmp_path)
    assert found["argv"] == ["another", "line"]


def test_changed_environment_and_directory_reach_the_child(
    mp, call, spares, tmp_path, monkeypatch
) -> None:
    pids = spares()
    monkeypatch.setenv("PROCESSION_TEST_VARIABLE", "changed")
    found = call(targets.describe)
    assert found["pid"] not in pids
    assert found["variable"] == "changed"
    pids = spares()
    monkeypatch.chdir(tmp_path)
    found = call(targets.describe)
    assert found["pid"] not in pids
    assert found["directory"] == str(tmp_path)


def test_killed_spares_cost_no_start(mp, start, spares) -> None:
    for pid in spares():
        os.kill(pid, signal.SIGKILL)
    processes = [start(targets.nothing) for _ in range(MOST)]
    for process in processes:
        process.join(PATIENCE)
        assert process.exitcode in (0, -signal.SIGKILL)
    start(targets.nothing)
    assert call_pid(mp) > 0


def call_pid(mp) -> int:
    answers = mp.SimpleQueue()
    process = mp.Process(target=targets.put_pid, args=(answers,))
    process.start()
    pid = answers.get()
    process.join()
    assert process.exitcode == 0
    return pid


def test_interrupt_passes_spares_by(mp, spares) -> None:
    pids = spares()
    for pid in pids:
        os.kill(pid, signal.SIGINT)
        while pending(pid):
            pass
    assert call_pid(mp) in pids


def pending(pid: int) -> int:
    """Returns the set of signals that are on their way to a process."""
    with open(f"/proc/{pid}/status") as status:
        return int(dict(line.split(":\t") for line in status)["ShdPnd"], 16)


def test_spares_get_connections(mp, start, spares) -> None:
    pids = spares()
    ours, theirs = mp.Pipe()
    process = start(targets.send_pid, theirs)
    assert ours.poll(PATIENCE)
    assert ours.recv() == process.pid
    assert process.pid in pids
    ours.close()
    theirs.close()


def test_spare_has_imported_what_the_main_module_will(program) -> None:
    code, out, err = program("""
        import sys
        before = {"colorsys", "stringprep"} & sys.modules.keys()
        import colorsys
        import multiprocessing
        import time
        from concurrent.futures import ProcessPoolExecutor, process as executor

        def tell(answers):
            assert executor.mp is multiprocessing
            answers.put(before)

        def start():
            answers = multiprocessing.Queue()
            process = multiprocessing.Process(target=tell, args=(answers,))
            process.start()
            process.join()
            return process.pid, answers.get(timeout=30)

        if __name__ == "__main__":
            from multiprocessing import _procession
            import stringprep
            del stringprep
            assert start()[1] == set(), "fresh"
            deadline = time.monotonic() + 60
            while True:
                spares = _procession.spare_pids()
                pid, found = start()
                if pid in spares and found:
                    break
                assert time.monotonic() < deadline
            assert found == {"colorsys"}, found
    """)
    assert (code, out, err) == (0, "", "")


@pytest.mark.parametrize("end", ["", "os.kill(os.getpid(), 9)"])
def test_spares_end_with_their_program(program, end) -> None:
    code, out, err = program(f"""
        import multiprocessing, os, time
        from procession import _procession

        def child():
            pass

        if __name__ == "__main__":
            for _ in range(4):
                process = multiprocessing.Process(target=child)
                process.start()
                process.join()
            while len(_procession.spare_pids()) < 4:
                time.sleep(0.005)
            {end}
    """)
    # That nobody was left behind is seen to by the fixture.
    assert (code, out, err) == (-signal.SIGKILL if end else 0, "", "")


def any_child() -> tuple[int, int] | None:
    try:
        return os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None


def test_nobody_who_waits_for_any_child_meets_a_spare(mp, spares, lib) -> None:
    heard = []
    before = signal.signal(signal.SIGCHLD, lambda number, frame: heard.append(number))
    try:
        pids = spares()
        # Of the children that were started and joined nobody is left.
        assert any_child() is None
        heard.clear()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        importlib.import_module("procession._procession").end_spares()
        assert any_child() is None
        assert heard == []
    finally:
        signal.signal(signal.SIGCHLD, before)
