"""Starts five workers that run at the same time, each under its own name.

The name is given to `Process` and is read in the child from `current_process`.
The workers end in any order, so their reports are sorted before they are shown.
"""

import multiprocessing


def work(job: int, reports: "multiprocessing.SimpleQueue[str]") -> None:
    """Reports which worker did which job."""
    reports.put(f"{multiprocessing.current_process().name} did job {job}")


if __name__ == "__main__":
    reports: "multiprocessing.SimpleQueue[str]" = multiprocessing.SimpleQueue()
    workers = [
        multiprocessing.Process(target=work, name=f"worker {job}", args=(job, reports))
        for job in range(1, 6)
    ]
    for worker in workers:
        worker.start()
    for line in sorted(reports.get() for _ in workers):
        print(line)
    for worker in workers:
        worker.join()
        print(f"{worker.name} ended with exit code {worker.exitcode}")
