"""Measures procession against the standard library and its Rust peers, alternately in one run.

Usage: python benches/python [NAME...] [--method fork] [--rounds 3] [--json FILE] [--page]

Each figure is the median of several rounds. In a round every library runs the scenario once, in a process of its own,
and the order is turned round from one round to the next, so that a machine that slows down slows down all of them.
"""

import argparse
import itertools
import json
import os
import platform
import signal
import subprocess
import sys
import tomllib
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from subprocess import PIPE

import page
from catalogue import (
    HERE,
    RUST,
    START_METHODS,
    Scenario,
    cluster_scenarios,
    peer_scenarios,
    python_scenarios,
    rust_scenarios,
)
from comparison import HEAD, Comparison

PEERS = ("loky", "billiard", "joblib", "mpire", "pebble", "faster_fifo")
RUST_PEERS = ("procspawn", "ipc-channel", "rayon", "iceoryx2")

# Seconds after which a measurement counts as hung; the longest takes a dozen.
HUNG = 120


def main() -> int:
    options = arguments()
    groups = {
        "python": python_scenarios(),
        "peers": peer_scenarios(),
        "rust": rust_scenarios(),
    }
    if "distributed" in options.names:
        groups = {"distributed": cluster_scenarios()}
    chosen = [
        scenario
        for group, scenarios in groups.items()
        for scenario in scenarios
        if (
            not options.names
            or any(name == group or name in scenario.name for name in options.names)
        )
        and (not options.method or options.method in scenario.method.split())
    ]
    machine = describe_machine()
    print(
        "\n".join(f"{key}: {value}" for key, value in machine.items()), "\n", flush=True
    )
    print(HEAD)
    found = []
    for scenario in chosen:
        found.append(measure(scenario, options.rounds, options.only))
        print(found[-1].row(), flush=True)
    if options.json:
        results = [comparison.record() for comparison in found]
        report = json.dumps({"machine": machine, "results": results}, indent=1)
        options.json.write_text(report + "\n")
    if options.page:
        page.write(machine, options.rounds, found)
    return 1 if any(comparison.failures for comparison in found) else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python benches/python", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="scenarios, parts of their names, or python, peers or rust for all of a kind; all by default. Those of "
        "other machines come with distributed alone; `make bench BENCH=scale` is benches/growth",
    )
    parser.add_argument(
        "--method",
        choices=[*START_METHODS, RUST, "dask", "ray", "nats"],
        help="only this start method, or only Rust",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=3,
        help="how often each library runs each scenario",
    )
    parser.add_argument(
        "--only", help="one library, for example multiprocessing; others are left out"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write all figures here too"
    )
    parser.add_argument(
        "--page", action="store_true", help="put the table into benches/README.md"
    )
    return parser.parse_args()


def measure(scenario: Scenario, rounds: int, only: str | None) -> Comparison:
    """Runs a scenario in turn on each library and returns what it found."""
    libraries = [name for name in scenario.commands if only in (None, name)]
    found = Comparison(scenario, {name: [] for name in libraries})
    for number in range(rounds):
        for name in libraries if number % 2 == 0 else reversed(libraries):
            if name not in found.failures:
                try:
                    figure, note = run(name, scenario.commands[name])
                    found.figures[name].append(figure)
                    found.notes |= {name: note} if note else {}
                except RuntimeError as error:
                    found.failures[name] = str(error)
    return found


def run(library: str, command: list[str]) -> tuple[float, str]:
    """Runs one measurement in a process of its own, and ends what it leaves behind.

    It returns the figure, and what is to be said of it. What follows a comma in the name of a library
    tells how else it is measured.
    """
    try:
        child = subprocess.Popen(
            command,
            cwd=HERE,
            stdout=PIPE,
            stderr=PIPE,
            text=True,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise RuntimeError(f"{error.filename} is not built") from None
    try:
        output, errors = child.communicate(timeout=HUNG)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"hung for {HUNG} s") from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    if child.returncode:
        last = (errors.strip() or "no message").splitlines()[-1]
        raise RuntimeError(f"exit code {child.returncode}: {last}")
    found = json.loads(output.splitlines()[-1])
    if found["library"] != library.partition(",")[0]:
        raise RuntimeError(f"it ran on {found['library']}")
    return float(found["value"]), found.get("note", "")


def describe_machine() -> dict[str, str]:
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{processor()}, {len(os.sched_getaffinity(0))} cores, {platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "procession": package_version("procession"),
        "numpy": package_version("numpy"),
        "rust": rust_version(),
        **{name: package_version(name) for name in PEERS if find_spec(name)},
        **{name: locked_version(name) for name in RUST_PEERS},
        "load": f"{os.getloadavg()[0]:.1f} when it began",
    }


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def package_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def rust_version() -> str:
    try:
        done = subprocess.run(
            ["rustc", "--version"], check=True, stdout=PIPE, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "not installed"
    return done.stdout.split()[1]


def locked_version(crate: str) -> str:
    """Returns the version of a peer that a Cargo.lock names: the newest, as others may need older ones."""
    locks = [HERE.parents[1] / "Cargo.lock", HERE.parent / "iceoryx2/Cargo.lock"]
    packages = [tomllib.loads(lock.read_text())["package"] for lock in locks]
    return max(
        package["version"]
        for package in itertools.chain(*packages)
        if package["name"] == crate
    )


if __name__ == "__main__":
    sys.exit(main())
