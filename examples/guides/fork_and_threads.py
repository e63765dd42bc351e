"""A program with threads: its children come from a server that has none."""

import threading

import procession

lock = threading.Lock()


def work_under_lock(number: int) -> int:
    """Takes a lock that a thread of the parent holds while this process is started."""
    with lock:
        return number + 1


def hold_lock(held: threading.Event, done: threading.Event) -> None:
    with lock:
        held.set()
        done.wait()


if __name__ == "__main__":
    held, done = threading.Event(), threading.Event()
    thread = threading.Thread(target=hold_lock, args=(held, done))
    thread.start()
    held.wait()
    # Under fork the child would have a copy of the lock, taken by a thread that it does not have.
    context = procession.get_context("forkserver")
    child = context.Process(target=work_under_lock, args=(1,))
    child.start()
    print("the child is not kept waiting:", child.result())
    done.set()
    thread.join()
