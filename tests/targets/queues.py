"""What the processes of test_queues.py do."""

import queue as empty_and_full
from collections.abc import Iterable

from library import PATIENCE


def put_all(queue, items: Iterable) -> None:
    for item in items:
        queue.put(item)


def put_numbered(queue, producer: int, count: int) -> None:
    for number in range(count):
        queue.put((producer, number))


def get_and_put_back(requests, answers) -> None:
    """Echoes until `None` comes."""
    while (item := requests.get()) is not None:
        answers.put(item)


def get_until_none(queue, results) -> None:
    """Puts a list of all that it got; each `None` ends one consumer."""
    got = []
    while (item := queue.get()) is not None:
        got.append(item)
    results.put(got)


def put_and_get(queue, item: object) -> None:
    queue.put(item)
    assert queue.get(timeout=PATIENCE) == item


def get_and_release(queue, semaphore) -> None:
    """Gets one item, and says that it did."""
    queue.get(timeout=PATIENCE)
    semaphore.release()


def put_and_release(queue, item: object, semaphore) -> None:
    """Puts one item, and says that it did."""
    queue.put(item, timeout=PATIENCE)
    semaphore.release()


def attempt(queue, method: str, *args: object) -> str:
    """Calls a method, and returns the name of the error that it raised."""
    try:
        getattr(queue, method)(*args)
    except (empty_and_full.Empty, empty_and_full.Full) as error:
        return type(error).__name__
    return "no error"


def do_tasks(tasks, done) -> None:
    """Counts tasks, each before it is called done, until `None` comes."""
    while (task := tasks.get()) is not None:
        done.put(task)
        tasks.task_done()
    tasks.task_done()
