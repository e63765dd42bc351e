"""The benchmarks run what their README defines and compare it the right way round."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def bench(*arguments: str) -> str:
    command = [sys.executable, ROOT / "benches/python", *arguments]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout


def ask(
    code: str, *, check: bool = True, cwd: Path = ROOT / "benches/python", **env: str
) -> subprocess.CompletedProcess[str]:
    """Runs some Python, among the modules of the benchmarks unless told otherwise."""
    return subprocess.run(
        [sys.executable, "-c", code],
        check=check,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
        env={**os.environ, **env},
    )


@pytest.mark.slow
def test_scenario_is_measured_on_both_libraries(tmp_path: Path) -> None:
    report = tmp_path / "figures.json"
    options = ["--method", "fork", "--rounds", "1", "--json", str(report)]
    table = bench("lock-uncontended", "pipe-16MiB", *options)
    results = {r["scenario"]: r for r in json.loads(report.read_text())["results"]}
    for found in results.values():
        assert found["failures"] == {}
        assert f"{found['ratio']:.2f}x" in table
    rate = results["pipe-16MiB"]
    medians = rate["medians"]
    assert rate["ratio"] == medians["procession"] / medians["multiprocessing"]
    duration = results["lock-uncontended"]
    medians = duration["medians"]
    assert duration["ratio"] == medians["multiprocessing"] / medians["procession"]


def test_readme_defines_what_is_measured() -> None:
    list_names = (
        "import catalogue as c; "
        "scenarios = c.python_scenarios() + c.rust_scenarios() + c.cluster_scenarios(); "
        "print(*(s.name for s in scenarios))"
    )
    done = ask(list_names)
    readme = (ROOT / "benches/README.md").read_text()
    defined = re.findall(r"^\| ([a-z0-9]+-\w+(?:-\w+)?) \|", readme, re.MULTILINE)
    assert set(defined) == set(done.stdout.split())


def test_plots_have_a_title_for_each_scenario() -> None:
    list_names = (
        "import sys; sys.path.append('benches/python'); import catalogue as c, scenarios; "
        "rows = c.python_scenarios() + c.rust_scenarios() + c.peer_scenarios(); "
        "print(*{s.name for s in rows} - set(scenarios.TITLES))"
    )
    done = ask(list_names, cwd=ROOT, PYTHONPATH="tools/plots")
    assert done.stdout.split() == []


def test_a_row_says_what_was_other_than_usual(tmp_path: Path) -> None:
    program = tmp_path / "limited.py"
    program.write_text(
        'print(\'{"value": 0.001, "library": "procession", "note": "64 alive"}\')\n'
    )
    command = [sys.executable, str(program)]
    code = (
        "import runpy; m = runpy.run_path('__main__.py')\n"
        f"s = m['Scenario']('alive-1000', 'fork', ('ms', 1e3), 1, {{'procession': {command!r}}})\n"
        "print(m['measure'](s, 1, None).row())"
    )
    done = ask(code)
    assert done.stdout.endswith("1x procession: 64 alive\n")


def test_result_of_the_wrong_library_is_refused(tmp_path: Path) -> None:
    program = tmp_path / "impostor.py"
    program.write_text('print(\'{"value": 1, "library": "impostor"}\')\n')
    code = (
        "import runpy; m = runpy.run_path('__main__.py')\n"
        f"m['run']('procession', [{sys.executable!r}, {str(program)!r}])"
    )
    done = ask(code, check=False)
    assert done.stderr.endswith("RuntimeError: it ran on impostor\n")
