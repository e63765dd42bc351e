"""The code of a node's workers: the tasks, and the set-up before the first of them."""

from __future__ import annotations

import time
from collections import OrderedDict

from .. import _chunks, _install, _registry, _workers
from . import _pickling

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .backend import Parts

__all__ = ["Task", "initialize", "run_as", "run_process"]

# How many calls' functions a worker keeps.
_MOST_JOBS = 32

# The functions of the latest calls, by the agent's nonce and the number of the call.
_jobs: OrderedDict[tuple[int, int], Any] = OrderedDict()


class Task:
    """Runs one task. Errors of the pool call it by its label.

    Args:
        label: What it is, for people.
    """

    def __init__(self, label: str) -> None:
        # By these the pool names what it runs.
        self.__qualname__ = label
        self.__module__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return Task, (self.__qualname__,)

    def __call__(
        self, key: tuple[int, int] | None, job: Any, body: Parts
    ) -> tuple[float, bool, list[Any]]:
        """Returns how long the task took, whether it has a value, and that or the error."""
        began = time.perf_counter()
        try:
            value = _call(_job(key, job), body)
        except MemoryError:
            raise  # Raised as it is: the pool knows whether it is its own limit.
        except Exception as error:
            packed = _workers._pack(_without_our_frames(error))
            return time.perf_counter() - began, False, _pickling.dumps(packed)
        seconds = time.perf_counter() - began
        try:
            return seconds, True, _pickling.dumps(value)
        except MemoryError:
            raise
        except Exception as error:
            return seconds, False, _pickling.dumps(_workers._pack(error, value))


def _job(key: tuple[int, int] | None, job: Any) -> Any:
    """Returns the function of a call, and how its tasks are to be run."""
    if key is None:
        return None
    known = _jobs.get(key)
    if known is None:
        parts = getattr(job, "value", job)
        known = _jobs[key] = _pickling.loads(parts)
        while len(_jobs) > _MOST_JOBS:
            _jobs.popitem(last=False)
    return known


def _call(job: Any, body: Parts) -> Any:
    if job is None:
        function, args, kwds = _pickling.loads(body)
        return function(*args, **kwds)
    function, is_chunk, star, collects = job
    inputs = _pickling.loads(body)
    if not is_chunk:
        return function(*inputs) if star else function(inputs)
    if collects:
        return _chunks.collect(function, inputs, star, _workers._pack)
    if star:
        return _chunks.starmapstar((function, inputs))
    return _chunks.mapstar((function, inputs))


def _without_our_frames(error: BaseException) -> BaseException:
    """Returns an error whose traceback begins with what was called."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return error.with_traceback(trace or error.__traceback__)


def initialize(installed: bool, authkey: bytes, setup: Parts) -> None:
    """Sets a worker up: calls the initializer, and makes the state.

    Args:
        installed: Whether `multiprocessing` is to mean procession.
        authkey: The key of the client's processes, which its hub and its managers ask for.
        setup: The pickled initializer, its arguments, what makes the state, and its key.
    """
    _enter(installed, authkey)
    initializer, initargs, make_state, key = _pickling.loads(setup)
    if initializer is not None:
        initializer(*initargs)
    if make_state is not None:
        me: Any = _registry.current
        me._worker_state = key, make_state()


def _enter(installed: bool, authkey: bytes) -> None:
    if installed:
        _install.install()
    if authkey:
        me: Any = _registry.current
        me.authkey = authkey


def run_process(installed: bool, authkey: bytes, call: Parts) -> list[Any] | None:
    """Runs a process that was started by itself; returns its pickled value.

    Args:
        installed: As of `initialize`.
        authkey: As of `initialize`.
        call: The pickled target, its positional and its keyword arguments.
    """
    _enter(installed, authkey)
    target, args, kwargs = _pickling.loads(call)
    value = None if target is None else target(*args, **kwargs)
    return None if value is None else _pickling.dumps(value)


def run_as(kind: Any, state: dict[str, Any]) -> Any:
    """Runs what a subclass of `Process` has made of `run`.

    Args:
        kind: The class.
        state: The attributes of the object.
    """
    obj = kind.__new__(kind)
    vars(obj).update(state)
    # `current_process()` returns it, too.
    me: Any = _registry.current
    obj._config, obj._identity = me._config, me._identity
    obj._parent_pid, obj._popen, obj._closed = me._parent_pid, None, False
    _registry.current = obj
    return obj.run()
