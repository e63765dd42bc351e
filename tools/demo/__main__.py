"""Shows what procession does for a program that knows nothing of it.

Usage: python tools/demo [fork | spawn | forkserver]...

Runs examples/demo/demo.py on the standard library and then, unchanged, on procession,
under each start method; then its twin in Rust, examples/demo/demo.rs. Every run checks
its own results. `make demo` sets up what this needs.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "examples/demo/demo.py"
START_METHODS = ["fork", "spawn", "forkserver"]

# Seconds after which a run counts as hung; the longest takes about ten.
HUNG = 120


class Part(NamedTuple):
    """One kind of work that a program did."""

    work: str
    processes: int
    seconds: float


def main() -> int:
    methods = sys.argv[1:] or START_METHODS
    say("building the program's twin in Rust (half a minute the first time)")
    cargo = [os.environ.get("CARGO", "cargo")]
    build = ["build", "--quiet", "--release", "--package", "procession"]
    subprocess.run([*cargo, *build, "--example", "demo"], cwd=ROOT, check=True)
    python = {}
    for method in methods:
        python[method] = [
            run(f"{method}: on the standard library", [sys.executable], method),
            run(
                f"{method}: on procession", [sys.executable, "-m", "procession"], method
            ),
        ]
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    rust = run("the same program in Rust", [], program=target / "release/examples/demo")
    for method, (theirs, ours) in python.items():
        compare(f"in Python, {method}", "multiprocessing", theirs, ours)
    first = methods[0]
    compare("in Rust", f"Python, {first}", python[first][0], rust)
    return 0


def run(
    what: str, launcher: list[str], *arguments: str, program: Path = PROGRAM
) -> list[Part]:
    """Runs the program and returns what it says it did."""
    begin = time.perf_counter()
    command = [*launcher, str(program), *arguments]
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=HUNG
        )
    except subprocess.TimeoutExpired:
        sys.exit(f"demo: {what}: not finished after {HUNG} s")
    if done.returncode:
        sys.exit(f"demo: {what}: exit code {done.returncode}\n{done.stderr}")
    say(f"ran {what} in {time.perf_counter() - begin:.1f} s")
    lines = (line.split("\t") for line in done.stdout.splitlines())
    return [Part(work, int(processes), float(took)) for work, processes, took in lines]


def compare(
    title: str, reference: str, theirs: Sequence[Part], ours: Sequence[Part]
) -> None:
    """Prints a table of two runs side by side."""
    heads = [reference, "procession", "speed-up"]
    print(f"\n{title:<42}{'processes':>10}" + "".join(f"{head:>17}" for head in heads))
    rows = [*zip(theirs, ours, strict=True), (whole(theirs), whole(ours))]
    for other, mine in rows:
        speed_up = f"{other.seconds / mine.seconds:.1f}x"
        cells = [f"{other.seconds:.3f} s", f"{mine.seconds:.3f} s", speed_up]
        print(
            f"{mine.work:<42}{mine.processes or '':>10}"
            + "".join(f"{cell:>17}" for cell in cells)
        )


def whole(parts: Sequence[Part]) -> Part:
    return Part("all of it", 0, sum(part.seconds for part in parts))


def say(what: str) -> None:
    print(f"demo: {what}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
