"""Runs CPython's own tests of `multiprocessing` on procession.

Usage: python tests/compat [--method fork|spawn|forkserver] [--pattern P] [--quick] ...

The tests are those that the running interpreter comes with; nothing of them is copied.
They run in an interpreter in which `multiprocessing` is procession (prefix.py), which is
proven first (proof.py). Each class has a process of its own and a time limit
(testrun.py). The outcome is compared with what is expected (verdict.py, tables.py).
"""

import argparse
import importlib.util
import platform
import shutil
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import catalogue
import prefix
import proof
import report
import tables
import testrun
from verdict import Judge, Verdict

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


def main() -> int:
    options = parse()
    testrun.plain_environment()
    # So that what is under way is killed, and nothing is left in the folder.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    folder = Path(tempfile.mkdtemp(prefix="pc"))
    try:
        return run(options, folder)
    except catalogue.NoSuite as error:
        print(f"compat: nothing was tested: {error}", file=sys.stderr)
        # The quick run is a part of `make check`, which such an interpreter may pass.
        return 0 if options.quick else 2
    except proof.NotProven as error:
        print(f"compat: nothing was tested: {error}", file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python tests/compat", description=(__doc__ or "").splitlines()[0]
    )
    add = parser.add_argument
    add(
        "--method",
        choices=catalogue.METHODS,
        action="append",
        help="run under this start method only; may be given again",
    )
    add(
        "--pattern",
        action="append",
        help="run the tests that have this in their names, or that match it with stars;"
        " may be given again",
    )
    add("--quick", action="store_true", help="leave out what slow.toml names")
    add("--public", action="store_true", help="leave out what internal.toml names")
    add("--jobs", type=int, default=1, help="classes that run at once")
    add("--limit", type=float, default=120, help="seconds for a test")
    add("--json", type=Path, metavar="FILE", help="write the outcomes there")
    add("--list", action="store_true", help="print the tests and run none")
    add("--verbose", action="store_true", help="show failures in full")
    add(
        "--library",
        choices=("procession", "multiprocessing"),
        default="procession",
        help="multiprocessing: run the tests on the standard library instead",
    )
    add(
        "--write-baseline",
        action="store_true",
        help="write what the standard library does into baseline/",
    )
    options = parser.parse_args()
    options.method = options.method or list(catalogue.METHODS)
    if options.write_baseline and (
        options.library != "multiprocessing"
        or options.pattern
        or options.quick
        or options.public
        or len(options.method) < len(catalogue.METHODS)
    ):
        parser.error("a baseline is all that --library multiprocessing does")
    return options


def run(options: argparse.Namespace, folder: Path) -> int:
    plain = prefix.plain_interpreter()
    units = catalogue.units(plain, options.method)
    if options.library == "procession":
        units += catalogue.on_contexts(units, package_root())
    units = choose(units, options)
    if options.list:
        for unit in units:
            for test in unit.tests:
                kind = "internal" if tables.is_internal(test) else "public"
                print(unit.method, test, kind)
        return 0
    python = plain
    if options.library == "procession":
        root = package_root()
        python = prefix.make_interpreter(folder / "prefix", root)
        for line in proof.prove(python, root, options.method, folder):
            print(line)
    print(f"{options.library} on the tests of CPython {platform.python_version()}:")
    judge = Judge(PYTHON)
    if options.library == "procession":
        judge = Judge(PYTHON, tables.exceptions(), tables.baseline(PYTHON))
    left_out: list[Verdict] = []
    if not options.pattern:
        units, left_out = judge.leave_out(units)
    seconds, runs = perform(units, (python, plain), options)
    return conclude(options, judge, seconds, runs, left_out)


def choose(
    units: list[testrun.Unit], options: argparse.Namespace
) -> list[testrun.Unit]:
    """Returns the units with the tests that were asked for."""
    patterns = options.pattern or ["*"]

    def wanted(method: str, test: str) -> bool:
        if options.quick and catalogue.matches(test, tables.slow(method)):
            return False
        if options.public and tables.is_internal(test):
            return False
        return catalogue.matches(test, patterns)

    units = catalogue.chosen(units, wanted)
    # A process for each class would take longer than the tests of a quick run.
    return catalogue.joined(units) if options.quick else units


def package_root() -> Path:
    """Returns the folder in which the package procession lies."""
    spec = importlib.util.find_spec("procession")
    if spec is None or spec.origin is None:
        raise proof.NotProven(f"procession is not installed for {sys.executable}")
    return Path(spec.origin).resolve().parents[1]


def perform(
    units: list[testrun.Unit],
    pythons: tuple[Path, Path],
    options: argparse.Namespace,
) -> tuple[dict[str, float], list[testrun.Run]]:
    """Runs the units; returns the time of each start method, and what became of them.

    The first of the interpreters has the library installed, the second is as it was.
    """
    limits = testrun.Limits(test=options.limit)
    seconds: dict[str, float] = {}
    runs = []

    def one(unit: testrun.Unit) -> testrun.Run:
        python, library = pythons[0], options.library
        if unit.on_contexts:
            python, library = pythons[1], "multiprocessing"
        done = testrun.run(unit, python, library, limits)
        print(report.progress(done))
        for remark in done.remarks:
            print("    " + remark.replace("\n", "\n    "))
        return done

    for method in options.method:
        began = time.monotonic()
        with ThreadPoolExecutor(options.jobs) as pool:
            try:
                runs += pool.map(one, [each for each in units if each.method == method])
            except BaseException:
                testrun.stop()
                pool.shutdown(cancel_futures=True)
                raise
        seconds[method] = time.monotonic() - began
    return seconds, runs


def conclude(
    options: argparse.Namespace,
    judge: Judge,
    seconds: dict[str, float],
    runs: list[testrun.Run],
    left_out: list[Verdict],
) -> int:
    """Compares, reports, and returns the exit code."""
    verdicts = judge.judge(runs) + left_out
    if options.json:
        facts = {
            "library": options.library,
            "python": platform.python_version(),
            "seconds": seconds,
        }
        report.write_json(options.json, facts, runs, verdicts)
    if options.write_baseline:
        states = {(each.method, each.test): each.outcome.state for each in verdicts}
        version = platform.python_version()
        tables.write_baseline(PYTHON, version, options.method, states)
    print()
    for line in report.faults(verdicts, whole=options.verbose):
        print(line)
    excused = report.excused(verdicts)
    if excused:
        print("Expected exceptions, counted as skipped:")
        for line in excused:
            print(f"    {line}")
    if options.library == "procession" and judge.baseline is None:
        print(
            f"There is no baseline for Python {PYTHON}: skipped tests are not judged."
        )
    print()
    for line in report.table(verdicts, seconds):
        print(line)
    print()
    print(report.last_line(verdicts))
    return 1 if not verdicts or any(verdict.error for verdict in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
