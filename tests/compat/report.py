"""Says how the tests went: a line for each unit, a table, and what went wrong."""

import json
from collections import Counter
from pathlib import Path

from testrun import Run
from verdict import Verdict

STATES = ("passed", "failed", "skipped")


def progress(run: Run) -> str:
    """Returns the line of a unit."""
    count = Counter(outcome.state for outcome in run.outcomes.values())
    numbers = "  ".join(f"{count[state]:3} {state}" for state in STATES)
    return f"{run.unit.method:10}  {run.unit.label:42}  {numbers}  {run.seconds:6.1f} s"


def table(verdicts: list[Verdict], seconds: dict[str, float]) -> list[str]:
    """Returns a row for each start method, public and internal tests side by side."""
    rows = [
        f"{'':10}  {'public tests':>28}  {'internal tests':>28}  {'time':>9}",
        f"{'':10}"
        + f"  {'passed':>8}  {'failed':>8}  {'skipped':>8}" * 2
        + f"  {'':>9}",
    ]
    for method, taken in seconds.items():
        numbers = [
            sum(
                verdict.method == method
                and verdict.internal == internal
                and verdict.counts_as == state
                for verdict in verdicts
            )
            for internal in (False, True)
            for state in STATES
        ]
        cells = "".join(f"  {number:8}" for number in numbers)
        rows.append(f"{method:10}{cells}  {taken:7.1f} s")
    return rows


def faults(verdicts: list[Verdict], *, whole: bool) -> list[str]:
    """Returns what went wrong, each with the last line of its message or all of it."""
    lines = []
    for verdict in verdicts:
        if not verdict.error:
            continue
        kind = "internal" if verdict.internal else "public"
        lines.append(f"{verdict.method} {verdict.test} ({kind}): {verdict.error}")
        message = verdict.outcome.message.strip().splitlines() or [""]
        lines += [f"    {line}" for line in (message if whole else message[-1:])]
    return lines


def excused(verdicts: list[Verdict]) -> list[str]:
    """Returns the expected exceptions that were met, each with its reason."""
    met: dict[tuple[str, str], list[str]] = {}
    for verdict in verdicts:
        if verdict.excuse:
            key = (verdict.test, verdict.excuse.why)
            met.setdefault(key, []).append(verdict.method)
    return [
        f"{test} ({', '.join(methods)}): {why}" for (test, why), methods in met.items()
    ]


def last_line(verdicts: list[Verdict]) -> str:
    """Returns the three numbers."""
    count = Counter(verdict.counts_as for verdict in verdicts)
    return ", ".join(f"{count[state]} {state}" for state in STATES)


def write_json(
    path: Path, facts: dict, runs: list[Run], verdicts: list[Verdict]
) -> None:
    """Writes everything, for programs."""
    tests = [
        {
            "method": verdict.method,
            "test": verdict.test,
            "internal": verdict.internal,
            "state": verdict.outcome.state,
            "seconds": round(verdict.outcome.seconds, 3),
            "error": verdict.error,
            "excuse": verdict.excuse.why if verdict.excuse else "",
            "message": verdict.outcome.message,
        }
        for verdict in verdicts
    ]
    subjects = {
        json.dumps(each, sort_keys=True) for run in runs for each in run.subjects
    }
    document = {
        **facts,
        "subjects": [json.loads(each) for each in sorted(subjects)],
        "units": [
            {
                "method": run.unit.method,
                "label": run.unit.label,
                "seconds": round(run.seconds, 3),
                "remarks": run.remarks,
            }
            for run in runs
        ],
        "tests": tests,
    }
    path.write_text(json.dumps(document, indent=1) + "\n")
