"""Every example in Rust prints what its twin in Python prints."""

import os
import shutil
import subprocess
from pathlib import Path

import expectations
import pytest
import script

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
PROGRAMS = sorted(path.stem for path in (EXAMPLES / "rust").glob("*.rs"))


@pytest.fixture(scope="session")
def cargo() -> list[str]:
    """Builds all the examples once, and returns the command that runs one."""
    if shutil.which("cargo") is None:
        absent = "cargo is not installed"
        pytest.fail(absent) if os.environ.get("CI") == "true" else pytest.skip(absent)
    options = ["--quiet", "--release", "--package", "procession"]
    subprocess.run(["cargo", "build", *options, "--examples"], cwd=ROOT, check=True)
    return ["cargo", "run", *options, "--example"]


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_example_prints_what_is_expected(program, cargo) -> None:
    code, out, err = script.run([*cargo, program], cwd=ROOT)
    assert code == 0, err
    expected = (EXAMPLES / "expected" / f"{program}.txt").read_text()
    assert expectations.difference(expected, out, "procession") is None


@pytest.mark.skipif(not PROGRAMS, reason="examples/rust is empty")
def test_both_languages_have_the_same_examples() -> None:
    python = sorted(path.stem for path in (EXAMPLES / "python").glob("*.py"))
    assert python == PROGRAMS
