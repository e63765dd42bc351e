"""Every example in Python runs on both libraries and prints what it should."""

import importlib.util
import os
from pathlib import Path

import expectations
import pytest
import script

EXAMPLES = Path(__file__).parent.parent / "examples"
PROGRAMS = sorted(path.stem for path in (EXAMPLES / "python").glob("*.py"))
METHODS = ["fork", "spawn", "forkserver"]

# Those that choose their start methods themselves.
CHOOSERS = {"start_methods", "without_main_guard"}

RUNS = [
    (program, method)
    for program in PROGRAMS
    for method in ([None] if program in CHOOSERS else [None, *METHODS])
]


@pytest.fixture(params=["multiprocessing", "procession"])
def library(request) -> str:
    if importlib.util.find_spec(request.param) is None:
        absent = f"{request.param} is not installed"
        pytest.fail(absent) if os.environ.get("CI") == "true" else pytest.skip(absent)
    return request.param


@pytest.mark.slow
@pytest.mark.parametrize(("program", "chosen"), RUNS)
def test_example_prints_what_is_expected(program, chosen, library) -> None:
    path = EXAMPLES / "python" / f"{program}.py"
    code, out, err = script.run(script.python(library, path, method=chosen))
    assert code == 0, err
    expected = (EXAMPLES / "expected" / f"{program}.txt").read_text()
    assert expectations.difference(expected, out, library) is None
    assert ("Traceback" in err) == (program == "life_cycle"), err


def test_each_example_has_an_expectation_and_a_line_in_the_readme() -> None:
    expected = sorted(path.stem for path in (EXAMPLES / "expected").glob("*.txt"))
    assert expected == PROGRAMS
    readme = (EXAMPLES / "README.md").read_text()
    assert [name for name in PROGRAMS if f"| `{name}` |" not in readme] == []
