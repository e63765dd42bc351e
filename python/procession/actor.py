"""The class `Actor`: an object that lives in a process of its own.

It is a pool with one worker, which has made the object and is told which methods to
call. This module adds a rule for the death of the process: a pool would replace the
worker in silence, and later calls would go to an object that knows nothing of the
earlier ones.
"""

from __future__ import annotations

import os

from . import _procession, get_context, util
from ._attributes import public, public_names
from ._checks import checked_whole
from ._errors import ProcessError, WorkerDied, describe_exit
from ._terms import make_terms
from ._worker_life import LifeOptions
from ._workers import Bounds, Starter, work
from .pool import Pool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType
    from typing import Any, Concatenate, Generic, NoReturn, ParamSpec, Self, TypeVar

    from ._procession import ApplyResult
    from .context import BaseContext

    P = ParamSpec("P")
    R = TypeVar("R")
    T = TypeVar("T")

    class _Of(Generic[T]):
        pass

else:
    from types import GenericAlias

    T = object

    class _Of:
        # Not `Generic`: `typing` takes longer to import than all of this package.
        __class_getitem__ = classmethod(GenericAlias)


__all__ = ["Actor", "ActorMethod"]

# Seconds that the exit code of a process that has ended may take to be known.
_PATIENCE = 5

# In the process of an actor, its object.
_instance: Any = None


class Actor(_Of[T]):
    """An object in a process of its own, whose methods are called from here.

    `actor.method(...)` calls a method there, waits, and returns what it returns or raises
    its error; `actor.method.call_async(...)` returns the result to come, which can be
    waited for, awaited and cancelled. `actor.call(Class.method, ...)` does the same as the
    first, and type checkers know what it returns. Calls are done one after the other, in
    the order in which they were made.

    It may be used in a `with` statement, which stops it: gracefully at the end of the
    block, and at once if the block raises an error.

    Args:
        cls: A callable that makes the object, in its process: a class, mostly.
        args: The positional arguments for it.
        kwargs: The keyword arguments for it.
        context: The context that the process is started with.
        name: The name of the process; by default that of the class.
        timeout: The seconds that a call may take once it runs. One that takes longer is
            killed with the process, and fails with `TaskTimeout`. `with_options` says it of
            some calls.
        restarts: How often another process, with an object made anew, takes the place of
            one that has died; None for as often as it dies. The call that it died in fails
            with `WorkerDied` in any case; those that had not begun are done by the new
            object. Without a restart they fail, too, as do all that come later, with an
            error that names the process and how it ended.
        memory_limit: How much private memory the process may have, as in `Pool`.
        affinity: The CPUs that it runs on, by number.
        env: What is in its environment besides, as in `Process`.

    Raises:
        TypeError: What makes the object cannot be called.
        ValueError: One of the others cannot be.

    If the object cannot be made, each call fails with the error of that.

    The process ends with this one, and at the latest when no process has the actor any
    more and its calls are done.

    Example:
        >>> import procession
        >>> class Counter:
        ...     def __init__(self, start=0):
        ...         self.value = start
        ...     def add(self, number):
        ...         self.value += number
        ...         return self.value
        >>> with procession.Actor(Counter, (10,)) as counter:
        ...     counter.add(5)
        ...     later = [counter.add.call_async(1) for _ in range(3)]
        ...     [result.get() for result in later]
        15
        [16, 17, 18]
    """

    __dir__ = public_names

    def __init__(
        self,
        cls: Callable[..., T],
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        context: BaseContext | None = None,
        name: str | None = None,
        timeout: float | None = None,
        restarts: int | None = 0,
        memory_limit: int | str | None = None,
        affinity: Iterable[int] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        if not callable(cls):
            raise TypeError(
                f"an actor is made of a class, not of a {type(cls).__name__}: what it is"
                " made by must be callable"
            )
        if restarts is not None:
            restarts = checked_whole("restarts", restarts)
            if restarts < 0:
                raise ValueError(f"restarts must be 0 or more, or None, not {restarts}")
        self._cls = cls
        self._timeout = timeout
        self._terms = make_terms(timeout)
        context = context or get_context()
        life = LifeOptions(context, None, None, None, None, None, None)
        bounds = Bounds(memory_limit, None, affinity, env, life)
        setup = cls, tuple(args), dict(kwargs or {})
        label = name or str(getattr(cls, "__name__", type(cls).__name__))
        self._home = _Home(context, label, setup, restarts, bounds)

    def __getattr__(self, name: str) -> ActorMethod:
        """Returns a method of the object, to be called from here."""
        # Names with an underscore are the actor's own, or names that Python looks for
        # in any object.
        if name.startswith("_"):
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}"
            )
        return ActorMethod(self, self._checked(name))

    def __setattr__(self, name: str, value: object) -> None:
        if not name.startswith("_"):
            raise AttributeError(
                f"{name!r} cannot be set: what an actor has is changed by its methods only"
            )
        object.__setattr__(self, name, value)

    if TYPE_CHECKING:

        def call(
            self,
            method: Callable[Concatenate[T, P], R],
            /,
            *args: P.args,
            **kwargs: P.kwargs,
        ) -> R: ...

        def call_async(
            self,
            method: Callable[Concatenate[T, P], R],
            /,
            *args: P.args,
            **kwargs: P.kwargs,
        ) -> ApplyResult[R]: ...

    else:

        def call(self, method, /, *args, **kwargs):
            """Calls a method of the object, waits, and returns its result.

            Args:
                method: The method, as its class has it; a name is fine, too. So methods
                    can be called that have the name of one of the actor's own.
                *args: Its positional arguments.
                **kwargs: Its keyword arguments.

            Raises:
                WorkerDied: The process has died; in this call if `task` is not None.
                TaskTimeout: The call has taken too long, and was killed with the process.
                AttributeError: The class has no such method.
                ValueError: The actor was stopped.
                Exception: What the method raised, with the traceback there as its cause.

            Example:
                >>> import collections, procession
                >>> Box = collections.UserList
                >>> with procession.Actor(Box, ([3, 1, 2],)) as box:
                ...     box.call(Box.sort)
                ...     box.call(Box.index, 3)
                2
            """
            return self._submit(self._name_of(method), args, kwargs).get()

        def call_async(self, method, /, *args, **kwargs):
            """As `call`, but returns the result to come at once.

            Example:
                >>> import collections, procession
                >>> with procession.Actor(collections.Counter, ("abca",)) as letters:
                ...     result = letters.call_async(collections.Counter.most_common, 1)
                ...     result.get(timeout=30)
                [('a', 2)]
            """
            return self._submit(self._name_of(method), args, kwargs)

    def with_options(self, *, timeout: float | None) -> Actor[T]:
        """Returns another handle of the same actor, whose calls have another time limit.

        Args:
            timeout: The seconds that a call may take once it runs; None for any time.

        Example:
            >>> import procession
            >>> with procession.Actor(list) as numbers:
            ...     careful = numbers.with_options(timeout=30)
            ...     careful.append(3)
            ...     numbers.copy()
            [3]
        """
        other: Actor[T] = object.__new__(type(self))
        vars(other).update(vars(self), _timeout=timeout, _terms=make_terms(timeout))
        return other

    def stop(self, timeout: float | None = None) -> None:
        """Has the process end when it has done all calls, and waits for that.

        The object is dropped before the process ends, so that its `__del__` runs.

        Args:
            timeout: The seconds after which the process is ended in any case, with an
                error for the calls that are not done; by default they take what they take.

        Example:
            >>> import procession
            >>> numbers = procession.Actor(list)
            >>> result = numbers.append.call_async(1)
            >>> numbers.stop()
            >>> result.ready(), numbers.is_alive()
            (True, False)
        """
        self._home.close()
        self._home.join(timeout)

    def terminate(self) -> None:
        """Ends the process at once; calls that are not done fail.

        Example:
            >>> import procession
            >>> numbers = procession.Actor(list)
            >>> numbers.terminate()
            >>> numbers.is_alive()
            False
        """
        self._home.terminate()

    def is_alive(self) -> bool:
        """Returns whether the process runs.

        Example:
            >>> import procession
            >>> with procession.Actor(list) as numbers:
            ...     numbers.is_alive()
            True
        """
        alive: bool = self._home.process.is_alive()
        return alive

    @property
    def pid(self) -> int:
        """The process id; of the latest process, if it was restarted.

        Example:
            >>> import os, procession
            >>> with procession.Actor(list) as numbers:
            ...     numbers.pid == os.getpid()
            False
        """
        pid: int = self._home.process.pid
        return pid

    @property
    def name(self) -> str:
        """The name of the process.

        Example:
            >>> import procession
            >>> with procession.Actor(list, name="numbers") as numbers:
            ...     numbers.name
            'numbers'
        """
        return self._home.start.label

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.stop()
        else:
            self.terminate()

    def __repr__(self) -> str:
        status = self._home.status()
        return f"<{type(self).__name__} of {_label(self._cls)} {self.name!r} {status}>"

    def __reduce__(self) -> NoReturn:
        raise NotImplementedError(
            "actors cannot be passed between processes or pickled: have the process that"
            " has one make the calls"
        )

    def _name_of(self, method: Any) -> str:
        name = method if isinstance(method, str) else getattr(method, "__name__", None)
        if not isinstance(name, str):
            raise TypeError(
                f"a method of {_label(self._cls)} or its name is called, not {method!r}"
            )
        return self._checked(name)

    def _checked(self, name: str) -> str:
        """Returns the name of a method, if the object may have one of that name."""
        cls = self._cls
        if not isinstance(cls, type) or hasattr(cls, "__getattr__"):
            return name
        if not hasattr(cls, name):
            raise AttributeError(f"{_label(cls)} has no method {name!r}")
        if not callable(getattr(cls, name)):
            raise AttributeError(  # noqa: TRY004 -- as of any other object
                f"{name!r} of {_label(cls)} is no method: what an actor has is reached by"
                " its methods only"
            )
        return name

    def _submit(self, name: str, args: Any, kwargs: Any) -> ApplyResult[Any]:
        return self._home.submit(_Task(self._cls, name), args, kwargs, self._terms)


class ActorMethod:
    """A method of the object of an actor, called from another process.

    Example:
        >>> import procession
        >>> with procession.Actor(list, ([3, 1],)) as numbers:
        ...     numbers.sort()
        ...     numbers.index.call_async(3).get()
        1
    """

    __dir__ = public_names

    def __init__(self, actor: Actor[Any], name: str) -> None:
        self._actor = actor
        self.__name__ = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the method, waits, and returns what it returns: as `Actor.call`."""
        return self.call_async(*args, **kwargs).get()

    def call_async(self, *args: Any, **kwargs: Any) -> ApplyResult[Any]:
        """Has the method called; returns the result to come, as `Actor.call_async`.

        Example:
            >>> import procession
            >>> with procession.Actor(dict, ({"a": 1},)) as table:
            ...     result = table.get.call_async("a")
            ...     result.get(timeout=30)
            1
        """
        return self._actor._submit(self.__name__, args, kwargs)

    def __repr__(self) -> str:
        return f"<method {self.__name__!r} of {self._actor!r}>"


class _Home:
    """The process of an actor. Results keep it alive after the actor was dropped."""

    def __init__(
        self,
        context: Any,
        label: str,
        setup: tuple[Any, tuple[Any, ...], dict[str, Any]],
        restarts: int | None,
        bounds: Bounds,
    ) -> None:
        self._pid = os.getpid()
        self.start = _ActorStarter(context, label, setup, restarts, bounds)
        self._engine = _procession.Pool(self.start, 1, errors=self.start.error_of)
        self._terminate = util.Finalize(self, self._engine.terminate, exitpriority=15)
        try:
            self._engine.start()
        except BaseException:
            self.terminate()
            raise

    def __del__(self) -> None:
        # The calls that were made before are done nevertheless.
        if hasattr(self, "_engine"):
            self._engine.close()

    @property
    def process(self) -> Any:
        """Returns the latest process."""
        return self.start.process

    def status(self) -> str:
        """Returns the state of the process, for its `repr`."""
        if self._pid != os.getpid():
            return "of another process"
        process = self.process
        if process.is_alive():
            return f"pid={process.pid}"
        return f"pid={process.pid}, which {describe_exit(process.exitcode or 0)}"

    def submit(
        self, task: _Task, args: Any, kwargs: Any, terms: Any
    ) -> ApplyResult[Any]:
        """Has a method called; returns the result to come."""
        if self.start.is_stopped:
            raise ValueError(f"the actor {self.start.label!r} was stopped")
        return self._engine.apply_async(self, task, args, kwargs, None, None, terms)

    def close(self) -> None:
        """Takes no more calls."""
        self.start.is_stopped = True
        self._engine.close()

    def terminate(self) -> None:
        """Ends the process, busy or not."""
        self.start.is_stopped = True
        self._engine.terminate()
        self._terminate()
        self.join(None)

    def join(self, timeout: float | None) -> None:
        """Waits until the process has ended; ends it when the time is over."""
        if self._pid != os.getpid():
            return
        process = self.process
        if timeout is not None and process is not None:
            process.join(timeout)
            if process.is_alive():
                self.terminate()
                return
        self._engine.join()
        for process in self.start.processes:
            process.join()


class _ActorStarter(Starter):
    """Starts the process of an actor, and others in its place as often as it may."""

    def __init__(
        self,
        context: Any,
        label: str,
        setup: tuple[Any, tuple[Any, ...], dict[str, Any]],
        restarts: int | None,
        bounds: Bounds,
    ) -> None:
        self.label = label
        self.process: Any = None
        self.processes: list[Any] = []
        # Whether somebody has asked for the end.
        self.is_stopped = False
        self._left = restarts
        # How the last one has ended, when no other takes its place.
        self._death: tuple[str, int, int | None] | None = None
        super().__init__(
            context, Pool.Process, self.processes, (_create, setup), bounds
        )

    def make(self, channel: tuple[int, int], index: int) -> Any:
        """Returns the first process, or another one.

        Raises:
            WorkerDied: There is to be no other.
        """
        if self.process is not None:
            if self._left == 0:
                self._note_death()
                raise self._died()
            if self._left is not None:
                self._left -= 1
        process = super().make(channel, index)
        process.name = self.label
        # No daemon, as it may start processes of its own, like an executor's worker.
        process.daemon = False
        process._ends_with_parent = True
        process._target = _serve
        return process

    def note(self, process: Any) -> None:
        """Takes in a process that has started."""
        super().note(process)
        self.process = process

    def _note_death(self) -> None:
        process = self.process
        process.join(_PATIENCE)
        exitcode = process.exitcode
        how = "died" if exitcode is None else describe_exit(exitcode)
        message = (
            f"actor {self.label!r} (pid {process.pid}) {how}, and is not restarted"
        )
        self._death = message, process.pid, exitcode

    def _died(self) -> WorkerDied:
        assert self._death is not None, "it was noted before"
        return WorkerDied(*self._death)

    def error_of(self, loss: str, error: Any) -> BaseException:
        """Returns the error of a call that has no reply."""
        is_ended = loss == "ended" and type(error) is ProcessError
        if is_ended and not self.is_stopped and not self.process.is_alive():
            # One after the other has died before it had its object.
            self._note_death()
        if loss == "ended" and self._death is not None:
            return self._died()
        if is_ended:
            return ProcessError(
                f"the actor {self.label!r} was stopped before this call had ended"
            )
        if loss == "died":
            message, pid, *rest = error.args
            ours = f"actor {self.label!r} (pid {pid})"
            return WorkerDied(
                message.replace(f"worker process {pid}", ours, 1), pid, *rest
            )
        result: BaseException = error
        return result


class _Task:
    """A call as a task of the pool; in the actor's process it calls the method."""

    def __init__(self, cls: Any, name: str) -> None:
        self._name = name
        # The name of the task in errors.
        self.__module__ = getattr(cls, "__module__", __name__)
        self.__qualname__ = f"{getattr(cls, '__qualname__', _label(cls))}.{name}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _method, (self._name,)


def _label(cls: Any) -> str:
    label: str = getattr(cls, "__qualname__", None) or type(cls).__qualname__
    return label


def _create(cls: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Makes the object, in its process."""
    global _instance
    _instance = cls(*args, **kwargs)


def _method(name: str) -> Any:
    """Returns a method of the object, in its process."""
    return getattr(_instance, name)


def _serve(*args: Any, **kwargs: Any) -> None:
    """Runs the calls of the object, in its process, until there will be no more."""
    global _instance
    try:
        work(*args, **kwargs)
    finally:
        _instance = None


def __dir__() -> list[str]:
    return public(globals())
