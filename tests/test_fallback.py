"""The package for platforms without the engine: `multiprocessing` under another name.

It is run here, where the engine would run, as it is of Python alone.
"""

import os
import re
import sys
from pathlib import Path

import pytest
import script

FALLBACK = Path(__file__).parent.parent / "fallback"

WARNING = "'procession' is 'multiprocessing' of the standard library here"

PROGRAM = """
import procession as multiprocessing
import procession.pool
from procession.futures import ProcessPoolExecutor
from procession.pool import ThreadPool
from procession.shared_memory import SharedMemory
import sys

def square(number):
    return number * number

if __name__ == "__main__":
    import multiprocessing.pool as theirs
    multiprocessing.set_start_method(sys.argv[1])
    multiprocessing.install()
    with multiprocessing.Pool(2) as pool:
        print(pool.map(square, range(4)))
    with ProcessPoolExecutor(1) as executor:
        print(list(executor.map(square, range(4))))
    with ThreadPool(1) as pool:
        print(pool.map(square, range(4)))
    queue = multiprocessing.Queue()
    child = multiprocessing.Process(target=queue.put, args=("from a child",))
    child.start()
    print(queue.get())
    child.join()
    print(procession.pool is theirs, theirs.__spec__.name, sys.argv[2:])
"""

EXPECTED = """\
[0, 1, 4, 9]
[0, 1, 4, 9]
[0, 1, 4, 9]
from a child
True multiprocessing.pool ['an', 'argument']
"""


def fallback(*arguments: str | Path) -> tuple[int, str, str]:
    """Runs Python with the package in the place of ours."""
    command = [sys.executable, *arguments]
    return script.run(command, env={**os.environ, "PYTHONPATH": str(FALLBACK)})


@pytest.mark.slow
@pytest.mark.parametrize("runner", [[], ["-m", "procession"]], ids=["python", "-m"])
def test_a_program_runs_and_is_warned_once(tmp_path, method, runner) -> None:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    code, out, err = fallback(*runner, path, method, "an", "argument")
    assert (code, out) == (0, EXPECTED), err
    assert err.count(WARNING) == 1


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("procession.Actor", "AttributeError: 'procession' has no 'Actor' here"),
        (
            "from procession import WorkerDied",
            "ImportError: cannot import name 'WorkerDied' from 'procession'",
        ),
        (
            "import procession.actor",
            "ModuleNotFoundError: there is no 'procession.actor' here",
        ),
    ],
)
def test_what_only_the_engine_can_do_is_refused(statement, error) -> None:
    code, _out, err = fallback("-c", f"import procession\n{statement}")
    assert code == 1
    assert error in err


def test_the_command_tells_what_it_is() -> None:
    code, out, _err = fallback("-W", "ignore", "-m", "procession", "--version")
    assert code == 0
    assert re.fullmatch(r"procession \S+, without its engine\n", out)
    assert fallback("-m", "procession")[0] == 1
    code, out, _err = fallback("-m", "procession", "--help")
    assert code == 0
    assert "python -m procession SCRIPT" in out
