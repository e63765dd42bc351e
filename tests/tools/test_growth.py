"""The model of growth predicts and measures each curve, and its formulas behave at their limits."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GROWTH = ROOT / "benches/growth"


def growth(*arguments: str) -> str:
    command = [sys.executable, GROWTH, "--quick", *arguments]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=100
    )
    return done.stdout


def asked(question: str) -> str:
    """Returns what a program prints that knows the modules, and has costs that are easy to reckon with."""
    setup = (
        "import costs, dataclasses, model\n"
        "names = [field.name for field in dataclasses.fields(costs.Costs)]\n"
        "c = costs.Costs(**{**dict.fromkeys(names, 1e-6), 'near': 4e9, 'middle': 2e9, 'far': 1e9})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", setup + question],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=GROWTH,
    )
    return done.stdout.strip()


@pytest.mark.slow
def test_every_curve_is_predicted_and_measured(tmp_path: Path) -> None:
    report = tmp_path / "growth.json"
    table = growth("--max-workers", "2", "--json", str(report))
    curves = json.loads(report.read_text())["curves"]
    assert len(curves) == 15
    for curve in curves:
        assert curve["name"] in table
        assert curve["points"], curve["name"]
        for point in curve["points"]:
            assert point["predicted"] > 0, curve["name"]
            assert point["measured"] > 0, curve["name"]
            assert point["bound"] in table


@pytest.mark.slow
def test_other_machines_are_only_predicted(tmp_path: Path) -> None:
    report = tmp_path / "growth.json"
    growth("--processors", "64", "128", "--json", str(report))
    curves = json.loads(report.read_text())["curves"]
    assert [curve["processors"] for curve in curves] == [64] * 5 + [128] * 5
    for curve in curves:
        assert all(point["measured"] is None for point in curve["points"])


def test_more_processors_never_predict_less() -> None:
    question = (
        "counts = [1, 2, 3, 8, 64, 128]\n"
        "for n in [1, 2, 7, 64]:\n"
        "    for seconds in [0, 1e-4, 1e-2]:\n"
        "        rates = [model.tasks(c, p, n, seconds).value for p in counts]\n"
        "        assert rates == sorted(rates), rates\n"
        "    rates = [model.items(c, p, n).value for p in counts]\n"
        "    assert rates == sorted(rates), rates\n"
        "print('never')"
    )
    assert asked(question) == "never"


def test_rate_is_bounded_by_what_is_slowest() -> None:
    # Many processors, long tasks: as many as workers; short ones: what the parent can do.
    assert asked("print(model.tasks(c, 999, 4, 1.0).bound)") == "the workers"
    assert asked("print(model.tasks(c, 999, 99, 0.0).bound)") == "the parent"
    assert asked("print(model.tasks(c, 1, 99, 1.0).bound)") == "the processors"
    assert asked("print(round(model.tasks(c, 1, 99, 1.0).value, 3))") == "1.0"


def test_time_of_a_payload_is_a_sum() -> None:
    caches = "model.caches = lambda: (1 << 20, 32 << 20)\n"
    # 100 MB are copied once outside of the caches; a task is nothing beside it. Of more, new pages are a part.
    large = "print(round(model.array(c, 10**8).value, 3), model.array(c, 10**8).bound)"
    assert asked(caches + large) == "0.1 the copy"
    pages = "print(round(model.array(c, 1 << 30).value - (1 << 30) / 1e9, 3))"
    assert asked(caches + pages) == "0.524"
    assert asked(caches + "print(model.array(c, 8).bound)") == "the task"
    small = "print(round(model.message(c, 400_000).value * 1e6))"
    assert asked(caches + small) == "401"


def test_page_has_a_place_for_what_is_predicted() -> None:
    place = "text = page.PAGE.read_text(); print(page.BEGIN in text, page.END in text)"
    assert asked("import page; " + place) == "True True"
    question = (
        "import curve, page\n"
        "drawn = curve.Curve('takes', 'contenders', 'k/s')\n"
        "drawn.add(2, model.takes(c, 2))\n"
        "print(page.table({64: [drawn], 128: [drawn]}))"
    )
    row = "| takes | 2 contenders | 1000 k/s: the line of the lock | 1000 k/s: the line of the lock |"
    assert asked(question).endswith(row)


def test_a_curve_says_where_it_bends() -> None:
    question = (
        "import curve\n"
        "drawn = curve.Curve('tasks', 'workers', 'k/s')\n"
        "for n in [1, 2, 4]:\n"
        "    drawn.add(n, model.tasks(c, 2, n, 1e-3), 1000.0)\n"
        "print(drawn.bends())"
    )
    told = "bends at workers 2: from there on the processors, until there the workers"
    assert asked(question) == told
