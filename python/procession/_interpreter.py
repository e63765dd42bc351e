"""Why the package cannot be imported by an interpreter that is not the process's main one.

A process has one place in the family, one set of locks that it holds, one mapping of
the memory. Each interpreter beside the main one (PEP 734) has its own copy of the
module's state, and would take all of these for its own.
"""

from __future__ import annotations

__all__ = ["explain"]

_REFUSAL = (
    "procession can be imported by the main interpreter of a process only, and this is a"
    " subinterpreter: use it there and hand results in (concurrent.interpreters has queues"
    " for that), or use processes in the place of subinterpreters"
)


def explain(error: ImportError) -> None:
    """Raises a clearer error than that of the native module, if this is why it came."""
    if "interpreter" in str(error):
        raise ImportError(_REFUSAL) from error
