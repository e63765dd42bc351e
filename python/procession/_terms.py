"""The options of a call about its tasks: their time, tries, priority, errors, order."""

from __future__ import annotations

from ._checks import checked_flag, checked_seconds, checked_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Literal, Required, TypeAlias, TypedDict

    OnError: TypeAlias = Literal["stop", "continue", "collect"]
    # As the native pool takes them: the time limit, retries, the soft time limit, the
    # priority, what an error does to its map, and whether its tasks are dealt in a fixed
    # order of workers.
    Terms: TypeAlias = tuple[float | None, int, float | None, int, OnError, bool]

    class TaskOptions(TypedDict, total=False):
        """The options of every call of a pool."""

        timeout: float | None
        retries: int | None
        soft_timeout: float | None
        priority: int

    class MapOptions(TaskOptions, total=False):
        """The further options of maps whose errors are raised."""

        on_error: Literal["stop", "continue"]
        order_tasks: bool
        progress: bool | Mapping[str, Any]

    class CollectOptions(TaskOptions, total=False):
        """The further options of maps whose errors stand among the results."""

        on_error: Required[Literal["collect"]]
        order_tasks: bool
        progress: bool | Mapping[str, Any]


__all__ = ["make_terms"]

# The engine counts tries in 32 bits.
_MOST_RETRIES = 2**31


def make_terms(
    timeout: float | None = None,
    retries: int = 0,
    soft_timeout: float | None = None,
    priority: int = 0,
    on_error: OnError = "continue",
    order_tasks: bool = False,
) -> Terms | None:
    """Returns the terms of a call, or None if it has no options.

    Raises:
        TypeError: What is to be a whole number is none.
        ValueError: An option has a value that it cannot have.
    """
    timeout = checked_seconds("timeout", timeout)
    soft_timeout = checked_seconds("soft_timeout", soft_timeout)
    if timeout is not None and soft_timeout is not None and soft_timeout >= timeout:
        raise ValueError(
            f"soft_timeout must be less than timeout, which kills the task: "
            f"{soft_timeout!r} is not less than {timeout!r}"
        )
    retries = checked_whole("retries", retries)
    if not 0 <= retries < _MOST_RETRIES:
        raise ValueError(
            f"retries must be 0 or more, and less than 2**31, not {retries}"
        )
    priority = checked_whole("priority", priority)
    if not -(2**31) <= priority < 2**31:
        raise ValueError(
            f"priority must be a whole number between -2**31 and 2**31, not {priority!r}"
        )
    if on_error not in ("stop", "continue", "collect"):
        raise ValueError(
            f"on_error must be 'stop', 'continue' or 'collect', not {on_error!r}"
        )
    in_order = checked_flag("order_tasks", order_tasks)
    terms: Terms = timeout, retries, soft_timeout, priority, on_error, in_order
    return None if terms == (None, 0, None, 0, "continue", False) else terms
