"""How many CPUs this process may use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

__all__ = ["usable_cpus"]


def usable_cpus() -> int:
    """Returns the least of the machine's CPUs, the affinity mask and the cgroup quota."""
    counts = [os.cpu_count() or 1, len(os.sched_getaffinity(0))]
    quota = _cgroup_quota()
    if quota is not None:
        counts.append(quota)
    return max(1, min(counts))


def _cgroup_quota() -> int | None:
    """Returns the CPUs that the control groups above us grant, rounded up."""
    try:
        with open("/proc/self/cgroup", encoding="ascii", errors="replace") as file:
            lines = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        return None
    quotas = []
    for _, controllers, path in (line for line in lines if len(line) == 3):
        if not controllers:
            quotas += _quotas("/sys/fs/cgroup", path, _read_v2)
        elif "cpu" in controllers.split(","):
            quotas += _quotas("/sys/fs/cgroup/cpu", path, _read_v1)
    return min(quotas, default=None)


def _quotas(
    root: str, path: str, read: Callable[[str], int | None]
) -> Iterator[int]:
    """Returns the quotas of a group and of all groups above it."""
    path = path.rstrip("/")
    while True:
        quota = read(root + path)
        if quota is not None:
            yield quota
        if not path:
            return
        path = path.rpartition("/")[0]


def _read_v2(directory: str) -> int | None:
    try:
        with open(f"{directory}/cpu.max", encoding="ascii") as file:
            quota, period = file.read().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else -(-int(quota) // int(period))


def _read_v1(directory: str) -> int | None:
    try:
        with open(f"{directory}/cpu.cfs_quota_us", encoding="ascii") as file:
            quota = int(file.read())
        with open(f"{directory}/cpu.cfs_period_us", encoding="ascii") as file:
            period = int(file.read())
    except (OSError, ValueError):
        return None
    return None if quota <= 0 else -(-quota // period)
