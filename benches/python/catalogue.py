"""The scenarios by name, with the goal of each and the commands that measure it.

What each one does is defined in benches/README.md, under the same names.
"""

import concurrent.futures
import os
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
START_METHODS = ["fork", "spawn", "forkserver"]

MEASURE = str(HERE / "measure.py")
MEASURE_PEER = str(HERE / "measure_peer.py")
MEASURE_CLUSTER = str(HERE / "measure_cluster.py")

# Stands before the start method of a row that was measured in Rust.
RUST = "rust"

# Unit: what a figure in seconds, or in things per second, is multiplied by to be shown.
MILLISECONDS = ("ms", 1e3)
MICROSECONDS = ("us", 1e6)
NANOSECONDS = ("ns", 1e9)
THOUSANDS = ("k/s", 1e-3)
EACH_SECOND = ("/s", 1.0)
MILLIONS = ("M/s", 1e-6)
GIGABYTES = ("GB/s", 1e-9)
MEGABYTES = ("MB", 1e-6)


@dataclass
class Scenario:
    """One row of the table: a scenario, under one start method if that is Python's choice."""

    name: str
    method: str
    unit: tuple[str, float]
    # How many times better than the reference, or else at least this figure; 0 for no goal.
    goal: float
    # The reference first: every other is compared with it.
    commands: dict[str, list[str]]
    least: float | None = None
    # At most this figure, where nothing is compared with it.
    most: float | None = None

    @property
    def base_unit(self) -> str:
        """What figures are measured in: seconds, things per second, or bytes."""
        name = self.unit[0]
        return "1/s" if name.endswith("/s") else "B" if name.endswith("B") else "s"

    @property
    def is_rate(self) -> bool:
        """Whether more is better."""
        return self.base_unit == "1/s"

    def shown(self, figure: float) -> str:
        """Returns a figure with its unit."""
        name, factor = self.unit
        return f"{figure * factor:.4g} {name}"

    def ratio(self, reference: float, figure: float) -> float:
        """Returns how many times better than the reference a figure is."""
        return figure / reference if self.is_rate else reference / figure


def python_scenarios() -> list[Scenario]:
    """Returns the scenarios of the Python face, against the standard library."""
    # Name, function, unit, goals: one for all start methods, or one for each that it is measured under.
    table: list[tuple[str, str, tuple[str, float], float | dict[str, float]]] = [
        (
            "start-join",
            "starts.start_join",
            MILLISECONDS,
            {"fork": 1.3, "spawn": 1.2, "forkserver": 15},
        ),
        (
            "start-burst",
            "starts.start_burst",
            MILLISECONDS,
            {"fork": 1, "spawn": 8, "forkserver": 1},
        ),
        ("start-100", "crowds.start_100", MILLISECONDS, {"fork": 1.5}),
        ("alive-1000", "crowds.alive_1000", MILLISECONDS, {"fork": 1.5}),
        ("import-pool", "imports.import_pool", MILLISECONDS, 1),
        ("pool-ready", "starts.pool_ready", MILLISECONDS, 1),
        ("pool-32", "crowds.pool_32", MILLISECONDS, {"fork": 1.5}),
        ("pool-500", "crowds.pool_500", MILLISECONDS, {"fork": 1.5}),
        ("idle-memory", "footprints.idle_memory", MEGABYTES, {"forkserver": 1}),
        ("map-tiny", "pools.map_tiny", THOUSANDS, 5),
        ("map-tiny-32", "pools.map_tiny_32", THOUSANDS, 5),
        ("map-renewed", "pools.map_renewed", THOUSANDS, {"fork": 2}),
        ("map-bound-8MB", "pools.map_bound", MILLISECONDS, {"forkserver": 10}),
        ("map-default", "pools.map_default", MILLIONS, 1),
        ("imap-tiny", "pools.imap_tiny", THOUSANDS, 1),
        ("apply-roundtrip", "pools.apply_roundtrip", MICROSECONDS, 4),
        ("executor-map", "executors.executor_map", THOUSANDS, 20),
        ("executor-roundtrip", "executors.executor_roundtrip", MICROSECONDS, 15),
        ("await-tasks", "awaits.await_tasks", THOUSANDS, 3),
        ("array-in-80MB", "arrays.array_in", MILLISECONDS, 8),
        ("array-out-80MB", "arrays.array_out", MILLISECONDS, 8),
        ("results-dicts", "dicts.results_dicts", MILLISECONDS, 1),
        ("queue-1p1c", "queues.queue_1p1c", THOUSANDS, 4),
        ("queue-4p4c", "queues.queue_4p4c", THOUSANDS, 1),
        ("queue-1p8c", "queues.queue_1p8c", THOUSANDS, 6),
        ("queue-3p20c", "queues.queue_3p20c", THOUSANDS, 6),
        ("pipe-roundtrip", "pipes.pipe_roundtrip", MICROSECONDS, 5),
        ("pipe-lockstep", "pipes.pipe_lockstep", THOUSANDS, 4),
        ("pipe-16MiB", "pipes.pipe_16mib", GIGABYTES, 4),
        ("manager-dict", "managers.manager_dict", MICROSECONDS, 4),
        ("lock-uncontended", "locks.lock_uncontended", NANOSECONDS, 1.3),
        ("lock-contended", "locks.lock_contended", MILLIONS, 1),
        ("value-increment", "values.value_increment", NANOSECONDS, 1.3),
        ("event-pingpong", "turns.event_pingpong", MICROSECONDS, 1),
        ("condition-pingpong", "turns.condition_pingpong", MICROSECONDS, 1),
    ]
    # Bytes that all processes may have, at most.
    most = {"idle-memory": 20e6}
    return [
        Scenario(
            name,
            method,
            unit,
            goal[method] if isinstance(goal, dict) else goal,
            {
                "multiprocessing": [sys.executable, MEASURE, function, method],
                "procession": ours(function, method),
            },
            most=most.get(name),
        )
        for name, function, unit, goal in table
        for method in (goal if isinstance(goal, dict) else START_METHODS)
    ] + _limit_scenarios()


def _limit_scenarios() -> list[Scenario]:
    """Returns the scenarios in which procession is held against itself, or against what pickle alone takes."""
    # Name, unit, share that is to be reached, and what ours is compared with: as what, and which function.
    table = [
        (
            "map-tiny-32",
            "pools.map_tiny_32",
            THOUSANDS,
            0.85,
            "procession, 2 workers",
            "pools.map_tiny",
        ),
        (
            "condition-pingpong",
            "turns.condition_pingpong",
            MICROSECONDS,
            1,
            "procession, events",
            "turns.event_pingpong",
        ),
    ]
    rows = [
        Scenario(
            name,
            method,
            unit,
            goal,
            {reference: ours(theirs, method), "procession": ours(function, method)},
        )
        for name, function, unit, goal, reference, theirs in table
        for method in START_METHODS
    ]
    alone = [sys.executable, MEASURE_PEER, "results_dicts", "pickle"]
    return rows + [
        Scenario(
            "results-dicts",
            method,
            MILLISECONDS,
            1,
            {"pickle": alone, "procession": ours("dicts.results_dicts", method)},
        )
        for method in START_METHODS
    ]


def peer_scenarios() -> list[Scenario]:
    """Returns the scenarios of small tasks against other Python libraries and pools of threads.

    Those that are not installed, or that this Python does not have, are left out.
    """
    executors = [
        "ProcessPoolExecutor",
        "ThreadPoolExecutor",
        "InterpreterPoolExecutor",
        "loky",
    ]
    pools = ["billiard", "joblib", "mpire", "pebble"]
    table = [
        ("executor-map", "executors", "executor_map", THOUSANDS, executors),
        (
            "executor-roundtrip",
            "executors",
            "executor_roundtrip",
            MICROSECONDS,
            executors,
        ),
        ("map-tiny", "pools", "map_tiny", THOUSANDS, pools),
        ("queue-1p1c", "queues", "queue_1p1c", THOUSANDS, ["faster_fifo"]),
    ]
    return [
        Scenario(
            name,
            "forkserver",
            unit,
            1,
            {
                peer: [sys.executable, MEASURE_PEER, function, peer],
                "procession": ours(f"{module}.{function}", "forkserver"),
            },
        )
        for name, module, function, unit, peers in table
        for peer in peers
        if hasattr(concurrent.futures, peer) or find_spec(peer)
    ] + [
        # Rayon's tasks are of threads: the ratio is what a process costs beyond one, and there is no goal.
        _rust_scenario("pool-map-tiny", "forkserver", THOUSANDS, 0.0, "rayon"),
        *(
            _rust_scenario("queue-1p1c", "forkserver", THOUSANDS, 1.0, peer)
            for peer in ("iceoryx2",)
            if (_built() / f"bench-{peer}").exists()
        ),
    ]


def cluster_scenarios() -> list[Scenario]:
    """Returns the scenarios of pools on other machines, against the engine's own API.

    They need the engines, which `make distributed` and `make bench BENCH=distributed` install
    into an environment of their own.
    """
    python = str(ROOT / "target/engines/bin/python")
    path = f"PYTHONPATH={HERE}{os.pathsep}{ROOT / 'python'}"

    def scenario(
        name: str,
        function: str,
        engine: str,
        unit: tuple[str, float],
        goal: float,
        **limits: float,
    ) -> Scenario:
        libraries = [] if "most" in limits else [engine]
        measure = ["env", path, python, MEASURE_CLUSTER, function, engine]
        commands = {each: [*measure, each] for each in [*libraries, "procession"]}
        return Scenario(name, engine, unit, goal, commands, **limits)

    # Eight slots do 800 tasks of ten milliseconds a second.
    rows = [
        scenario("map-tiny", "map_tiny", engine, THOUSANDS, goal)
        for engine, goal in (("dask", 8), ("ray", 4))
    ]
    for engine in ("dask", "ray"):
        rows += [
            scenario("map-10ms", "map_10ms", engine, EACH_SECOND, 1, least=0.75 * 800),
            scenario(
                "map-10ms-chunks",
                "map_10ms_chunks",
                engine,
                EACH_SECOND,
                1,
                least=0.9 * 800,
            ),
            scenario("array-in-80MB", "array_in", engine, MILLISECONDS, 1 / 1.5),
            scenario("task-killed", "task_killed", engine, MILLISECONDS, 1, most=0.05),
        ]
    command = {"procession": [str(_built() / "examples/throughput")]}
    rows.append(Scenario("map-tiny", "nats", THOUSANDS, 1, command, least=10_000))
    return rows


def ours(function: str, method: str) -> list[str]:
    """Returns the command that measures a function on procession."""
    return [sys.executable, "-m", "procession", MEASURE, function, method]


def _built() -> Path:
    """Returns where cargo puts what is built for the benchmarks."""
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"


def rust_scenarios() -> list[Scenario]:
    """Returns the scenarios of the Rust face, against its peers."""
    return [
        _rust_scenario("start-join", "forkserver", MICROSECONDS, 6.0, "procspawn"),
        _rust_scenario("start-join", "spawn", MICROSECONDS, 1.0, "procspawn"),
        _rust_scenario("pool-roundtrip", "forkserver", MICROSECONDS, 5.0, "procspawn"),
        # The one goal that is a rate and not a ratio, in tasks a second.
        _rust_scenario(
            "pool-map-tiny", "forkserver", THOUSANDS, 1.0, "procspawn", least=500_000
        ),
        _rust_scenario("queue-1p1c", "forkserver", THOUSANDS, 3.0, "ipc-channel"),
    ]


def _rust_scenario(
    name: str,
    method: str,
    unit: tuple[str, float],
    goal: float,
    peer: str,
    least: float | None = None,
) -> Scenario:
    built = _built()
    commands = {
        peer: [str(built / f"bench-{peer}"), name],
        "procession": [str(built / "bench-procession"), name, method],
    }
    return Scenario(name, f"{RUST} {method}", unit, goal, commands, least=least)
