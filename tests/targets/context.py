"""What the processes of test_context.py do."""

from library import multiprocessing


def start_method() -> str:
    """Returns the start method that a process has inherited."""
    return multiprocessing.get_start_method()
