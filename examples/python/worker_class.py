"""A worker class: a process that takes tasks from a queue until told to stop.

Three workers share one queue of tasks. `None` in the queue means that there is
no more to do: one is needed for each worker. Who does which task is up to
them, so the answers are sorted before they are shown.
"""

from multiprocessing import Process, Queue


class Squarer(Process):
    """Takes numbers from `tasks` and puts (number, square) into `answers`."""

    def __init__(self, number: int, tasks: Queue, answers: Queue) -> None:
        super().__init__(name=f"squarer {number}")
        self.tasks = tasks
        self.answers = answers

    def run(self) -> None:
        while (number := self.tasks.get()) is not None:
            self.answers.put((number, number * number))


if __name__ == "__main__":
    tasks: Queue = Queue()
    answers: Queue = Queue()
    workers = [Squarer(number, tasks, answers) for number in range(1, 4)]
    for worker in workers:
        worker.start()
    for number in range(1, 10):
        tasks.put(number)
    for _ in workers:
        tasks.put(None)
    for number, square in sorted(answers.get() for _ in range(9)):
        print(f"{number} squared is {square}")
    for worker in workers:
        worker.join()
        print(f"{worker.name} ended with exit code {worker.exitcode}")
