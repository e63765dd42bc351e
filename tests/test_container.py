"""A program that is all there is in its container: its process 1, and nobody's child.

There, ids of group and session are 0, nobody adopts orphans but the program, and a
signal that it does not handle is not delivered to it.
"""

import subprocess

import pytest
import script

# Needs no privilege where user namespaces are allowed.
CONTAINER = "unshare --user --map-root-user --pid --fork --kill-child --mount-proc"

PROGRAM = """
import multiprocessing
import os

def double(number):
    return number * 2

def tell(queue):
    queue.put(multiprocessing.current_process().name)

if __name__ == "__main__":
    print(os.getpid(), os.getpgrp(), os.getsid(0))
    queue = multiprocessing.Queue()
    for name in ("a", "b"):
        process = multiprocessing.Process(target=tell, args=(queue,), name=name)
        process.start()
        process.join()
        print(queue.get(), process.exitcode)
    with multiprocessing.Pool(2) as pool:
        print(pool.map(double, range(3)))
        pool._pool[0].kill()
        pool._pool[0].join()
        print(pool.map(double, range(3)))
"""


@pytest.fixture(scope="session")
def container() -> list[str]:
    command = CONTAINER.split()
    try:
        subprocess.run([*command, "true"], check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"this machine makes no containers: {error}")
    return command


@pytest.mark.procession_only("there a pool hangs whose worker is killed")
def test_a_program_may_be_process_1(program, container, tmp_path) -> None:
    command = [*container, *program.command(PROGRAM)]
    assert script.run(command, cwd=tmp_path) == (
        0,
        "1 0 0\na 0\nb 0\n[0, 2, 4]\n[0, 2, 4]\n",
        "",
    )
