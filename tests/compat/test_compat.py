"""The runner of CPython's tests: what it calls an error, and that it cannot be fooled."""

import re
from pathlib import Path

import catalogue
import prefix
import proof
import pytest
import tables
import testrun
from testrun import Outcome, Run, Unit
from verdict import Judge

PAGE = (Path(__file__).parents[2] / "docs/compat.md").read_text()
PYTHONS = [path.stem for path in (tables.FOLDER / "baseline").glob("*.txt")]


def section(anchor: str) -> str:
    """Returns the text below the heading of docs/compat.md that has an anchor."""
    for part in re.split(r"^###? ", PAGE, flags=re.MULTILINE):
        heading, _, text = part.partition("\n")
        if re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") == anchor:
            return text
    pytest.fail(f"docs/compat.md has no heading for {anchor}")


@pytest.mark.parametrize("exempt", tables.exceptions(), ids=lambda each: each.test)
def test_each_exception_stands_in_the_page_of_differences(exempt) -> None:
    class_name, _, test = exempt.test.partition(".")
    excuses = section(exempt.difference).partition("*Excuses:*")[2]
    names = (test, class_name.removeprefix("WithProcesses"))
    assert any(name.strip("*") and f"{name}`" in excuses for name in names)


def test_each_pattern_means_a_test() -> None:
    patterns = {*tables.internal()}.union(*map(tables.slow, catalogue.METHODS))
    patterns |= {each.test for each in tables.exceptions()}
    known = {test for python in PYTHONS for _, test in tables.baseline(python)}
    assert [
        each
        for each in patterns
        if not any(catalogue.matches(test, [each]) for test in known)
    ] == []


def errors(state: str, exceptions=(), baseline="passed") -> list[str]:
    """Returns the errors of a run in which the test C.t comes to a state."""
    unit = Unit("spawn", "module", "C", ("C.t",))
    judge = Judge("3.11", list(exceptions), {("spawn", "C.t"): baseline})
    verdicts = judge.judge([Run(unit, {"C.t": Outcome(state)})])
    return [each.error for each in verdicts if each.error]


EXEMPT = tables.Exempt("C.*", "fails", "it must", methods=("spawn",))


def test_failure_is_an_error_unless_it_is_expected() -> None:
    assert errors("failed") == ["failed"]
    assert errors("failed", [EXEMPT]) == []
    assert errors("failed", [tables.Exempt("C.*", "fails", "", methods=("fork",))])
    assert errors("failed", [tables.Exempt("C.*", "fails", "", pythons=("3.12",))])


def test_expected_exception_that_passes_is_an_error() -> None:
    assert errors("passed") == []
    assert "passed, but" in errors("passed", [EXEMPT])[0]


def test_skip_is_an_error_where_the_standard_library_passes() -> None:
    assert "standard library passes" in errors("skipped")[0]
    assert errors("skipped", baseline="skipped") == []
    assert errors("skipped", [tables.Exempt("C.*", "skips", "it may")]) == []


def test_standard_library_does_not_pass_for_procession(tmp_path) -> None:
    root = Path(__file__).parents[2] / "python"
    with pytest.raises(proof.NotProven, match="multiprocessing is multiprocessing"):
        list(proof.prove(prefix.plain_interpreter(), root, ["spawn"], tmp_path))


MODULE = """
import multiprocessing, os, time, unittest

class Faulty(unittest.TestCase):
    def test_a_passes(self): pass
    def test_b_hangs(self): time.sleep(1000)
    def test_c_kills_its_process(self): os._exit(3)
    def test_d_skips(self): self.skipTest("no reason")
    def test_e_passes(self): pass
"""


@pytest.mark.slow
def test_each_test_has_an_outcome_whatever_the_others_do(tmp_path, monkeypatch) -> None:
    (tmp_path / "faulty.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    names = re.findall(r"def (test_\w+)", MODULE)
    tests = tuple(f"Faulty.{name}" for name in names)
    unit = Unit("spawn", "faulty", "Faulty", tests)
    python, limits = prefix.plain_interpreter(), testrun.Limits(test=10)
    done = testrun.run(unit, python, "multiprocessing", limits)
    states = [done.outcomes[test].state for test in tests]
    assert states == ["passed", "failed", "failed", "skipped", "passed"]
    assert "no progress" in done.outcomes[tests[1]].message
    assert "ended with 3" in done.outcomes[tests[2]].message
