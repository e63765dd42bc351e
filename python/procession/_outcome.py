"""How a process or a task ended, as bytes: a value, or an exception with its traceback.

Both ends live here: what a child leaves, and what its parent makes of it. An exception
is pickled by itself and never unpickled unguarded, because one that cannot be rebuilt
must not take away the result of anybody else.
"""

from __future__ import annotations

from . import _procession, reduction
from ._errors import RemoteError, RemoteTraceback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["leave_error", "leave_value", "open", "pack_error", "rebuild_exc"]


def leave_value(value: object) -> None:
    """Leaves what `run` returned for the parent; None needs no trace."""
    if value is None:
        return
    try:
        _procession.leave_outcome((True, value))
    except Exception as error:
        # Nobody may ever ask for the value: it must not make the process fail.
        _procession.leave_outcome((False, pack_error(error)))


def leave_error(error: BaseException) -> str:
    """Leaves an exception for the parent; returns the text of its traceback."""
    packed = pack_error(error)
    try:
        _procession.leave_outcome((False, packed))
    except Exception:
        pass
    return packed[3]


def pack_error(error: BaseException) -> tuple[bytes | None, str, str, str]:
    """Returns an exception as data that always crosses: pickle, type, message, traceback."""
    # Not at the top: most processes end without an error.
    import traceback

    text = "".join(traceback.format_exception(error))
    try:
        pickled: bytes | None = bytes(reduction.dumps(error))
    except Exception:
        pickled = None
    kind = type(error)
    name = kind.__qualname__
    if kind.__module__ != "builtins":
        name = f"{kind.__module__}.{name}"
    try:
        message = str(error)
    except Exception:
        message = "<its message cannot be told>"
    return pickled, name, message, text


def open(outcome: tuple[bool, Any]) -> Any:
    """Returns the value of an outcome, or raises its exception."""
    succeeded, content = outcome
    if succeeded:
        return content
    raise unpack_error(content)


def unpack_error(packed: tuple[bytes | None, str, str, str]) -> BaseException:
    """Returns the exception that was packed, with its traceback as the cause."""
    pickled, type_name, message, text = packed
    error: Any = None
    if pickled is not None:
        try:
            error = reduction.loads(pickled)
        except Exception as problem:
            if _procession.is_interrupt(problem):
                raise
            error = None
    if not isinstance(error, BaseException):
        error = RemoteError(type_name, message, text)
    return rebuild_exc(error, text)


def rebuild_exc(exc: BaseException, tb: str) -> BaseException:
    """Gives an exception the text of its traceback in the other process as its cause."""
    exc.__cause__ = RemoteTraceback(f'\n"""\n{tb}"""')
    return exc
