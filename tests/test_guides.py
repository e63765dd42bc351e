"""Every program of a guide runs under each start method and prints what it should."""

import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import script

EXAMPLES = Path(__file__).parent.parent / "examples"
PROGRAMS = sorted(
    path.stem
    for path in (EXAMPLES / "guides").glob("*.py")
    if not path.stem.startswith("test_")
)
# What a program cannot do without, and who installs it.
NEEDED = {"arrays": "numpy", "by_value": "cloudpickle", "progress_bar": "tqdm"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.procession_only("they show what it has not"),
]


@pytest.mark.parametrize("program", PROGRAMS)
def test_program_prints_what_is_expected(program, method) -> None:
    if program in NEEDED and find_spec(NEEDED[program]) is None:
        pytest.skip(f"{NEEDED[program]} is not installed")
    path = EXAMPLES / f"guides/{program}.py"
    code, out, err = script.run(script.python("procession", path, method=method))
    assert (code, err) == (0, "")
    assert out == (EXAMPLES / f"expected/guides/{program}.txt").read_text()


def test_tests_of_the_guide_pass() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    path = EXAMPLES / "guides/test_prices.py"
    code, out, _ = script.run([*command, path], cwd=EXAMPLES / "guides")
    assert code == 0, out
    assert re.search(r"^9 passed", out, re.MULTILINE)
