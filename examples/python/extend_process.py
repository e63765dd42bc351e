"""Extends Process: a class whose `run` is what the child does.

`start` makes the new process, which calls `run` and ends when `run` returns.
`join` waits for that end.
"""

import multiprocessing


class Greeter(multiprocessing.Process):
    """Says hello from a process of its own."""

    def run(self) -> None:
        print("hello from the child", flush=True)


if __name__ == "__main__":
    greeter = Greeter()
    print("hello from the main process")
    greeter.start()
    greeter.join()
    print(f"the child ended with exit code {greeter.exitcode}")
