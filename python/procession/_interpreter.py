"""Why the package cannot be imported by an interpreter that is not the process's main one.

What a process shares with others it shares once: its place in the family, the locks that
it holds, the memory that it has mapped. Interpreters beside the main one (PEP 734) have
modules of their own over all that, and would each take it for theirs.
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
