"""The program closes descriptors, uses their numbers again, or starts without some."""

import os
import sys
from pathlib import Path

import pytest
import script
from targets import descriptors

TESTS = Path(__file__).parent

pytestmark = pytest.mark.procession_only(
    "it writes to descriptors that the program has closed"
)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["here", "child", "unprivileged"])
def test_program_may_close_all_descriptors_and_use_their_numbers(
    lib, method, where
) -> None:
    command = [sys.executable, "-m", "targets.descriptors", method, where]
    code, out, err = script.run(command, cwd=TESTS)
    assert (code, err) == (0, "")
    assert out.split() == [one.__name__ for one in descriptors.OPERATIONS]


@pytest.mark.slow
@pytest.mark.methods("spawn", "forkserver")
def test_start_is_possible_while_another_child_boots(lib, program, tmp_path) -> None:
    command = program.command("""
        import os
        import procession as mp
        from targets.descriptors import drop_capabilities, nothing

        if __name__ == "__main__":
            drop_capabilities()
            first = mp.Process(target=nothing)
            first.start()
            os.closerange(3, 4096)
            second = mp.Process(target=nothing)
            second.start()
            for process in (first, second):
                process.join()
                print(process.exitcode)
    """)
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "PYTHONPATH": path}
    code, out, err = script.run(command, cwd=tmp_path, env=env)
    assert (code, err) == (0, "")
    assert out.split() == ["0", "0"]


# Which streams are closed when the program starts, or a moment later.
CLOSED = ["0", "1", "2", "01", "02", "12", "012"]

PRINTING = """
    import os, sys
    import procession as mp

    def noisy():
        for stream, letter in ((sys.stdout, "x"), (sys.stderr, "y")):
            if stream is not None:
                print(letter * 60, file=stream, flush=True)
        assert not [n for n in (0, 1, 2) if os.get_inheritable(n) is False]
        raise SystemExit(7)

    def main(closed):
        for number in map(int, closed):
            try:
                os.close(number)
            except OSError:
                pass  # By whoever has started the program.
        lock, queue = mp.Lock(), mp.Queue()
        for _ in range(3):
            with lock:
                queue.put(b"x" * 4_000_000)
                assert len(queue.get()) == 4_000_000
            process = mp.Process(target=noisy)
            process.start()
            process.join()
            assert process.exitcode == 7, process.exitcode
        with mp.Pool(2) as pool:
            assert pool.map(abs, [-1, -2]) == [1, 2]
        here, there = mp.Pipe()
        numbers = [here.fileno(), there.fileno(), process.sentinel]
        assert min(numbers) > 2, numbers
        for number in closed:
            assert not os.path.exists(f"/proc/self/fd/{number}"), number
        os._exit(5)

    if __name__ == "__main__":
        main(sys.argv[-1])
"""


@pytest.mark.slow
@pytest.mark.parametrize("at_start", [True, False])
@pytest.mark.parametrize("closed", CLOSED)
def test_program_may_run_with_standard_streams_closed(
    lib, program, closed, at_start, tmp_path
) -> None:
    command = program.command(PRINTING, closed)
    if at_start:
        shut = " ".join(f"{number}>&-" for number in closed)
        quoted = " ".join(f"'{part}'" for part in map(str, command))
        command = ["/bin/sh", "-c", f"exec {quoted} {shut}"]
    code, out, err = script.run(command, cwd=tmp_path)
    assert code == 5, err
    # Three children have printed to what is open.
    assert ("1" in closed) or out.count("x") == 3 * 60
    assert ("2" in closed) or err.count("y") == 3 * 60


@pytest.mark.slow
@pytest.mark.methods("fork")
def test_input_that_is_no_file_does_not_keep_a_child_from_starting(
    lib, program
) -> None:
    code, _, err = program("""
        import sys
        import procession as mp

        class Input:
            pass

        class Refusing:
            def close(self):
                raise RuntimeError("it stays open")

        if __name__ == "__main__":
            for stream in (Input(), Refusing(), None):
                sys.stdin = stream
                process = mp.Process(target=print)
                process.start()
                process.join()
                assert process.exitcode == 0, (stream, process.exitcode)
    """)
    assert (code, err) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("blocks", [100_000, 4_000])
def test_limit_on_files_leaves_a_smaller_family(lib, program, blocks, tmp_path) -> None:
    command = program.command("""
        import procession as mp

        if __name__ == "__main__":
            queue = mp.Queue()
            queue.put("x" * 100_000)
            assert len(queue.get()) == 100_000
            process = mp.Process(target=queue.put, args=(1,))
            process.start()
            process.join()
            assert queue.get(timeout=30) == 1
    """)
    quoted = " ".join(f"'{part}'" for part in map(str, command))
    limited = ["/bin/bash", "-c", f"ulimit -f {blocks}; exec {quoted}"]
    code, _, err = script.run(limited, cwd=tmp_path)
    assert (code, err) == (0, "")


@pytest.mark.methods("fork")
def test_limit_on_files_that_leaves_no_room_is_told(lib, program, tmp_path) -> None:
    command = program.command("""
        import procession as mp

        if __name__ == "__main__":
            mp.Lock()
    """)
    quoted = " ".join(f"'{part}'" for part in map(str, command))
    limited = ["/bin/bash", "-c", f"ulimit -f 100; exec {quoted}"]
    code, _, err = script.run(limited, cwd=tmp_path)
    assert code == 1
    assert "RLIMIT_FSIZE" in err


def test_descriptors_of_the_package_are_known_from_others() -> None:
    from procession._descriptors import KeptFd

    read, write = os.pipe()
    kept = KeptFd(read)
    assert kept.fileno() == read
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, read)
    assert not kept.is_ours()
    with pytest.raises(OSError, match="closed"):
        kept.fileno()
    kept.close()
    os.close(read)  # It is open still.
    os.close(write)
    os.close(null)
