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
    from collections.abc import Callable
    from typing import Any

__all__ = ["leave_error", "leave_value", "open", "pack_error", "rebuild_exc"]


def leave_value(value: object) -> None:
    """Leaves what `run` returned for the parent; None needs no trace."""
    if value is None:
        return
    try:
        _procession.leave_outcome((True, value))
    except Exception as error:
        # The process must not fail because of the value, which nobody may ask for.
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
        error = _loaded(reduction.loads, pickled)
        if error is None:
            error = _loaded(_load_as_it_was, pickled)
    if not isinstance(error, BaseException):
        error = RemoteError(type_name, message, text)
    return rebuild_exc(error, text)


def _loaded(load: Callable[[bytes], Any], pickled: bytes) -> Any:
    """Returns the object of a pickle, or None if it cannot be made."""
    try:
        return load(pickled)
    except Exception as problem:
        if _procession.is_interrupt(problem):
            raise
        return None


def _load_as_it_was(pickled: bytes) -> Any:
    """Returns an exception whose class cannot be called with its `args`.

    Pickle calls it so, which fails where the class takes other arguments than it hands on to
    `Exception`. All that it had is in the pickle: its `args` and its attributes.
    """
    # Not at the top: few programs have such an exception.
    import io
    import pickle

    base: Any = pickle._Unpickler

    class AsItWas(base):  # type: ignore[misc]
        def load_reduce(self) -> None:
            args = self.stack.pop()
            func = self.stack[-1]
            try:
                self.stack[-1] = func(*args)
            except Exception:
                if not isinstance(func, type) or not issubclass(func, BaseException):
                    raise
                self.stack[-1] = func.__new__(func, *args)

        dispatch = {**base.dispatch, pickle.REDUCE[0]: load_reduce}  # noqa: RUF012

    return AsItWas(io.BytesIO(pickled)).load()


def rebuild_exc(exc: BaseException, tb: str) -> BaseException:
    """Gives an exception the text of its traceback in the other process as its cause."""
    exc.__cause__ = RemoteTraceback(f'\n"""\n{tb}"""')
    return exc
