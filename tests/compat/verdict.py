"""Compares what became of the tests with what is expected.

Three things are errors: a test that fails without being an expected exception, an
expected exception that passes, and a test that is skipped here though the standard
library passes it. The suite skips what a package lacks, so without the last a missing
module would count as no failure.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from tables import Exempt, is_internal
from testrun import Outcome, Run, Unit


@dataclass
class Verdict:
    """What became of one test, and whether that is an error."""

    method: str
    test: str
    outcome: Outcome
    internal: bool
    excuse: Exempt | None = None
    error: str = ""

    @property
    def counts_as(self) -> str:
        """Returns what it is counted as: an error as failed, an exception as skipped."""
        if self.error:
            return "failed"
        return "skipped" if self.excuse else self.outcome.state


@dataclass
class Judge:
    """Knows what is expected under a Python; on the standard library, only passes."""

    python: str
    exceptions: list[Exempt] = field(default_factory=list)
    baseline: dict[tuple[str, str], str] | None = None

    def leave_out(self, units: list[Unit]) -> tuple[list[Unit], list[Verdict]]:
        """Takes from units what would wait for minutes; returns the verdicts, too."""
        kept, verdicts = [], []
        for unit in units:
            tests = []
            for test in unit.tests:
                excuse = self._excuse(unit.method, test)
                if excuse and excuse.outcome == "waits":
                    outcome = Outcome("skipped", "was not run")
                    verdict = Verdict(
                        unit.method, test, outcome, is_internal(test), excuse
                    )
                    verdicts.append(verdict)
                else:
                    tests.append(test)
            if tests:
                kept.append(replace(unit, tests=tuple(tests)))
        return kept, verdicts

    def judge(self, runs: Iterable[Run]) -> list[Verdict]:
        """Returns a verdict for each test."""
        return [
            self._verdict(run.unit, test, outcome)
            for run in runs
            for test, outcome in run.outcomes.items()
        ]

    def _verdict(self, unit: Unit, test: str, outcome: Outcome) -> Verdict:
        method = unit.method
        # What is excused where the library is installed is not where it is not.
        name = f"{test} on contexts" if unit.on_contexts else test
        verdict = Verdict(method, name, outcome, is_internal(test))
        excuse = self._excuse(method, name)
        if outcome.state == "failed":
            if excuse and excuse.outcome in ("fails", "waits"):
                verdict.excuse = excuse
            else:
                verdict.error = "failed"
        elif outcome.state == "skipped":
            if excuse and excuse.outcome == "skips":
                verdict.excuse = excuse
            elif (self.baseline or {}).get((method, test)) == "passed":
                verdict.error = "skipped, but the standard library passes it"
        elif excuse and not excuse.unstable:
            verdict.error = f"passed, but exceptions.toml says it {excuse.outcome}"
        return verdict

    def _excuse(self, method: str, test: str) -> Exempt | None:
        covering = (e for e in self.exceptions if e.covers(test, method, self.python))
        return next(covering, None)
