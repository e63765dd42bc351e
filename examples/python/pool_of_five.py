"""A pool of five workers greets fifteen names.

`map` shares the names out among the workers and returns the greetings in the
order of the names, whoever made them.
"""

import multiprocessing
import os

NAMES = [
    "Ada",
    "Alan",
    "Barbara",
    "Dennis",
    "Donald",
    "Edsger",
    "Frances",
    "Grace",
    "Hedy",
    "John",
    "Katherine",
    "Ken",
    "Leslie",
    "Margaret",
    "Radia",
]


def greet(name: str) -> tuple[str, int]:
    """Returns a greeting and the pid of the worker that made it."""
    return f"hello, {name}", os.getpid()


if __name__ == "__main__":
    with multiprocessing.Pool(5) as pool:
        greetings = pool.map(greet, NAMES)
    for greeting, _ in greetings:
        print(greeting)
    pids = {pid for _, pid in greetings}
    print(
        f"{len(NAMES)} names, no more than 5 workers: {'yes' if len(pids) <= 5 else 'no'}"
    )
    print(f"the main process greeted nobody: {'no' if os.getpid() in pids else 'yes'}")
