"""What this machine has: processors, free memory, a cache."""

import os
import platform
from contextlib import suppress
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")


def processors() -> int:
    """Returns how many processors this process may use."""
    return len(os.sched_getaffinity(0))


def name() -> str:
    """Returns the model of the processors, and how many this process may use."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    else:
        model = platform.machine()
    return f"{model}, {processors()} processors"


def free_memory() -> int:
    """Returns the bytes that programs can still have."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise ValueError("no MemAvailable in /proc/meminfo")


def caches() -> tuple[int, int]:
    """Returns the bytes of the largest cache that a processor has for itself, and of the one that it shares."""
    found = {2: 1 << 20, 3: 32 << 20}
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        with suppress(OSError, ValueError):  # A kernel may leave either out.
            level = int((index / "level").read_text())
            size = (index / "size").read_text().strip()
            if level in found and size.endswith("K"):
                found[level] = int(size[:-1]) << 10
    return found[2], found[3]


def resident() -> int:
    """Returns the bytes of this process that lie in memory and are its own."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE
