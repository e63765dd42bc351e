"""Workers that crash, and where they were: the programs have no `faulthandler` of pytest's."""

import signal
import sys

import pytest

pytestmark = pytest.mark.procession_only("nobody is told where a worker was")

TARGETS = """
    import ctypes, faulthandler, os, signal, sys, threading
    import procession
    from procession import Pool, WorkerDied

    def inner(how):
        if how == "fault":
            ctypes.string_at(8)
        elif how == "abort":
            os.abort()
        elif how == "thread":
            thread = threading.Thread(target=inner, args=("fault",))
            thread.start()
            thread.join()
        else:
            signal.raise_signal(how)

    def outer(how):
        return inner(how)

    def died(call, *args, **options):
        try:
            call(*args, **options)
        except WorkerDied as error:
            return error

"""


def program_of(text: str) -> str:
    return TARGETS + text


@pytest.mark.parametrize(
    ("how", "name"),
    [
        ("fault", "SIGSEGV"),
        ("abort", "SIGABRT"),
        *(
            (int(number), number.name)
            for number in (signal.SIGFPE, signal.SIGBUS, signal.SIGILL)
        ),
    ],
)
def test_stack_of_a_crashed_worker_is_told(prints, how, name) -> None:
    text = """
    if __name__ == "__main__":
        with Pool(1) as pool:
            error = died(pool.apply, outer, (%r,))
            print(error.signal)
            print(error.stack.index("in inner") < error.stack.index("in outer"))
            print("program.py" in error.stack, error.stack.startswith("Fatal Python error"))
            print(str(error).endswith("its Python stack is the error's `stack`"))
            print(error.stack in error.__notes__[0], str(error.pid) in error.__notes__[0])
            print(pool.apply(abs, (-3,)))
    """
    lines = prints(program_of(text % (how,)))
    assert lines == [name, "True", "True True", "True", "True True", "3"]


def test_all_threads_are_in_it(prints) -> None:
    text = """
    if __name__ == "__main__":
        with Pool(1) as pool:
            stack = died(pool.map, outer, ["thread"]).stack
            print(stack.count("Thread 0x") + stack.count("Current thread 0x"))
            print("in inner" in stack, "in outer" in stack)
    """
    assert prints(program_of(text)) == ["2", "True True"]


def test_other_deaths_and_the_next_worker_have_none(prints) -> None:
    text = """
    if __name__ == "__main__":
        with Pool(1) as pool:
            print(died(pool.apply, outer, ("fault",)).stack is None)
            for end in (9, 15):
                error = died(pool.apply, outer, (end,))
                print(error.signal, error.stack, getattr(error, "__notes__", None))
            error = died(pool.apply, os._exit, (3,))
            print(error.exitcode, error.stack)
    """
    lines = ["False", "SIGKILL None None", "SIGTERM None None", "3 None"]
    assert prints(program_of(text)) == lines


def test_last_of_several_tries_tells(prints) -> None:
    text = """
    if __name__ == "__main__":
        with Pool(1, retries=2) as pool:
            error = died(pool.apply, outer, ("fault",))
            print(error.tries, "in outer" in error.stack)
    """
    assert prints(program_of(text)) == ["3 True"]


def test_error_keeps_its_stack_when_it_is_pickled(prints) -> None:
    text = """
    import pickle

    if __name__ == "__main__":
        with Pool(1) as pool:
            error = died(pool.apply, outer, ("abort",))
            copy = pickle.loads(pickle.dumps(error))
            print(copy.stack == error.stack, copy.__notes__ == error.__notes__)
    """
    assert prints(program_of(text)) == ["True True"]


def test_workers_of_an_executor_and_of_nested_pools_tell_too(prints) -> None:
    text = """
    from procession.futures import ProcessPoolExecutor

    def nested(how):
        with Pool(1) as pool:
            return died(pool.apply, outer, (how,)).stack

    if __name__ == "__main__":
        with ProcessPoolExecutor(1) as executor:
            error = executor.submit(outer, "fault").exception()
            print(type(error).__name__, "in outer" in error.stack)
            print("in outer" in executor.submit(nested, "fault").result())
    """
    assert prints(program_of(text)) == ["WorkerDied True", "True"]


def test_faulthandler_of_the_program_has_it(program) -> None:
    text = """
    def enable():
        faulthandler.enable(sys.stderr)

    if __name__ == "__main__":
        with Pool(1, enable) as pool:
            print(died(pool.apply, outer, ("fault",)).stack)
    """
    code, out, err = program(program_of(text))
    assert (code, out) == (0, "None\n")
    assert "Fatal Python error: Segmentation fault" in err
    assert "in outer" in err


def test_faulthandler_of_the_interpreter_has_it_too(program, monkeypatch) -> None:
    text = """
    if __name__ == "__main__":
        with Pool(1) as pool:
            print(died(pool.apply, outer, ("abort",)).stack)
    """
    monkeypatch.setenv("PYTHONFAULTHANDLER", "1")
    code, out, err = program(program_of(text))
    assert (code, out) == (0, "None\n")
    assert "Fatal Python error: Aborted" in err
    assert "in outer" in err


def test_program_that_turns_it_off_has_none(program) -> None:
    text = """
    if __name__ == "__main__":
        with Pool(1, faulthandler.disable) as pool:
            print(died(pool.apply, outer, ("fault",)).stack)
    """
    assert program(program_of(text)) == (0, "None\n", "")


def test_worker_that_closes_and_reuses_all_descriptors_tells(prints, tmp_path) -> None:
    text = """
    def fill_and_crash(path):
        os.closerange(3, 2000)
        while os.open(path, os.O_RDWR) < 1023:
            pass
        outer("fault")

    if __name__ == "__main__":
        import resource

        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2000), hard))
        with Pool(1) as pool:
            print("in fill_and_crash" in died(pool.apply, fill_and_crash, (sys.argv[1],)).stack)
    """
    kept = tmp_path / "kept"
    kept.write_text("as it was")
    assert prints(program_of(text), str(kept)) == ["True"]
    assert kept.read_text() == "as it was"


def test_copy_that_a_worker_forks_does_not_speak_for_it(prints) -> None:
    text = """
    def fork_and_die(end):
        if pid := os.fork():
            os.waitpid(pid, 0)
            signal.raise_signal(end)
        outer("fault")

    if __name__ == "__main__":
        with Pool(1) as pool:
            print(died(pool.apply, fork_and_die, (9,)).stack)
            stack = died(pool.apply, fork_and_die, (11,)).stack
            print("in fork_and_die" in stack, "in outer" in stack)
    """
    assert prints(program_of(text)) == ["None", "True False"]


@pytest.mark.skipif(
    sys.version_info[:2] not in ((3, 11), (3, 13)),
    reason="it stops a recursion of native code itself",
)
def test_endless_recursion_of_native_code_tells(prints) -> None:
    text = """
    def overflow(_):
        ctypes.CFUNCTYPE(ctypes.c_int)
        libc = ctypes.CDLL(None)
        # It calls back into itself until there is no stack, which no counter stops.
        compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
        sys.setrecursionlimit(10**9)

        @compare
        def again(first, second):
            numbers = (ctypes.c_int * 2)(2, 1)
            libc.qsort(numbers, 2, 4, again)
            return 0

        again(None, None)

    if __name__ == "__main__":
        with Pool(1) as pool:
            error = died(pool.apply, overflow, (0,))
            print(error.signal, "in again" in error.stack)
    """
    assert prints(program_of(text)) == ["SIGSEGV True"]


def test_worker_that_is_refused_memory_is_told_as_before(prints) -> None:
    text = """
    def want_memory(_):
        libc = ctypes.CDLL(None)
        libc.malloc.restype = ctypes.c_void_p
        ctypes.memset(libc.malloc(ctypes.c_size_t(1 << 34)), 1, 8)

    if __name__ == "__main__":
        with Pool(1, memory_limit=1 << 29) as pool:
            try:
                pool.apply(want_memory, (0,))
            except procession.MemoryLimitExceeded as error:
                print(type(error).__name__)
            print("in outer" in died(pool.apply, outer, ("fault",)).stack)
    """
    assert prints(program_of(text)) == ["MemoryLimitExceeded", "True"]
