"""Puts the table of a run into docs/reliability.md."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from __main__ import Verdict

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN = "<!-- what follows is written by `make failures` -->\n"
END = "<!-- until here -->\n"


def write(
    found: dict[str, dict[str, Verdict]], versions: dict[str, str], machine: str
) -> None:
    """Replaces what stands between the two marks."""
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
