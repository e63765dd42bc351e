"""The plot of the README: bars of text, which every reader of a README can show."""

from pathlib import Path
from typing import Any

from scenarios import first

BEGIN = "<!-- what follows is written by `python tools/plots --readme` -->\n"
END = "<!-- until here -->\n"
# Characters of the longest bar.
WIDTH = 40
EIGHTHS = " ▏▎▍▌▋▊▉"


def text(speed: dict[str, Any]) -> str:
    """Returns one line for each scenario."""
    rows = first(speed)
    longest = max(len(title) for title, _ in rows)
    most = max(ratio for _, ratio in rows)
    return "".join(
        f"{title:<{longest}}  {ratio:5.1f}x  {_bar(ratio / most)}\n"
        for title, ratio in rows
    )


def put_into(page: Path, speed: dict[str, Any]) -> None:
    """Replaces what stands between the two marks of a page."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, behind = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page.name} has no place for the plot")
    page.write_text(f"{before}{BEGIN}\n```text\n{text(speed)}```\n\n{END}{behind}")


def _bar(share: float) -> str:
    eighths = round(share * WIDTH * 8)
    return ("█" * (eighths // 8) + EIGHTHS[eighths % 8]).rstrip() or EIGHTHS[1]
