"""Each way in which processes wait for one another.

A lock lets in one, a semaphore a few, an event waits for a signal, a condition
for a change, a barrier for everybody, and `join` for the end of a process.
"""

import multiprocessing
import multiprocessing.connection
import time


def add_under_lock(lock, total) -> None:
    """Adds to a total that has no lock of its own; without ours, sums get lost."""
    for _ in range(100):
        with lock:
            total.value += 1


def enter(semaphore, inside, peak) -> None:
    """Counts how many are inside together, and keeps the highest count."""
    with semaphore:
        with inside.get_lock():
            inside.value += 1
            peak.value = max(peak.value, inside.value)
        time.sleep(0.01)  # The work.
        with inside.get_lock():
            inside.value -= 1


def answer_event(asked, answered) -> None:
    """Waits for one event and sets another."""
    asked.wait()
    answered.set()


def count_down(condition, left) -> None:
    """Takes one off, and tells whoever waits for a change."""
    with condition:
        left.value -= 1
        condition.notify_all()


def meet(barrier, order) -> None:
    """Waits until everybody is there; each is told its place in the line."""
    order.put(barrier.wait())


def return_at_once() -> None:
    """Does nothing: its end is what is waited for."""


def start_all(target, args, count) -> list:
    """Starts several processes of one kind."""
    processes = [
        multiprocessing.Process(target=target, args=args) for _ in range(count)
    ]
    for process in processes:
        process.start()
    return processes


def join_all(processes) -> None:
    for process in processes:
        process.join()


def show_lock() -> None:
    lock, total = multiprocessing.Lock(), multiprocessing.RawValue("i", 0)
    join_all(start_all(add_under_lock, (lock, total), 3))
    print(f"lock: 3 processes added 100 each, the total is {total.value}")


def show_semaphore() -> None:
    semaphore = multiprocessing.Semaphore(2)
    inside, peak = multiprocessing.Value("i", 0), multiprocessing.RawValue("i", 0)
    join_all(start_all(enter, (semaphore, inside, peak), 4))
    print(
        f"semaphore: no more than 2 of 4 inside together: {'yes' if peak.value <= 2 else 'no'}"
    )


def show_event() -> None:
    asked, answered = multiprocessing.Event(), multiprocessing.Event()
    processes = start_all(answer_event, (asked, answered), 1)
    print(f"event: answered before asked: {'yes' if answered.is_set() else 'no'}")
    asked.set()
    print(f"event: answered after asked: {'yes' if answered.wait(30) else 'no'}")
    join_all(processes)


def show_condition() -> None:
    condition, left = multiprocessing.Condition(), multiprocessing.RawValue("i", 3)
    processes = start_all(count_down, (condition, left), 3)
    with condition:
        condition.wait_for(lambda: left.value == 0)
        print(f"condition: {left.value} left")
    join_all(processes)


def show_barrier() -> None:
    barrier, order = multiprocessing.Barrier(3), multiprocessing.SimpleQueue()
    processes = start_all(meet, (barrier, order), 3)
    print(f"barrier: all met, in the places {sorted(order.get() for _ in processes)}")
    join_all(processes)


def show_another_process() -> None:
    (process,) = start_all(return_at_once, (), 1)
    multiprocessing.connection.wait([process.sentinel])
    process.join()
    print(f"another process: ended with exit code {process.exitcode}")


if __name__ == "__main__":
    show_lock()
    show_semaphore()
    show_event()
    show_condition()
    show_barrier()
    show_another_process()
