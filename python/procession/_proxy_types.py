"""The proxies of what `SyncManager` makes.

Most classes are made of the names of their methods alone. The others do in the client
what a server cannot do, such as calling a predicate. As in `multiprocessing.managers`,
where all this is re-exported.
"""

from __future__ import annotations

from collections.abc import MutableMapping, MutableSequence, MutableSet
from types import GenericAlias
from typing import Any, ClassVar, Self

from ._predicates import WaitsForPredicate
from ._proxies import BaseProxy, MakeProxyType

__all__ = [
    "AcquirerProxy",
    "ArrayProxy",
    "BarrierProxy",
    "BaseListProxy",
    "BasePoolProxy",
    "ConditionProxy",
    "DictProxy",
    "EventProxy",
    "IteratorProxy",
    "ListProxy",
    "NamespaceProxy",
    "PoolProxy",
    "SetProxy",
    "ValueProxy",
]


class IteratorProxy(BaseProxy):
    """A proxy of an iterator or a generator."""

    __module__ = "procession.managers"
    _exposed_ = ("__next__", "send", "throw", "close")

    def __iter__(self) -> Self:
        return self

    def __next__(self, *args: Any) -> Any:
        return self._callmethod("__next__", args)

    def send(self, *args: Any) -> Any:
        """As of a generator."""
        return self._callmethod("send", args)

    def throw(self, *args: Any) -> Any:
        """As of a generator."""
        return self._callmethod("throw", args)

    def close(self, *args: Any) -> Any:
        """As of a generator."""
        return self._callmethod("close", args)


class AcquirerProxy(BaseProxy):
    """A proxy of a lock or a semaphore."""

    __module__ = "procession.managers"
    _exposed_: tuple[str, ...] = ("acquire", "release", "locked")

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> Any:
        """Takes it."""
        args = (blocking,) if timeout is None else (blocking, timeout)
        return self._callmethod("acquire", args)

    def release(self) -> Any:
        """Gives it back."""
        return self._callmethod("release")

    def locked(self) -> Any:
        """Returns whether it is taken, if the object in the server has such a method.

        `threading.Lock` can; the other classes of `threading` can from Python 3.14 on.
        """
        return self._callmethod("locked")

    def __enter__(self) -> Any:
        return self._callmethod("acquire")

    def __exit__(self, *args: object) -> Any:
        return self._callmethod("release")


class ConditionProxy(WaitsForPredicate, AcquirerProxy):
    """A proxy of a condition variable."""

    __module__ = "procession.managers"
    _exposed_ = ("acquire", "release", "locked", "wait", "notify", "notify_all")

    def wait(self, timeout: float | None = None) -> Any:
        """Waits to be notified."""
        return self._callmethod("wait", (timeout,))

    def notify(self, n: int = 1) -> Any:
        """Wakes up to `n` of those that wait."""
        return self._callmethod("notify", (n,))

    def notify_all(self) -> Any:
        """Wakes all that wait."""
        return self._callmethod("notify_all")


class EventProxy(BaseProxy):
    """A proxy of an event."""

    __module__ = "procession.managers"
    _exposed_ = ("is_set", "set", "clear", "wait")

    def is_set(self) -> Any:
        """Returns whether it is set."""
        return self._callmethod("is_set")

    def set(self) -> Any:
        """Sets it."""
        return self._callmethod("set")

    def clear(self) -> Any:
        """Clears it."""
        return self._callmethod("clear")

    def wait(self, timeout: float | None = None) -> Any:
        """Waits until it is set."""
        return self._callmethod("wait", (timeout,))


class BarrierProxy(BaseProxy):
    """A proxy of a barrier."""

    __module__ = "procession.managers"
    _exposed_ = ("__getattribute__", "wait", "abort", "reset")

    def wait(self, timeout: float | None = None) -> Any:
        """Waits for the others."""
        return self._callmethod("wait", (timeout,))

    def abort(self) -> Any:
        """Breaks it."""
        return self._callmethod("abort")

    def reset(self) -> Any:
        """Makes it as new."""
        return self._callmethod("reset")

    @property
    def parties(self) -> Any:
        """How many have to come."""
        return self._callmethod("__getattribute__", ("parties",))

    @property
    def n_waiting(self) -> Any:
        """How many are waiting."""
        return self._callmethod("__getattribute__", ("n_waiting",))

    @property
    def broken(self) -> Any:
        """Whether it is broken."""
        return self._callmethod("__getattribute__", ("broken",))


class NamespaceProxy(BaseProxy):
    """A proxy of a namespace: its attributes are the object's."""

    __module__ = "procession.managers"
    _exposed_ = ("__getattribute__", "__setattr__", "__delattr__")

    def __getattr__(self, key: str) -> Any:
        if key.startswith("_"):
            return object.__getattribute__(self, key)
        return object.__getattribute__(self, "_callmethod")("__getattribute__", (key,))

    def __setattr__(self, key: str, value: Any) -> None:
        if key.startswith("_"):
            object.__setattr__(self, key, value)
        else:
            self._callmethod("__setattr__", (key, value))

    def __delattr__(self, key: str) -> None:
        if key.startswith("_"):
            object.__delattr__(self, key)
        else:
            self._callmethod("__delattr__", (key,))


class ValueProxy(BaseProxy):
    """A proxy of a value."""

    __module__ = "procession.managers"
    _exposed_ = ("get", "set")

    def get(self) -> Any:
        """Returns the value."""
        return self._callmethod("get")

    def set(self, value: Any) -> Any:
        """Changes the value."""
        return self._callmethod("set", (value,))

    value = property(get, set)

    __class_getitem__: ClassVar[Any] = classmethod(GenericAlias)


BaseListProxy = MakeProxyType(
    "BaseListProxy",
    (
        "__add__",
        "__contains__",
        "__delitem__",
        "__getitem__",
        "__imul__",
        "__len__",
        "__mul__",
        "__reversed__",
        "__rmul__",
        "__setitem__",
        "append",
        "clear",
        "copy",
        "count",
        "extend",
        "index",
        "insert",
        "pop",
        "remove",
        "reverse",
        "sort",
    ),
)


class ListProxy(BaseListProxy):  # type: ignore[misc, valid-type]
    """A proxy of a list."""

    __module__ = "procession.managers"

    def __iadd__(self, value: Any) -> Self:
        self._callmethod("extend", (value,))
        return self

    def __imul__(self, value: Any) -> Self:
        self._callmethod("__imul__", (value,))
        return self

    __class_getitem__: ClassVar[Any] = classmethod(GenericAlias)


MutableSequence.register(BaseListProxy)

_BaseDictProxy = MakeProxyType(
    "_BaseDictProxy",
    (
        "__contains__",
        "__delitem__",
        "__getitem__",
        "__ior__",
        "__iter__",
        "__len__",
        "__or__",
        "__reversed__",
        "__ror__",
        "__setitem__",
        "clear",
        "copy",
        "fromkeys",
        "get",
        "items",
        "keys",
        "pop",
        "popitem",
        "setdefault",
        "update",
        "values",
    ),
)
_BaseDictProxy._method_to_typeid_ = {"__iter__": "Iterator"}


class DictProxy(_BaseDictProxy):  # type: ignore[misc, valid-type]
    """A proxy of a dictionary."""

    __module__ = "procession.managers"

    def __ior__(self, value: Any) -> Self:
        self._callmethod("__ior__", (value,))
        return self

    __class_getitem__: ClassVar[Any] = classmethod(GenericAlias)


_BaseSetProxy = MakeProxyType(
    "_BaseSetProxy",
    (
        "__and__",
        "__contains__",
        "__iand__",
        "__ior__",
        "__isub__",
        "__iter__",
        "__ixor__",
        "__len__",
        "__or__",
        "__rand__",
        "__ror__",
        "__rsub__",
        "__rxor__",
        "__sub__",
        "__xor__",
        "__ge__",
        "__gt__",
        "__le__",
        "__lt__",
        "add",
        "clear",
        "copy",
        "difference",
        "difference_update",
        "discard",
        "intersection",
        "intersection_update",
        "isdisjoint",
        "issubset",
        "issuperset",
        "pop",
        "remove",
        "symmetric_difference",
        "symmetric_difference_update",
        "union",
        "update",
    ),
)
_BaseSetProxy._method_to_typeid_ = {"__iter__": "Iterator"}


class SetProxy(_BaseSetProxy):  # type: ignore[misc, valid-type]
    """A proxy of a set, as in `multiprocessing` of Python 3.14."""

    __module__ = "procession.managers"

    def __ior__(self, value: Any) -> Self:
        self._callmethod("__ior__", (value,))
        return self

    def __iand__(self, value: Any) -> Self:
        self._callmethod("__iand__", (value,))
        return self

    def __ixor__(self, value: Any) -> Self:
        self._callmethod("__ixor__", (value,))
        return self

    def __isub__(self, value: Any) -> Self:
        self._callmethod("__isub__", (value,))
        return self

    __class_getitem__: ClassVar[Any] = classmethod(GenericAlias)


MutableMapping.register(_BaseDictProxy)
MutableSet.register(_BaseSetProxy)

ArrayProxy = MakeProxyType("ArrayProxy", ("__len__", "__getitem__", "__setitem__"))

BasePoolProxy = MakeProxyType(
    "PoolProxy",
    (
        "apply",
        "apply_async",
        "close",
        "imap",
        "imap_unordered",
        "join",
        "map",
        "map_async",
        "starmap",
        "starmap_async",
        "terminate",
    ),
)
BasePoolProxy._method_to_typeid_ = {
    "apply_async": "AsyncResult",
    "map_async": "AsyncResult",
    "starmap_async": "AsyncResult",
    "imap": "Iterator",
    "imap_unordered": "Iterator",
}


class PoolProxy(BasePoolProxy):  # type: ignore[misc, valid-type]
    """A proxy of a pool."""

    __module__ = "procession.managers"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.terminate()
