"""Puts the table of a run into docs/reliability.md, and its verdicts into the file that plots are drawn from."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from __main__ import Verdict

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
FIGURES = Path(__file__).parents[1] / "figures" / "failures.json"
BEGIN = "<!-- what follows is written by `make failures` -->\n"
END = "<!-- until here -->\n"


def report(
    found: dict[str, dict[str, Verdict]], versions: dict[str, str], machine: str
) -> str:
    """Returns everything, as JSON."""
    results = [
        {
            "scenario": scenario,
            "library": library,
            "passed": verdict.passed,
            "text": verdict.text,
        }
        for scenario, verdicts in found.items()
        for library, verdict in verdicts.items()
    ]
    head = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine}
    return json.dumps({**head, "versions": versions, "results": results}, indent=1)


def write(
    found: dict[str, dict[str, Verdict]], versions: dict[str, str], machine: str
) -> None:
    """Replaces what stands between the two marks of the page, and the verdicts."""
    FIGURES.write_text(report(found, versions, machine) + "\n")
    rows = [["library", *found], ["--"] * (len(found) + 1)]
    for library, version in versions.items():
        cells = [found[scenario][library] for scenario in found]
        texts = [
            f"{one.text}" if one.passed else f"**fails:** {one.text}" for one in cells
        ]
        rows.append([f"{library} {version}".strip(), *texts])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    before, begin, rest = PAGE.read_text().partition(BEGIN)
    _, end, behind = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE.name} has no place for the table")
    when = f"{datetime.now(UTC):%Y-%m-%d}, {machine}."
    PAGE.write_text(f"{before}{BEGIN}\n{when}\n\n{table}\n\n{END}{behind}")
