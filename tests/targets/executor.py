"""What the workers of test_executor.py do."""

import os
import signal

_note = None


def square(number: int) -> int:
    return number * number


def double(data: bytes) -> bytes:
    return data + data


def where() -> int:
    return os.getpid()


def fail(reason: str) -> None:
    raise ValueError(reason)


def kill_this() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def note(text: str) -> None:
    global _note
    _note = text


def noted() -> str | None:
    return _note
