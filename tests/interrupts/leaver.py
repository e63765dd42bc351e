"""Interrupts the end of a program at one point, in an interpreter of its own.

Usage: python leaver.py METHOD POINT

The program ends with all that can be open: a daemon, a pool, a queue with items in it. It
prints how many points its end had, unless it was interrupted.
"""

import atexit
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import operations
from points import Points


def main(method: str, at: int) -> None:
    """Leaves all of this behind, and ends."""
    # Functions run in reverse order: before procession registers its own.
    atexit.register(tell)
    import procession

    mp = procession.get_context(method)
    never = mp.Event()
    daemon = mp.Process(target=operations.wait_for, args=(never,), daemon=True)
    daemon.start()
    child = mp.Process(target=operations.nothing)
    child.start()
    pool = mp.Pool(2)
    pool.map(operations.double, range(4))
    queue = mp.Queue()
    queue.put(1)
    kept.extend([never, daemon, child, pool, queue])
    points = Points()
    kept.append(points)
    atexit.register(points.begin, at)


kept: list = []


def tell() -> None:
    """Tells how many points there were."""
    sys.setprofile(None)
    points = kept[-1]
    if points.raised is None:
        os.write(1, f"{points.count}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
