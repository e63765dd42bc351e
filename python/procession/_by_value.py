"""Functions and classes that other processes cannot find by name: they cross by value.

Those are lambdas, functions and classes that are defined in a function, and those of a
main module that only this process has: a notebook, a prompt, `python -c`, standard
input. `cloudpickle` writes them where it is installed, and is imported with the first
of them. The rest of the message is written as ever, with the reducers of
`ForkingPickler`.

The native module asks when plain pickling has failed or has named the main module, as
its `by_value.rs` tells. So an object may be pickled twice, and its `__reduce__` be called
twice; a side effect of it then happens twice.

This module also words the notes of pickling errors: where the object is, and what to
do.
"""

from __future__ import annotations

import functools
import io
import sys
from _pickle import Pickler, PicklingError
from types import FunctionType

from . import _procession, _registry, reduction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

__all__ = [
    "WHAT_TO_DO",
    "dumps",
    "explain_call",
    "explain_inputs",
    "explain_start",
    "pickler_by_value",
    "write",
]

# The protocol of messages.
_PROTOCOL = 5

# Objects that cloudpickle could write although they are neither functions nor classes,
# nor in one: as ever, they are refused, unless their own class can pickle them.
_NOT_IN_FUNCTIONS = {"TextIOWrapper", "memoryview", "Logger", "RootLogger"}

WHAT_TO_DO = (
    "Functions and classes that other processes cannot import cross by value where"
    " cloudpickle is installed: pip install 'procession[cloudpickle]'. Without it, define"
    " them at the top of a module."
)


def write(
    obj: Any,
    sink: Any,
    take: Callable[[Any], Any],
    reader: str,
    refusal: BaseException | None,
) -> bool:
    """Pickles an object, by value where its readers cannot find a function or class.

    Args:
        obj: The object.
        sink: The file that it is written to.
        take: A function that is called with each buffer.
        reader: Who reads it: "anybody", the "worker" of a pool, or a "child" that starts.
        refusal: The error of plain pickling, if it has failed.

    Returns:
        Whether it was written; if not, what plain pickling has done stands.

    Raises:
        PicklingError: Plain pickling has named what its reader will not find.
    """
    made = pickler_by_value()
    if made is None:
        if refusal is not None:
            if _is_of_a_name(refusal):
                refusal.add_note(WHAT_TO_DO)
        elif reader != "anybody":
            # The reader may be any process; this one, which has the object, would find
            # it.
            _Seeker(io.BytesIO(), _PROTOCOL).seek(obj, reader)
        return False
    pickler = made(sink, _PROTOCOL, take)
    pickler.reader = reader
    try:
        pickler.dump(obj)
    except Exception as error:
        if _procession.is_interrupt(error):
            raise
        if refusal is not None:
            if _text(error) != _text(refusal):
                refusal.add_note(f"By value it cannot cross either: {_text(error)}")
            return False
        if pickler.lost is None or reader == "anybody":
            return False
        error.add_note(f"It was to cross by value: {_why_lost(pickler.lost, reader)}.")
        raise
    return refusal is not None or pickler.has_by_value


def dumps(obj: Any, refusal: BaseException) -> bytes:
    """Returns the pickle, by value, of an object that plain pickling has refused."""
    buffer = io.BytesIO()
    # Buffers stay inside.
    if not write(obj, buffer, lambda _: True, "anybody", refusal):
        raise refusal
    return buffer.getvalue()


# Which functions and classes cross by value.


def _is_found(obj: Any, reader: str) -> bool | None:
    """Returns whether readers find a function or class of the main module by name.

    Where the main module has no file, only forked processes can; they find what was there
    when they were forked, if it is still the same.

    Returns:
        None if some readers find it and some do not, or if there is no reader yet.
    """
    if reader == "node":
        return False  # Another machine has another main module.
    if _procession.main_has_file():
        return True
    if reader == "child":
        return False
    name, _, _ = obj.__qualname__.partition(".")
    readers: list[Any] = [*_registry.children]
    if reader == "worker":
        readers = [each for each in readers if each._pool_channel is not None]
    elif _registry.parent is not None:
        # The parent has in its main module what this process had there when it was forked.
        readers.append(_registry.current)
    now = vars(sys.modules["__main__"]).get(name)
    found = {_knows(each, name, now) for each in readers}
    return found.pop() if len(found) == 1 else None


def _knows(process: Any, name: str, now: Any) -> bool:
    known = (process._found_by_name or {}).get(name)
    return known is not None and known() is now


def _is_named(obj: Any) -> bool:
    """Returns whether plain pickling finds something by its name."""
    found: Any = sys.modules.get(obj.__module__)
    for part in obj.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is obj


def _why_lost(obj: Any, reader: str) -> str:
    """Returns why a reader does not find a function or class of the main module."""
    kind = "class" if isinstance(obj, type) else "function"
    name = (
        f"the {kind} {obj.__qualname__!r} is defined in a main module that has no file"
    )
    if reader == "worker" and any(each._found_by_name for each in _registry.children):
        return f"{name}, after the processes were forked that are to find it there"
    return f"{name}, so that no other process can import it"


class _Seeker(Pickler):
    """Looks for objects that a reader would not find; its pickle is thrown away."""

    dispatch_table = reduction.ForkingPickler.dispatch_table
    reader: str

    def seek(self, obj: Any, reader: str) -> None:
        """Raises a PicklingError that names what would not be found."""
        self.reader = reader
        self.dump(obj)

    def reducer_override(self, obj: Any) -> Any:
        if (
            isinstance(obj, reduction.WITH_NAMES)
            and obj.__module__ == "__main__"
            and _is_named(obj)
            and _is_found(obj, self.reader) is False
        ):
            error = PicklingError(
                f"Can't pickle {obj!r}: {_why_lost(obj, self.reader)}"
            )
            error.add_note(WHAT_TO_DO)
            raise error
        return NotImplemented


def pickler_by_value() -> Any:
    """Returns the class of picklers that write functions and classes by value, or None."""
    global _made
    if _made is None:
        try:
            import cloudpickle  # type: ignore[import-untyped, unused-ignore]
        except ImportError:
            return None
        _made = _make(cloudpickle.Pickler)
    return _made


_made: Any = None


def _make(base: Any) -> Any:
    ours = reduction.ForkingPickler.dispatch_table
    theirs = {
        kind: reduce
        for kind, reduce in base.dispatch_table.items()
        if kind.__name__ not in _NOT_IN_FUNCTIONS
    }

    class ByValue(base):  # type: ignore[misc]
        """Writes objects by their names where readers find them so, and by value elsewhere."""

        dispatch_table = _Tables(ours, theirs)
        reader: str
        # The first object that plain pickling would name though no reader finds it.
        lost: Any = None
        has_by_value = False

        def reducer_override(self, obj: Any) -> Any:
            if type(obj) is _CACHED:
                return self._reduce_cached(obj)
            if not isinstance(obj, (type, FunctionType)):
                return NotImplemented
            if self._stays_named(obj):
                return NotImplemented
            reduced = super().reducer_override(obj)
            if reduced is NotImplemented:
                return NotImplemented
            self.has_by_value = True
            if isinstance(obj, type):
                return _with_slots(obj, reduced)
            if getattr(obj, "__code__", None) is _DISPATCHER:
                return _reduce_dispatching(obj)
            return reduced

        def _reduce_cached(self, obj: Any) -> Any:
            # By name, as pickle does by itself, if readers find it so.
            if self._stays_named(obj) or (
                obj.__module__ != "__main__" and _is_named(obj)
            ):
                return NotImplemented
            self.has_by_value = True
            parameters = obj.cache_parameters()
            made = (parameters["maxsize"], parameters["typed"])
            # The function comes after the cache, as it may call itself, and so refer to
            # the cache.
            return _make_cached, made, obj.__wrapped__, None, None, _fill_cached

        def _stays_named(self, obj: Any) -> bool:
            """Returns whether readers find something by its name in the main module."""
            if obj.__module__ != "__main__" or not _is_named(obj):
                return False
            found = _is_found(obj, self.reader)
            if found is False and self.lost is None:
                self.lost = obj
            return bool(found)

    return ByValue


_CACHED: Any = functools._lru_cache_wrapper


def _make_cached(maxsize: int | None, typed: bool) -> Any:
    """Returns an empty cache of `functools`, for a function that comes later."""
    return functools.lru_cache(maxsize, typed)(_Later())


def _fill_cached(cached: Any, function: Any) -> None:
    cached.__wrapped__.function = function
    functools.update_wrapper(cached, function)


def _with_slots(cls: type, reduced: Any) -> Any:
    """Has a class made with the slots that it has, where cloudpickle makes one without any.

    The objects of such a class have attributes where those of the first have slots, and so
    cannot come back.
    """
    slots = vars(cls).get("__slots__")
    make, args, *rest = reduced
    # An enumeration, say, is made in another way; a named tuple gets its own slots anew.
    if (
        slots is None
        or make.__name__ != "_make_skeleton_class"
        or issubclass(cls, tuple)
    ):
        return reduced
    kind, name, bases, members, *others = args
    # An iterator that names them was read when the class was made.
    if not isinstance(slots, (str, tuple, list, dict)):
        return reduced
    return make, (kind, name, bases, {**members, "__slots__": slots}, *others), *rest


# What every function of `functools.singledispatch` runs first.
_DISPATCHER = functools.singledispatch(len).__code__  # type: ignore[attr-defined]


def _reduce_dispatching(function: Any) -> Any:
    """Takes apart a function that chooses another by the type of its argument.

    It has a cache of weak references, which cannot cross.
    """
    others = {
        kind: each for kind, each in function.registry.items() if kind is not object
    }
    state = function.__wrapped__, others
    # The dispatching function is made first, as the others may call it.
    return _make_dispatching, (), state, None, None, _fill_dispatching


def _make_dispatching() -> Any:
    """Returns a function that chooses, with nothing to choose from yet."""
    return functools.singledispatch(_Later())


def _fill_dispatching(dispatching: Any, state: tuple[Any, dict[type, Any]]) -> None:
    first, others = state
    dispatching.__wrapped__.function = first
    functools.update_wrapper(dispatching, first)
    dispatching.register(object, first)
    for kind, function in others.items():
        dispatching.register(kind, function)


class _Later:
    """Calls a function that is set later."""

    function: Callable[..., Any]

    def __call__(self, *args: Any, **kwds: Any) -> Any:
        return self.function(*args, **kwds)


class _Tables(dict["type", "Callable[[Any], Any]"]):
    """The reducers of `ForkingPickler`, which may still get more, and then those given here."""

    def __init__(self, first: Any, others: dict[type, Callable[[Any], Any]]) -> None:
        super().__init__()
        self._first = first
        self._others = others

    def __missing__(self, kind: type) -> Callable[[Any], Any]:
        try:
            reducer: Callable[[Any], Any] = self._first[kind]
        except KeyError:
            return self._others[kind]
        return reducer


# The notes of errors.


def explain_start(error: BaseException, process: Any) -> None:
    """Notes with an error which part of a process cannot be pickled."""
    _note(error, _parts_of(process), f"process {process.name!r}", "child")


def explain_call(
    error: BaseException, func: Any, args: Any, kwds: Any, name: str, reader: str
) -> None:
    """Notes with an error which part of a call in a pool cannot be pickled."""
    parts = [("the function", func), *_named("args", args), *_named("kwds", kwds)]
    _note(error, iter(parts), f"a call of {name} in a pool", reader)


def explain_inputs(
    error: BaseException,
    inputs: Any,
    first: int,
    is_chunk: bool,
    task: str,
    reader: str,
) -> None:
    """Notes with an error which input of a map cannot be pickled.

    Args:
        error: The error.
        inputs: The input, or the inputs.
        first: The place of the first one among all inputs.
        is_chunk: Whether they are several.
        task: The name of the task.
        reader: Who was to read them: "worker", or "by name only".
    """
    items = enumerate(inputs if is_chunk else [inputs], first)
    parts = ((f"input {place} (from 0)", item) for place, item in items)
    _note(error, parts, task, reader)


def _parts_of(process: Any) -> Iterator[tuple[str, Any]]:
    target, args = process._target, process._args
    if process._pool_channel is not None and len(args) >= 3:
        # Of a worker the user knows no target.
        yield "the initializer", args[1]
        yield from _named("initargs", args[2])
        return
    yield "the target", target
    yield from _named("args", args)
    yield from _named("kwargs", process._kwargs)
    for name, value in vars(process).items():
        if name not in ("_target", "_args", "_kwargs"):
            yield f"the attribute {name!r}", value


def _named(name: str, values: Any) -> list[tuple[str, Any]]:
    if isinstance(values, dict):
        return [(f"{name}[{key!r}]", value) for key, value in values.items()]
    if isinstance(values, (tuple, list)):
        return [(f"{name}[{place}]", value) for place, value in enumerate(values)]
    return [(name, values)]


def _note(
    error: BaseException, parts: Iterator[tuple[str, Any]], whole: str, reader: str
) -> None:
    """Says which part of a whole is the first that cannot be pickled.

    It is found by trying, one by one: only here, where the pickling has failed.
    """
    if not isinstance(error, Exception) or _procession.is_interrupt(error):
        return
    for what, part in parts:
        try:
            _procession.try_to_pickle(part, reader)
        except Exception as again:
            if _procession.is_interrupt(again):
                raise
            error.add_note(f"What cannot be pickled is {what} of {whole}.")
            return


def _is_of_a_name(refusal: BaseException) -> bool:
    """Returns whether pickle has looked for something by its name."""
    text = str(refusal)
    return any(
        said in text
        for said in ("local object", "lookup", "not found as", "not the same object")
    )


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
