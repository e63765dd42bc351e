"""Processes: what reaches them, who they are, how they end."""

import gc
import os
import signal
import threading
import time
import weakref

import pytest
from library import MOMENT, PATIENCE, load
from targets import calls
from targets import process as targets

# What reaches the child.


def test_target_runs_in_a_child_of_this_process(call) -> None:
    pid, parent = call(targets.pids)
    assert pid != os.getpid()
    assert parent == os.getpid()


def test_arguments_reach_the_target_by_position_and_by_name(call) -> None:
    args, kwargs = call(targets.arguments, 1, "two", [3], four=4.0, five={"six": None})
    assert args == (1, "two", [3])
    assert kwargs == {"four": 4.0, "five": {"six": None}}


def test_arguments_may_be_any_sequence_and_any_mapping(mp) -> None:
    answers = mp.SimpleQueue()
    args = [answers, targets.arguments, (1,), {}]
    process = mp.Process(target=calls.call_and_put, args=args)
    process.start()
    assert answers.get() == (True, ((1,), {}))
    process.join()


@pytest.mark.slow
def test_large_argument_arrives_whole(call) -> None:
    data = os.urandom(1024) * (30 * 1024)
    assert call(calls.digest, data) == calls.digest(data)


def test_process_without_target_returns_at_once(mp) -> None:
    process = mp.Process()
    process.start()
    process.join()
    assert process.exitcode == 0


def test_extended_process_runs_its_run_with_its_attributes(mp, method) -> None:
    answers = mp.SimpleQueue()
    process = targets.ADDING[method](answers, 1, 2, 3, name="adding")
    process.start()
    assert answers.get() == ("adding", 6)
    process.join()
    assert process.exitcode == 0


def test_child_does_not_change_the_globals_of_its_parent(start) -> None:
    start(targets.change_global).join()
    assert targets.changed_by_parent == "as imported"


@pytest.mark.methods("fork")
def test_forked_child_sees_the_globals_of_its_parent(call, monkeypatch) -> None:
    monkeypatch.setattr(targets, "changed_by_parent", "changed by the parent")
    assert call(targets.attribute) == "changed by the parent"


@pytest.mark.methods("spawn", "forkserver")
def test_fresh_child_imports_its_modules_anew(call, monkeypatch) -> None:
    monkeypatch.setattr(targets, "changed_by_parent", "changed by the parent")
    assert call(targets.attribute) == "as imported"


def test_child_has_the_working_directory_and_arguments_of_its_parent(
    call, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["program", "first", "second"])
    seen = call(targets.surroundings)
    assert seen["cwd"] == str(tmp_path)
    assert seen["argv"] == ["program", "first", "second"]


def test_child_has_the_import_path_of_its_parent(call, monkeypatch) -> None:
    monkeypatch.syspath_prepend("/no/such/folder/of/modules")
    assert "/no/such/folder/of/modules" in call(targets.surroundings)["path"]


@pytest.mark.methods("fork", "spawn")
def test_child_has_the_environment_of_its_parent(call, monkeypatch) -> None:
    monkeypatch.setenv("PROCESSION_TEST_SURROUNDINGS", "set late")
    assert call(targets.surroundings)["environment"] == "set late"


def test_child_reads_nothing_from_standard_input(call) -> None:
    assert call(targets.stdin_is_at_its_end)


def test_child_may_start_threads(call) -> None:
    assert call(targets.start_thread) == "from a thread"


def test_process_may_be_started_from_a_thread(mp) -> None:
    process = mp.Process(target=calls.nothing)
    thread = threading.Thread(target=process.start)
    thread.start()
    thread.join()
    process.join()
    assert process.exitcode == 0


@pytest.mark.slow
def test_child_may_start_a_child_of_its_own(call) -> None:
    pid, parent = call(targets.start_another, targets.pids)
    assert parent not in (pid, os.getpid())


def test_child_does_not_count_its_siblings_as_children(mp, call, start) -> None:
    ready, go = mp.Event(), mp.Event()
    start(calls.announce_and_wait, ready, go)
    assert ready.wait(PATIENCE)
    assert call(targets.count_children) == 0
    go.set()


@pytest.mark.slow
def test_twenty_processes_run_at_the_same_time(mp, start) -> None:
    barrier = mp.Barrier(21)
    processes = [start(barrier.wait) for _ in range(20)]
    barrier.wait(PATIENCE)
    for process in processes:
        process.join()
        assert process.exitcode == 0


def test_process_lets_go_of_its_target_once_started(mp) -> None:
    target = targets.Returning()
    process = mp.Process(target=target)
    followed = weakref.ref(target)
    process.start()
    del target
    process.join()
    gc.collect()
    assert followed() is None


# Who a process is.


def test_default_names_count_the_processes_made(lib) -> None:
    first, second = (lib.Process().name.rpartition("-") for _ in range(2))
    assert first[:2] == second[:2] == ("Process", "-")
    assert int(second[2]) == int(first[2]) + 1


def test_name_of_a_child_of_a_child_extends_its_parents(call) -> None:
    assert call(targets.start_another, targets.name).endswith(":1")


def test_name_is_known_in_the_child(mp) -> None:
    answers = mp.SimpleQueue()
    process = mp.Process(
        target=targets.put_result, name="given", args=(answers, targets.name)
    )
    assert process.name == "given"
    process.name = "changed"
    process.start()
    assert answers.get() == process.name == "changed"
    process.join()


def test_pid_is_none_before_the_start_and_the_childs_own_after(mp) -> None:
    answers = mp.SimpleQueue()
    process = mp.Process(target=targets.put_result, args=(answers, targets.pids))
    assert process.pid is None
    assert process.ident is None
    process.start()
    assert answers.get()[0] == process.pid == process.ident
    process.join()


def test_child_knows_itself_and_its_parent(lib, call) -> None:
    seen = call(targets.identity)
    assert seen["pid"] != os.getpid()
    assert seen["alive"]
    assert seen["exit code"] is None
    assert seen["parent name"] == lib.current_process().name
    assert seen["parent pid"] == os.getpid()
    assert seen["parent alive"]
    assert not seen["parent ends in a moment"]


def test_child_has_the_authentication_key_of_its_parent(lib, call) -> None:
    assert call(targets.identity)["authkey"] == bytes(lib.current_process().authkey)


def test_main_process_has_no_parent_process(lib) -> None:
    me = lib.current_process()
    assert lib.parent_process() is None
    assert me.name == "MainProcess"
    assert me.pid == os.getpid()
    assert me.is_alive()
    assert not me.daemon
    assert me.exitcode is None


def test_process_objects_are_told_apart_by_their_representation(mp) -> None:
    process = mp.Process(target=calls.nothing, name="told")
    assert "name='told'" in repr(process)
    assert f"parent={os.getpid()}" in repr(process)
    assert "initial" in repr(process)
    process.start()
    assert f"pid={process.pid}" in repr(process)
    process.join()
    assert "stopped" in repr(process)
    process.close()
    assert "closed" in repr(process)


def test_class_of_every_context_is_a_base_process(lib, mp) -> None:
    base = load("process").BaseProcess
    assert issubclass(mp.Process, base)
    assert issubclass(lib.Process, base)


# How a process lives and ends.


def test_process_is_alive_from_start_to_end(mp) -> None:
    ready, go = mp.Event(), mp.Event()
    process = mp.Process(target=calls.announce_and_wait, args=(ready, go))
    assert not process.is_alive()
    assert process.exitcode is None
    process.start()
    assert ready.wait(PATIENCE)
    assert process.is_alive()
    assert process.exitcode is None
    go.set()
    process.join()
    assert not process.is_alive()
    assert process.exitcode == 0


def test_error_in_the_target_is_exit_code_1(start) -> None:
    process = start(targets.fail)
    process.join()
    assert process.exitcode == 1


@pytest.mark.parametrize(
    ("argument", "exitcode"), [(None, 0), (0, 0), (5, 5), (True, 1), ("why", 1)]
)
def test_exit_code_is_what_the_target_exits_with(start, argument, exitcode) -> None:
    process = start(targets.exit_with, argument)
    process.join()
    assert process.exitcode == exitcode


def test_exit_that_skips_all_cleaning_up_has_its_code(start) -> None:
    process = start(targets.exit_at_once, 7)
    process.join()
    assert process.exitcode == 7


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL, signal.SIGUSR2])
def test_exit_code_of_a_death_by_signal_is_its_negative(start, signum) -> None:
    process = start(targets.die_by, signum)
    process.join()
    assert process.exitcode == -signum


@pytest.mark.parametrize(
    ("end", "exitcode"), [("terminate", -signal.SIGTERM), ("kill", -signal.SIGKILL)]
)
def test_process_can_be_ended_from_outside(mp, start, end, exitcode) -> None:
    ready, never = mp.Event(), mp.Event()
    process = start(calls.announce_and_wait, ready, never)
    assert ready.wait(PATIENCE)
    assert getattr(process, end)() is None
    process.join()
    assert process.exitcode == exitcode
    assert not process.is_alive()


@pytest.mark.parametrize("end", ["terminate", "kill"])
def test_ending_a_process_that_has_ended_changes_nothing(start, end) -> None:
    process = start(calls.nothing)
    process.join()
    getattr(process, end)()
    assert process.exitcode == 0


@pytest.mark.procession_only("a sentinel may be ready before the exit code is")
def test_end_of_a_process_is_seen_without_a_join(start) -> None:
    process = start(calls.nothing)
    assert load("connection").wait([process.sentinel], PATIENCE) == [process.sentinel]
    assert not process.is_alive()
    assert process.exitcode == 0


def test_join_of_an_ended_process_returns_at_once(start) -> None:
    process = start(calls.nothing)
    assert process.join() is None
    assert process.join() is None
    assert process.join(0) is None


def test_join_with_timeout_returns_while_the_process_runs(mp, start) -> None:
    ready, go = mp.Event(), mp.Event()
    process = start(calls.announce_and_wait, ready, go)
    before = time.monotonic()
    assert process.join(MOMENT) is None
    assert time.monotonic() - before >= MOMENT
    assert process.is_alive()
    process.join(0)
    process.join(-1)
    assert process.is_alive()
    go.set()
    process.join(PATIENCE)
    assert process.exitcode == 0


@pytest.mark.procession_only("of two threads that join, one may see no exit code")
def test_two_threads_may_join_one_process(mp, start) -> None:
    ready, go = mp.Event(), mp.Event()
    process = start(calls.announce_and_wait, ready, go)
    codes = []

    def join() -> None:
        process.join(PATIENCE)
        codes.append(process.exitcode)

    threads = [threading.Thread(target=join) for _ in range(2)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join()
    assert codes == [0, 0]


# Active children.


def test_active_children_are_those_that_run(lib, mp, start) -> None:
    ready, go = mp.Event(), mp.Event()
    process = start(calls.announce_and_wait, ready, go)
    assert process in lib.active_children()
    go.set()
    process.join()
    assert process not in lib.active_children()


@pytest.mark.procession_only("a sentinel may be ready before the exit code is")
def test_active_children_collects_those_that_have_ended(lib, start) -> None:
    process = start(calls.nothing)
    load("connection").wait([process.sentinel], PATIENCE)
    assert process not in lib.active_children()
    assert process.exitcode == 0


# Daemons.


def test_process_is_no_daemon_unless_asked(mp) -> None:
    assert mp.Process().daemon is False
    assert mp.Process(daemon=True).daemon is True
    process = mp.Process()
    process.daemon = True
    assert process.daemon is True


def test_daemon_knows_that_it_is_one(mp) -> None:
    answers = mp.SimpleQueue()
    args = (answers, targets.identity)
    process = mp.Process(target=targets.put_result, args=args, daemon=True)
    process.start()
    assert answers.get()["daemon"] is True
    process.join()


# Sentinel and close.


def test_sentinel_is_ready_when_the_process_ends(mp, start) -> None:
    wait = load("connection").wait
    ready, go = mp.Event(), mp.Event()
    process = start(calls.announce_and_wait, ready, go)
    assert wait([process.sentinel], 0) == []
    go.set()
    assert wait([process.sentinel], PATIENCE) == [process.sentinel]


@pytest.mark.procession_only("the fork server reaps at once")
def test_ended_processes_have_their_pids_until_somebody_looks(mp, start) -> None:
    wait = load("connection").wait
    go = mp.Event()
    processes = [start(calls.announce_and_wait, mp.Event(), go) for _ in range(4)]
    go.set()
    # Whoever reaps has gone through the first when the last one ends.
    for process in processes:
        assert wait([process.sentinel], PATIENCE)
    for process in processes:
        os.kill(process.pid, 0)
        process.join()
        assert process.exitcode == 0


def test_closed_process_refuses_all_but_its_representation(start) -> None:
    process = start(calls.nothing)
    process.join()
    process.close()
    process.close()
    for use in (
        process.is_alive,
        process.join,
        process.terminate,
        process.kill,
        lambda: process.exitcode,
        lambda: process.pid,
        lambda: process.sentinel,
    ):
        with pytest.raises(ValueError, match="closed"):
            use()


# Whole programs.


def test_traceback_of_a_child_names_the_process(program) -> None:
    code, _out, err = program("""
        from multiprocessing import Process

        def fail():
            raise ValueError("on purpose")

        if __name__ == "__main__":
            process = Process(target=fail, name="the unlucky one")
            process.start()
            process.join()
    """)
    assert code == 0
    assert "Process the unlucky one:" in err
    assert "in fail" in err
    assert "ValueError: on purpose" in err


def test_text_of_an_exit_goes_to_standard_error(program) -> None:
    _code, out, err = program("""
        import sys
        from multiprocessing import Process

        if __name__ == "__main__":
            process = Process(target=sys.exit, args=("the reason",))
            process.start()
            process.join()
            print(process.exitcode)
    """)
    assert out == "1\n"
    assert err == "the reason\n"


def test_what_a_child_prints_is_printed_once(program) -> None:
    code, out, err = program("""
        from multiprocessing import Process

        def child():
            print("child, not flushed")

        if __name__ == "__main__":
            print("parent, not flushed", end=" ")
            process = Process(target=child)
            process.start()
            process.join()
            print("parent again")
    """)
    assert (code, err) == (0, "")
    assert out == "parent, not flushed child, not flushed\nparent again\n"


def test_program_waits_at_its_end_for_children(program) -> None:
    code, out, _err = program("""
        from multiprocessing import Event, Process

        def child(ready, main_ends):
            ready.set()
            main_ends.wait()
            print("child has ended")

        if __name__ == "__main__":
            ready, main_ends = Event(), Event()
            Process(target=child, args=(ready, main_ends)).start()
            ready.wait()
            print("main ends", flush=True)
            main_ends.set()
    """)
    assert code == 0
    assert out == "main ends\nchild has ended\n"


def test_program_ends_its_daemons_at_its_end(program) -> None:
    code, out, _err = program("""
        from multiprocessing import Event, Process

        def child(ready, never):
            ready.set()
            never.wait()

        if __name__ == "__main__":
            ready, never = Event(), Event()
            Process(target=child, args=(ready, never), daemon=True).start()
            ready.wait()
            print("main has ended")
    """)
    assert code == 0
    assert out == "main has ended\n"


def test_daemon_flag_is_inherited_by_children(program) -> None:
    code, out, _err = program("""
        import multiprocessing

        def child(answers):
            answers.put(multiprocessing.Process().daemon)

        if __name__ == "__main__":
            answers = multiprocessing.SimpleQueue()
            process = multiprocessing.Process(
                target=child, args=(answers,), daemon=True
            )
            process.start()
            print(answers.get())
            process.join()
    """)
    assert (code, out) == (0, "True\n")


def test_functions_and_classes_of_the_program_itself_reach_its_children(
    program,
) -> None:
    code, out, err = program("""
        from multiprocessing import Process, SimpleQueue

        class Point:
            def __init__(self, x, y):
                self.x, self.y = x, y

        class Adder(Process):
            def __init__(self, point, answers):
                super().__init__()
                self.point, self.answers = point, answers

            def run(self):
                self.answers.put(Point(self.point.x + 1, self.point.y + 1))

        if __name__ == "__main__":
            answers = SimpleQueue()
            adder = Adder(Point(1, 2), answers)
            adder.start()
            point = answers.get()
            adder.join()
            print(type(point).__name__, point.x, point.y)
    """)
    assert (code, err) == (0, "")
    assert out == "Point 2 3\n"
