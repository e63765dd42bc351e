"""What the rounds of one scenario found: medians, the ratio, and a row of the table."""

from dataclasses import dataclass, field
from statistics import median
from typing import Any

from catalogue import Scenario

HEAD = f"{'scenario':<18} {'method':<16} {'reference':>32} {'procession':>15} {'ratio':>8} {'goal':>8}"
OURS = "procession"


@dataclass
class Comparison:
    """The figures of a scenario, by library, and why a library has none."""

    scenario: Scenario
    figures: dict[str, list[float]]
    failures: dict[str, str] = field(default_factory=dict)
    # What is to be said of a library's figures.
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        return next(iter(self.scenario.commands))

    @property
    def ratio(self) -> float | None:
        """How many times better procession is, if both were measured."""
        ours, theirs = self.median(OURS), self.median(self.reference)
        return self.scenario.ratio(theirs, ours) if ours and theirs else None

    @property
    def reached(self) -> bool | None:
        """Whether the goal was, if it is known."""
        ours = self.median(OURS)
        if ours is not None and self.scenario.least is not None:
            return ours >= self.scenario.least
        if ours is not None and self.scenario.most is not None:
            return ours <= self.scenario.most
        return None if self.ratio is None else self.ratio >= self.scenario.goal

    def median(self, library: str) -> float | None:
        values = self.figures.get(library)
        return median(values) if values and library not in self.failures else None

    def row(self) -> str:
        """Returns a line of the table that is printed while the rest runs."""
        name, method, reference, ours, ratio, goal, mark = self.cells()
        failed = "".join(
            f"\n    {library} failed: {why}" for library, why in self.failures.items()
        )
        return (
            f"{name:<18} {method:<16} {reference:>32} {ours:>15} {ratio:>8} {goal:>8} "
            f"{mark}{failed}"
        ).rstrip()

    def cells(self) -> list[str]:
        """Returns what a line of a table has in its columns."""
        scenario = self.scenario
        reference = "-" if self.reference == OURS else self._shown(self.reference)
        if self.reference not in ("multiprocessing", OURS):
            reference = f"{self.reference} {reference}"
        is_compared = self.ratio is not None and self.reference != OURS
        ratio = f"{self.ratio:.2f}x" if is_compared else "-"
        limit = scenario.least if scenario.most is None else scenario.most
        goal = f"{scenario.goal:g}x" if limit is None else scenario.shown(limit)
        goal = "-" if scenario.goal == 0 else goal
        told = [f"{library}: {note}" for library, note in self.notes.items()]
        mark = "; ".join((["below"] if self.reached is False else []) + told)
        ours = self._shown(OURS)
        return [scenario.name, scenario.method, reference, ours, ratio, goal, mark]

    def record(self) -> dict[str, Any]:
        """Returns everything, for JSON; durations in seconds, rates per second, memory in bytes."""
        return {
            "scenario": self.scenario.name,
            "method": self.scenario.method,
            "unit": self.scenario.base_unit,
            "reference": self.reference,
            "figures": self.figures,
            "medians": {library: self.median(library) for library in self.figures},
            "ratio": self.ratio,
            "goal": self.scenario.goal,
            "least": self.scenario.least,
            "most": self.scenario.most,
            "reached": self.reached,
            "failures": self.failures,
            "notes": self.notes,
        }

    def _shown(self, library: str) -> str:
        figure = self.median(library)
        return "-" if figure is None else self.scenario.shown(figure)
