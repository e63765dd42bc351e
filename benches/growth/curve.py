"""One curve: what was predicted and what was measured at each point, as a table, and where it bends."""

from dataclasses import dataclass, field
from typing import Any

from model import Prediction

UNITS = {
    "k/s": 1e-3,
    "us": 1e6,
    "ms": 1e3,
}


@dataclass
class Curve:
    """A quantity against another."""

    name: str
    # What is on the axis, and the unit of the figures: one of UNITS.
    axis: str
    unit: str
    points: list[tuple[int, Prediction, float | None]] = field(default_factory=list)
    left_out: str = ""

    def add(
        self, at: int, prediction: Prediction, measured: float | None = None
    ) -> None:
        self.points.append((at, prediction, measured))

    def table(self) -> str:
        """Returns the table, with a line that says where the curve bends."""
        head = f"{self.axis:>14} {'predicted':>14} {'measured':>14} {'ratio':>7}  bounded by"
        lines = [self.name, head]
        for at, prediction, measured in self.points:
            ratio = "-" if measured is None else f"{measured / prediction.value:.2f}"
            lines.append(
                f"{at:>14,} {self.shown(prediction.value):>14} {self.shown(measured):>14} {ratio:>7}  {prediction.bound}"
            )
        lines.append(f"  {self.bends()}")
        if self.left_out:
            lines.append(f"  {self.left_out}")
        return "\n".join(lines)

    def bends(self) -> str:
        """Says from where on something else bounds the curve."""
        found = []
        for before, now in zip(self.points, self.points[1:], strict=False):
            if before[1].bound != now[1].bound:
                found.append(
                    f"at {self.axis} {now[0]:,}: from there on {now[1].bound}, until there {before[1].bound}"
                )
        if found:
            return "bends " + "; ".join(found)
        return f"does not bend: {self.points[0][1].bound} all along"

    def record(self) -> dict[str, Any]:
        """Returns everything, for JSON; times in seconds, rates per second."""
        return {
            "name": self.name,
            "axis": self.axis,
            "points": [
                {
                    "at": at,
                    "predicted": prediction.value,
                    "bound": prediction.bound,
                    "measured": measured,
                }
                for at, prediction, measured in self.points
            ],
            "left out": self.left_out,
        }

    def shown(self, figure: float | None) -> str:
        """Returns a figure with its unit."""
        return "-" if figure is None else f"{figure * UNITS[self.unit]:.4g} {self.unit}"
