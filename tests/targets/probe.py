"""Tries each feature once, and tells what became of it: a program for odd surroundings.

    probe.py METHODS [CALL ERRNO]

A line of JSON for each feature: the start method, its name, and the error if there was
one. The last line says that the program came to its end, where a daemon is left over to
be ended by the exit.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import procession as mp
import seccomp
from procession.connection import wait

# Seconds after which something that must come has not.
PATIENCE = 20


def nothing() -> None:
    pass


def leave(code) -> None:
    sys.exit(code)


def put_pid(queue) -> None:
    queue.put(os.getpid())


def double(x):
    return 2 * x


def hold(ready) -> None:
    ready.set()
    time.sleep(3600)


def count(lock, value) -> None:
    for _ in range(50):
        with lock:
            value.value += 1


def talk(connection) -> None:
    connection.send(connection.recv() + 1)
    connection.send(b"x" * 300_000)
    connection.close()


def run(ctx, target, *args, **kwargs) -> int:
    """Runs a child to its end; returns its exit code."""
    process = ctx.Process(target=target, args=args, **kwargs)
    process.start()
    process.join(PATIENCE)
    return process.exitcode


def held(ctx, **kwargs):
    """Returns a child that waits to be ended."""
    ready = ctx.Event()
    process = ctx.Process(target=hold, args=(ready,), **kwargs)
    process.start()
    assert ready.wait(PATIENCE)
    return process


def exitcode(ctx) -> None:
    assert run(ctx, nothing) == 0
    assert run(ctx, leave, 7) == 7


def end(ctx) -> None:
    process = held(ctx)
    assert process.is_alive()
    process.terminate()
    process.join(PATIENCE)
    assert process.exitcode == -signal.SIGTERM
    process = held(ctx, daemon=True)
    process.kill()
    process.join(PATIENCE)
    assert process.exitcode == -signal.SIGKILL


def queue(ctx) -> None:
    queue = ctx.Queue()
    process = ctx.Process(target=put_pid, args=(queue,))
    process.start()
    assert queue.get(timeout=PATIENCE) == process.pid
    process.join(PATIENCE)


def pipe(ctx) -> None:
    ours, theirs = ctx.Pipe()
    process = ctx.Process(target=talk, args=(theirs,))
    process.start()
    theirs.close()
    ours.send(1)
    assert ours.recv() == 2
    assert len(ours.recv()) == 300_000
    process.join(PATIENCE)


def lock(ctx) -> None:
    lock, value = ctx.Lock(), ctx.Value("i", 0, lock=False)
    processes = [ctx.Process(target=count, args=(lock, value)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE)
    assert value.value == 100


def pool(ctx) -> None:
    with ctx.Pool(2) as pool:
        assert pool.map(double, range(20)) == [2 * x for x in range(20)]


def several(ctx) -> None:
    processes = [ctx.Process(target=nothing) for _ in range(2)]
    for process in processes:
        process.start()
    left = {process.sentinel for process in processes}
    while left:
        ended = wait(left, PATIENCE)
        assert ended
        left.difference_update(ended)
    for process in processes:
        process.join(PATIENCE)
    queue = ctx.Queue()
    queue.put(1)
    assert wait([queue._reader], PATIENCE)


FEATURES = (exitcode, end, queue, pipe, lock, pool, several)


def main(methods: str, call: str | None = None, error: str = "0") -> None:
    if call is not None:
        seccomp.deny(call, int(error))
    for method in methods.split(","):
        ctx = mp.get_context(method)
        for feature in FEATURES:
            told = None
            try:
                feature(ctx)
            except Exception as raised:
                told = f"{type(raised).__name__}: {raised}"
            print(json.dumps([method, feature.__name__, told]), flush=True)
        try:
            held(ctx, daemon=True)
        except OSError:
            pass  # It was told above.
    print(json.dumps("end"), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
