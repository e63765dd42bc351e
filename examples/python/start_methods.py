"""The three start methods, with the pids that parent and child see.

`fork` copies the main process and `spawn` starts a fresh one: both are its
children in the eyes of the operating system too. `forkserver` asks a server to
fork, so that there the operating system names the server as the parent;
`parent_process` names the process that asked, under every method.
"""

import multiprocessing
import os


def report(answers) -> None:
    """Tells who this process is and who its parents are."""
    answers.put((os.getpid(), multiprocessing.parent_process().pid, os.getppid()))


if __name__ == "__main__":
    print(f"main: pid {os.getpid()}")
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        answers = context.SimpleQueue()
        process = context.Process(target=report, args=(answers,))
        process.start()
        pid, parent, system_parent = answers.get()
        process.join()
        print(f"{method}: pid {pid}, started by {parent}, child of {system_parent}")
        if pid != process.pid:
            print(f"{method}: the parent knows it as {process.pid}")
