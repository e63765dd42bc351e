"""Puts the figures of a run into benches/README.md."""

from pathlib import Path

from comparison import Comparison

PAGE = Path(__file__).parents[1] / "README.md"
HEADING = "## Figures\n"
COLUMNS = ["scenario", "method", "reference", "procession", "ratio", "goal", ""]


def write(machine: dict[str, str], rounds: int, found: list[Comparison]) -> None:
    """Replaces what stands under the page's heading, which is its last."""
    before, heading, _ = PAGE.read_text().partition(HEADING)
    facts = [f"- {key}: {value}" for key, value in machine.items()]
    facts.append(f"- rounds: {rounds}")
    lines = [COLUMNS, ["--"] * len(COLUMNS), *(one.cells() for one in found)]
    table = [f"| {' | '.join(cells)} |" for cells in lines]
    text = "\n".join([before + heading, *facts, "", *table])
    PAGE.write_text(text + "\n")
