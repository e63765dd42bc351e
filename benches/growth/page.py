"""Puts what is predicted for other machines into benches/README.md, as one table."""

from pathlib import Path

from curve import Curve

PAGE = Path(__file__).parents[1] / "README.md"
BEGIN = '<!-- what follows is written by `make bench BENCH="scale --processors 64 128 --page"` -->\n'
END = "<!-- until here -->\n"


def write(machine: str, curves: dict[int, list[Curve]]) -> None:
    """Replaces what stands between the two marks of the page."""
    before, begin, rest = PAGE.read_text().partition(BEGIN)
    _, end, behind = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE} has no place for the table")
    text = f"{machine}:\n\n{table(curves)}\n"
    PAGE.write_text(f"{before}{begin}\n{text}\n{end}{behind}")


def table(curves: dict[int, list[Curve]]) -> str:
    """Returns a row for every second point of each curve, and for each number of processors a column."""
    columns = [f"{number} processors" for number in curves]
    lines = [["curve", "at", *columns], ["--"] * (2 + len(columns))]
    for same in zip(*curves.values(), strict=True):
        for points in list(zip(*(curve.points for curve in same), strict=True))[::2]:
            cells = [
                f"{curve.shown(prediction.value)}: {prediction.bound}"
                for curve, (_, prediction, _) in zip(same, points, strict=True)
            ]
            lines.append([same[0].name, f"{points[0][0]} {same[0].axis}", *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
