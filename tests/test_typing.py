"""What type checkers know of the package: as much as of `multiprocessing`, or more."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import script

PROGRAMS = Path(__file__).parent / "typing"
ROOT = Path(__file__).parent.parent

CHECKERS = {
    "mypy": ["--strict", "--config-file="],
    "pyright": ["--pythonpath", sys.executable, "--project", str(PROGRAMS)],
}


@pytest.fixture(params=CHECKERS)
def check(request, tmp_path):
    """Returns a function that returns the lines of a program with an error, and all output."""
    name = request.param
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed: pip install {name}")
    command = [sys.executable, "-m", name]
    # The program that this package wraps is fetched when it first runs.
    answer = subprocess.run(
        [*command, "--version"], check=False, capture_output=True, text=True
    )
    if answer.returncode != 0:
        pytest.skip(f"{name} does not run here: {answer.stderr.strip()[-200:]}")

    def check(program: str) -> tuple[set[int], str]:
        path = PROGRAMS / program
        # Elsewhere than in the checkout, whose own settings are for its own sources.
        answer = subprocess.run(
            [*command, *CHECKERS[name], str(path)],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={"MYPYPATH": str(ROOT / "python"), "PATH": "/usr/bin:/bin"},
        )
        found = re.findall(rf"{program}:(\d+):.*error", answer.stdout)
        assert answer.returncode == (1 if found else 0), answer
        return {int(line) for line in found}, answer.stdout

    return check


@pytest.mark.slow
def test_types_of_a_program_are_inferred(check) -> None:
    lines, output = check("accepted.py")
    assert lines == set(), output


@pytest.mark.slow
def test_wrong_arguments_are_refused_where_they_are(check) -> None:
    wrong = (PROGRAMS / "refused.py").read_text().splitlines()
    expected = {n for n, line in enumerate(wrong, 1) if line.endswith("# refused")}
    lines, output = check("refused.py")
    assert lines == expected, output


def test_program_whose_types_are_told_runs(method) -> None:
    pytest.importorskip("tqdm", reason="the program shows the progress of a map")
    command = script.python("procession", PROGRAMS / "accepted.py", method=method)
    assert script.run(command) == (0, "", "")


@pytest.mark.parametrize(
    "kind",
    [
        "pool.ApplyResult",
        "pool.AsyncResult",
        "pool.MapResult",
        "pool.IMapIterator",
        "pool.IMapUnorderedIterator",
        "queues.Queue",
        "queues.JoinableQueue",
        "queues.SimpleQueue",
        "sharedctypes.Synchronized",
        "sharedctypes.SynchronizedArray",
    ],
)
def test_generic_class_takes_its_parameter_at_run_time(kind) -> None:
    module, name = kind.split(".")
    cls = getattr(importlib.import_module(f"procession.{module}"), name)
    alias = cls[int]
    assert (alias.__origin__, alias.__args__) == (cls, (int,))
