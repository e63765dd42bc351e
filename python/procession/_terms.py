"""The options of a call about its tasks: their time, tries, priority, and errors."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Literal, Required, TypeAlias, TypedDict

    OnError: TypeAlias = Literal["stop", "continue", "collect"]
    # As the native pool takes them: the time limit, retries, the soft time limit, the
    # priority, and what an error does to its map.
    Terms: TypeAlias = tuple[float | None, int, float | None, int, OnError]

    class TaskOptions(TypedDict, total=False):
        """What every call of a pool takes by name."""

        timeout: float | None
        retries: int | None
        soft_timeout: float | None
        priority: int

    class MapOptions(TaskOptions, total=False):
        """What maps take, too, if an error is raised."""

        on_error: Literal["stop", "continue"]
        progress: bool | Mapping[str, Any]

    class CollectOptions(TaskOptions, total=False):
        """What maps take, too, if errors stand among the results."""

        on_error: Required[Literal["collect"]]
        progress: bool | Mapping[str, Any]


__all__ = ["make_terms"]


def make_terms(
    timeout: float | None = None,
    retries: int = 0,
    soft_timeout: float | None = None,
    priority: int = 0,
    on_error: OnError = "continue",
) -> Terms | None:
    """Returns the terms of a call, or None if it has no options.

    Raises:
        ValueError: An option has a value that it cannot have.
    """
    for name, limit in (("timeout", timeout), ("soft_timeout", soft_timeout)):
        if limit is not None and not limit > 0:
            raise ValueError(f"{name} must be more than 0 seconds, not {limit!r}")
    if timeout is not None and soft_timeout is not None and soft_timeout >= timeout:
        raise ValueError(
            f"soft_timeout must be less than timeout, which kills the task: "
            f"{soft_timeout!r} is not less than {timeout!r}"
        )
    if not isinstance(retries, int) or retries < 0:
        raise ValueError(f"retries must be 0 or more, not {retries!r}")
    if not isinstance(priority, int) or not -(2**31) <= priority < 2**31:
        raise ValueError(
            f"priority must be a whole number between -2**31 and 2**31, not {priority!r}"
        )
    if on_error not in ("stop", "continue", "collect"):
        raise ValueError(
            f"on_error must be 'stop', 'continue' or 'collect', not {on_error!r}"
        )
    terms: Terms = timeout, retries, soft_timeout, priority, on_error
    return None if terms == (None, 0, None, 0, "continue") else terms
