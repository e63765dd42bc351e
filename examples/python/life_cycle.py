"""The life of a process: new, running, blocked, terminated; and every way to end.

A process can return, fail, exit, be terminated, be killed, or be asked to stop.
The exit code tells which: 0 for a return, 1 for an error, the code of an exit,
and -N for the signal N that ended it.

`Process.state` and `Process.request_stop` are procession's own. Under the
standard library their parts are skipped, and the output says so.
"""

import multiprocessing
import sys
import time


def returns() -> None:
    """Ends by returning."""


def fails() -> None:
    """Ends by an error; its traceback goes to stderr."""
    raise ValueError("nobody catches this")


def exits() -> None:
    """Ends by an exit with a code of its own."""
    sys.exit(3)


def waits(ready, forever) -> None:
    """Ends only if somebody ends it: nobody ever sets `forever`."""
    ready.set()
    forever.wait()


def works_until_flag(ready, stop) -> None:
    """Ends when the flag that it shares with its parent is set."""
    ready.set()
    while not stop.is_set():
        time.sleep(0.01)  # The work.


def works_until_asked(ready) -> None:
    """Ends when its own stop flag, which every process has, is set."""
    ready.set()
    while not multiprocessing.current_process().stop_requested:
        time.sleep(0.01)  # The work.


def yes_or_no(answer: bool) -> str:
    return "yes" if answer else "no"


def show_stages() -> None:
    """Follows one process from new to terminated."""
    ready, go = multiprocessing.Event(), multiprocessing.Event()
    process = multiprocessing.Process(target=waits, args=(ready, go))
    show(process, "new")
    process.start()
    ready.wait()
    show(process, "started")
    go.set()
    process.join()
    show(process, "ended")


def show(process: multiprocessing.Process, stage: str) -> None:
    """Prints what can be told about a process from outside."""
    code = "none" if process.exitcode is None else process.exitcode
    print(
        f"{stage}: has a pid {yes_or_no(process.pid is not None)}, "
        f"alive {yes_or_no(process.is_alive())}, exit code {code}"
    )


def show_states() -> None:
    """Follows one process through the states that the operating system sees."""
    if not hasattr(multiprocessing.Process, "state"):
        print("states: skipped, Process.state is procession's own")
        return
    ready, go = multiprocessing.Event(), multiprocessing.Event()
    process = multiprocessing.Process(target=waits, args=(ready, go))
    seen = [process.state]
    process.start()
    ready.wait()
    # It is on its way from `ready` to `forever`.
    while (state := process.state) != "blocked":
        time.sleep(0.001)
    seen.append(state)
    go.set()
    process.join()
    seen.append(process.state)
    print(f"states: {', '.join(str(state) for state in seen)}")


def show_endings() -> None:
    """Ends a process in each of the six ways, and shows its exit code."""
    for target in (returns, fails, exits):
        process = multiprocessing.Process(target=target)
        process.start()
        process.join()
        print(f"{target.__name__}: exit code {process.exitcode}")

    for end in ("terminate", "kill"):
        ready, forever = multiprocessing.Event(), multiprocessing.Event()
        process = multiprocessing.Process(target=waits, args=(ready, forever))
        process.start()
        ready.wait()
        getattr(process, end)()
        process.join()
        print(f"{end}: exit code {process.exitcode}")

    ready, stop = multiprocessing.Event(), multiprocessing.Event()
    process = multiprocessing.Process(target=works_until_flag, args=(ready, stop))
    process.start()
    ready.wait()
    stop.set()
    process.join()
    print(f"stop flag of ours: exit code {process.exitcode}")


def show_request_stop() -> None:
    """Asks a process to stop by the flag that each has from birth."""
    if not hasattr(multiprocessing.Process, "request_stop"):
        print("request stop: skipped, Process.request_stop is procession's own")
        return
    ready = multiprocessing.Event()
    process = multiprocessing.Process(target=works_until_asked, args=(ready,))
    process.start()
    ready.wait()
    process.request_stop()
    process.join()
    print(f"request stop: exit code {process.exitcode}")


if __name__ == "__main__":
    show_stages()
    show_states()
    show_endings()
    show_request_stop()
