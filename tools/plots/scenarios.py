"""What the scenarios of the benchmarks are called in plots, and which of them the first page shows."""

from typing import Any

TITLES = {
    "start-join": "start a process and join it",
    "start-burst": "start four processes at once",
    "pool-ready": "make a pool, get one result",
    "map-tiny": "map of tiny tasks, one by one",
    "map-default": "map of tiny tasks, in chunks",
    "imap-tiny": "imap_unordered of tiny tasks",
    "apply-roundtrip": "one call of a pool and its result",
    "executor-map": "an executor's map of tiny tasks",
    "executor-roundtrip": "submit one task, get its result",
    "await-tasks": "10,000 awaited calls",
    "array-in-80MB": "send a worker an 80 MB array",
    "array-out-80MB": "get an 80 MB array from a worker",
    "queue-1p1c": "queue, one process to another",
    "queue-4p4c": "queue, four processes to four",
    "pipe-roundtrip": "pipe, a number there and back",
    "pipe-16MiB": "pipe, messages of 16 MiB",
    "manager-dict": "set and get in a manager's dict",
    "lock-uncontended": "take a lock that is free",
    "lock-contended": "take a lock that two want",
    "start-100": "start a hundred, join them",
    "alive-1000": "start one beside a thousand",
    "import-pool": "import, make a pool, one result",
    "pool-32": "a pool of 32, from start to end",
    "pool-500": "a pool of 500, from start to end",
    "idle-memory": "memory of an idle pool of eight",
    "map-tiny-32": "map of tiny tasks, 32 workers",
    "map-renewed": "map, ten tasks for each worker",
    "map-bound-8MB": "map of a function with 8 MB",
    "results-dicts": "get lists of 20,000 dicts",
    "queue-1p8c": "queue, one process to eight",
    "queue-3p20c": "queue, three processes to twenty",
    "pipe-lockstep": "pipes, two environments in step",
    "value-increment": "add one to a shared value",
    "event-pingpong": "two in turn, by events",
    "condition-pingpong": "two in turn, by a condition",
    "pool-roundtrip": "one call of a pool and its result",
    "pool-map-tiny": "map of tiny tasks",
}

# Those of the first page, under this start method.
FIRST = [
    "array-out-80MB",
    "apply-roundtrip",
    "imap-tiny",
    "map-tiny",
    "pipe-16MiB",
    "manager-dict",
    "start-join",
    "queue-1p1c",
    "lock-contended",
    "pipe-roundtrip",
]


def ratios(speed: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Returns how many times faster than the standard library each scenario is, by start method."""
    found: dict[str, dict[str, float]] = {}
    for result in speed["results"]:
        if result["reference"] == "multiprocessing" and result["ratio"] is not None:
            found.setdefault(result["scenario"], {})[result["method"]] = result["ratio"]
    return found


def first(speed: dict[str, Any]) -> list[tuple[str, float]]:
    """Returns the titles and ratios of the first page, the largest first.

    Of the start methods, each has the one with the least to gain.
    """
    found = ratios(speed)
    rows = [
        (TITLES[name], min(found[name].values())) for name in FIRST if name in found
    ]
    return sorted(rows, key=lambda row: -row[1])


def machine(speed: dict[str, Any]) -> str:
    """Returns on what it was measured, in one line."""
    facts = speed["machine"]
    return f"{facts['python']}, {facts['machine']}, {facts['date']}"
