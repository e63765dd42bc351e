"""Doubles numbers, each in a process that tells its name.

A process that is given no name is called Process-N, where N counts the
processes made so far; the last one is named by us.
"""

from multiprocessing import Process, SimpleQueue, current_process


def doubler(number: int, results: SimpleQueue) -> None:
    """Doubles a number and says who did it."""
    results.put((number, number * 2, current_process().name))


if __name__ == "__main__":
    results: SimpleQueue = SimpleQueue()
    numbers = [5, 10, 15, 20, 25]
    processes = [Process(target=doubler, args=(number, results)) for number in numbers]
    processes.append(Process(target=doubler, name="Test", args=(2, results)))

    for process in processes:
        process.start()
    for number, doubled, name in sorted(results.get() for _ in processes):
        print(f"{number} doubled to {doubled} by {name}")
    for process in processes:
        process.join()
