"""Programs that use a cluster, on a machine of their own: `python clients.py NAME ARGUMENT...`."""

import contextlib
import pickle
import sys

import errands
import procession
from procession.distributed import EngineUnavailable


def hold() -> None:
    """Holds a lock that it is given, until it is told to release it; says what came of it."""
    key, lock = pickle.load(sys.stdin.buffer)
    procession.current_process().authkey = key
    lock = pickle.loads(lock)
    lock.acquire()
    print("held", flush=True)
    sys.stdin.buffer.readline()
    try:
        lock.release()
    except EngineUnavailable:
        print("unavailable", flush=True)
    sys.stdin.buffer.readline()
    while True:
        # The system may have looked for the other machine just before it could be found.
        with contextlib.suppress(EngineUnavailable), lock:
            print("held anew", flush=True)
            return


def run(url: str, ledger: str, *stuck_on: str) -> None:
    """Runs tasks that come to no end, and says by what errors they end."""
    with procession.get_context(url).Pool() as pool:
        calls = [(ledger, number, stuck_on) for number in range(6)]
        errors = pool.starmap(errands.run, calls, 1, on_error="collect")
        print(*(type(error).__name__ for error in errors))


def wait(url: str, ledger: str) -> None:
    """Runs two tasks that wait for what never comes."""
    context = procession.get_context(url)
    with context.Pool(2) as pool:
        calls = [(ledger, number, context.Event()) for number in range(2)]
        pool.starmap(errands.wait_for, calls, chunksize=1)


if __name__ == "__main__":
    {"hold": hold, "run": run, "wait": wait}[sys.argv[1]](*sys.argv[2:])
