"""Checks of numbers that callers give: a bad one is refused at the call, by its name.

A number of numpy, or of any other type that can stand for one, is as good as Python's own.
"""

from __future__ import annotations

import operator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "MOST_ITEMS",
    "MOST_PROCESSES",
    "MOST_TASKS",
    "checked_callback",
    "checked_flag",
    "checked_seconds",
    "checked_whole",
]

# As many as a sequence can have.
MOST_ITEMS = 2**63 - 1

# As many as Linux can have (PID_MAX_LIMIT).
MOST_PROCESSES = 2**22

# The engine counts the tasks of a worker in 32 bits.
MOST_TASKS = 2**32 - 1

# More seconds than the engine can count; such a time is as good as no limit.
_FOREVER = 2.0**64


def checked_whole(name: str, value: Any, most: int | None = None) -> int:
    """Returns a whole number as Python's own type.

    Args:
        name: What it is, for the error.
        value: What the caller has given.
        most: The largest that it may be.

    Raises:
        TypeError: It is none.
        ValueError: It is larger.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, not {value!r}") from None
    if most is not None and number > most:
        raise ValueError(f"{name} must be at most {most:_}, not {number:_}")
    return number


def checked_flag(name: str, value: Any) -> bool:
    """Returns a value that is True or False.

    Raises:
        TypeError: It is neither.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {value!r}")
    return value


def checked_seconds(name: str, value: Any) -> float | None:
    """Returns a time limit in seconds, or None if there is none.

    Args:
        name: What is limited, for the error.
        value: What the caller has given.

    Raises:
        ValueError: It is no time, or none that there can be.
    """
    if value is None:
        return None
    try:
        # Text would be read as a number.
        seconds = None if isinstance(value, (str, bytes, bytearray)) else float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = None
    if seconds is None or not 0 < seconds < _FOREVER:
        raise ValueError(
            f"{name} must be more than 0 seconds, or None for no limit, not {value!r}"
        )
    return seconds


def checked_callback(name: str, value: Any) -> None:
    """Raises a TypeError unless a value is None or can be called."""
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be a callable or None, not {value!r}")
