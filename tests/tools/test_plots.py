"""The plots show the figures that the pages publish."""

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FIGURES = ROOT / "benches/figures"
# Digits that a table has of a figure.
ROUNDED = 0.01


def plots(*arguments: str) -> str:
    command = [sys.executable, ROOT / "tools/plots", *arguments]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=100
    )
    return done.stdout


def rows(page: str, after: str) -> list[list[str]]:
    """Returns the cells of the first table behind a text, without its head."""
    text = (ROOT / page).read_text().partition(after)[2]
    table = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert table is not None
    lines = table[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_speed_is_what_the_page_of_benchmarks_says() -> None:
    results = json.loads((FIGURES / "speed.json").read_text())["results"]
    found = {(one["scenario"], one["method"]): one["ratio"] for one in results}
    table = rows("benches/README.md", "## Figures")
    told = {(row[0], row[1]): float(row[4].rstrip("x")) for row in table}
    assert found == pytest.approx(told, abs=ROUNDED)


def test_failures_are_what_the_page_of_reliability_says() -> None:
    report = json.loads((FIGURES / "failures.json").read_text())
    found: dict[str, list[str]] = {}
    for one in report["results"]:
        mark = "" if one["passed"] else "**fails:** "
        found.setdefault(one["library"], []).append(mark + one["text"])
    told = rows("docs/reliability.md", "written by `make failures`")
    assert [
        [f"{name} {report['versions'][name]}".strip(), *cells]
        for name, cells in found.items()
    ] == told


def test_readme_has_the_bars_of_today() -> None:
    assert plots() in (ROOT / "README.md").read_text()


def test_bars_are_as_long_as_the_ratios() -> None:
    lines = [re.split(r"  +", line) for line in plots().splitlines()]
    ratios = [float(line[1].rstrip("x")) for line in lines]
    lengths = [len(line[2]) for line in lines]
    assert ratios == sorted(ratios, reverse=True)
    for ratio, length in zip(ratios, lengths, strict=True):
        assert abs(length - ratio / ratios[0] * lengths[0]) <= 1


@pytest.mark.slow
def test_each_plot_is_drawn_in_both_colours(tmp_path) -> None:
    if find_spec("matplotlib") is None:
        pytest.skip("matplotlib is not installed: pip install --group site")
    plots("--out", str(tmp_path))
    for name in ("first", "speed", "rust", "failures"):
        for theme in ("light", "dark"):
            drawn = (tmp_path / f"{name}-{theme}.svg").read_text()
            assert "multiprocessing" in drawn or name == "rust"
    assert "lost for ever" in (tmp_path / "verdicts.md").read_text()
