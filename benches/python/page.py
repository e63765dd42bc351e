"""Puts the figures of a run into benches/README.md, and into the file that plots are drawn from."""

import json
from pathlib import Path

from comparison import Comparison

PAGE = Path(__file__).parents[1] / "README.md"
FIGURES = Path(__file__).parents[1] / "figures" / "speed.json"
HEADING = "## Figures\n"
COLUMNS = ["scenario", "method", "reference", "procession", "ratio", "goal", ""]


def write(machine: dict[str, str], rounds: int, found: list[Comparison]) -> None:
    """Replaces what stands under the page's heading, which is its last, and the figures."""
    report = {"machine": machine, "results": [one.record() for one in found]}
    FIGURES.write_text(json.dumps(report, indent=1) + "\n")
    before, heading, _ = PAGE.read_text().partition(HEADING)
    facts = [f"- {key}: {value}" for key, value in machine.items()]
    facts.append(f"- rounds: {rounds}")
    lines = [COLUMNS, ["--"] * len(COLUMNS), *(one.cells() for one in found)]
    table = [f"| {' | '.join(cells)} |" for cells in lines]
    text = "\n".join([before + heading, *facts, "", *table])
    PAGE.write_text(text + "\n")
