"""The agent on a node: gives the tasks of one pool to a pool of that machine.

It knows no engine: whatever carries bytes calls `put`, `take` and `tell`. It ends when it
is told to, and when it has not been told anything for the time of its lease, because its
client has died or cannot reach it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import sys
import threading
import time
from collections import deque

import procession

from .. import _outcome
from .._errors import CancelledError, WorkerDied
from .._shared_object import Shared
from . import _pickling, _work
from .backend import Answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from ..pool import Pool
    from .backend import Parts, TaskEnvelope

__all__ = ["PROCESS", "NodeAgent", "hello", "mismatch_of"]

# The number of the job of an envelope that has no task, but a process to be started.
PROCESS = 0

# What tasks of a call have in common is in shared memory, once, from so many bytes on.
_SHARED_FROM = 1 << 14


def mismatch_of(theirs: Mapping[str, str]) -> str:
    """Returns what is different on another node, from what it says by `hello`.

    Example:
        >>> from procession.distributed.node import hello, mismatch_of
        >>> mismatch_of(hello())
        ''
    """
    ours = hello()
    wrong = [
        f"{name} {theirs.get(name)} there, {ours[name]} here"
        for name in ("python", "procession")
        if theirs.get(name) != ours[name]
    ]
    return ", ".join(wrong)


def hello() -> dict[str, str]:
    """Returns what a client looks at first: the versions of this node.

    Example:
        >>> from procession.distributed.node import hello
        >>> sorted(hello())
        ['host', 'pid', 'procession', 'python']
    """
    return {
        "python": ".".join(map(str, sys.version_info[:2])),
        "procession": procession.__version__,
        "host": os.uname().nodename,
        "pid": str(os.getpid()),
    }


class NodeAgent:
    """Runs the tasks of a pool on one node, in a pool of that machine.

    Args:
        nonce: Tasks that are for another agent are refused.
        slots: How many workers there are; without any the agent starts processes only.
        lease: After how many seconds without a word from its client it ends.
        setup: What workers do first, for `_work.initialize`.
        modules: The packages that the setup needs.
        installed: Whether `multiprocessing` is to mean procession in tasks.
        options: The other options of the pool.
        start_method: How workers are started.
        ended: Is called when the lease is over, in a thread of the agent's.
        node: The name of the node, which tasks find in `PROCESSION_NODE`.
        wanted: The packages that tasks may need.
        authkey: The key of the client's processes; workers have the same.

    Example:
        >>> from procession.distributed.node import NodeAgent
        >>> agent = NodeAgent(nonce=1, slots=1)
        >>> print([answer.outcome for answer in agent.take(timeout=30)])
        ['hello', 'ready']
        >>> agent.put([])
        >>> agent.tell(b'["renew"]')
        >>> agent.end()
    """

    def __init__(
        self,
        nonce: int,
        slots: int,
        lease: float = 30.0,
        setup: Parts | None = None,
        modules: Sequence[str] = (),
        installed: bool = False,
        options: Mapping[str, Any] | None = None,
        start_method: str | None = None,
        ended: Callable[[], object] | None = None,
        node: str = "",
        wanted: Sequence[str] = (),
        authkey: bytes = b"",
    ) -> None:
        self._authkey = authkey
        self._nonce = nonce
        # The number of the latest task.
        self._latest = 0
        self._answers: deque[Answer] = deque()
        self._changed = threading.Condition(threading.Lock())
        # The tasks that were put and are not answered; what tasks of a call share.
        self._tasks: dict[int, Any] = {}
        self._jobs: dict[int, Any] = {}
        self._pool: Pool | None = None
        # The processes that were started one by one, by the numbers of their envelopes.
        self._processes: dict[int, Any] = {}
        self._installed = installed
        self._ended = False
        self._lease = lease
        self._node = node
        self._wanted = wanted
        self._on_end = ended
        self._heard = time.monotonic()
        self._answer(0, "hello", [json.dumps(hello()).encode()])
        self._start(slots, setup, modules, installed, options or {}, start_method)
        threading.Thread(
            target=self._watch_lease, name="procession-lease", daemon=True
        ).start()

    def _start(
        self,
        slots: int,
        setup: Parts | None,
        modules: Sequence[str],
        installed: bool,
        options: Mapping[str, Any],
        start_method: str | None,
    ) -> None:
        missing = _missing(modules)
        if missing:
            self._answer(0, "missing", [json.dumps(missing).encode()])
            return
        context = self._context = procession.get_context(start_method)
        first: dict[str, Any] = {}
        if installed or self._authkey or setup is not None:
            parts = _pickling.dumps((None, (), None, None)) if setup is None else setup
            first = {
                "initializer": _work.initialize,
                "initargs": (
                    installed,
                    self._authkey,
                    [bytes(part) for part in parts],
                ),
            }
        env = self._environment(options.get("env"))
        try:
            if slots:
                self._pool = context.Pool(slots, **first, **{**options, "env": env})
        except Exception as error:
            self._answer(0, "refused", _pickling.dumps(_outcome.pack_error(error)))
            return
        self._answer(0, "ready", [json.dumps(_missing(self._wanted)).encode()])

    def _environment(self, more: Mapping[str, str] | None) -> dict[str, str]:
        """Returns the environment variables of workers and processes here."""
        here = {
            "PROCESSION_NODE": self._node,
            "PROCESSION_NODE_PID": str(os.getpid()),
        }
        return {**here, **(more or {})}

    def put(self, envelopes: Sequence[TaskEnvelope]) -> None:
        """Takes tasks, and gives them to the workers."""
        self._heard = time.monotonic()
        pool = self._pool
        for each in envelopes:
            if each.nonce != self._nonce or each.task <= self._latest:
                continue  # The task is for another agent, or has come twice.
            self._latest = each.task
            if each.job == PROCESS:
                # A start may take long, and the client goes on to talk.
                threading.Thread(target=self._run, args=(each,), daemon=True).start()
                continue
            if pool is None:
                continue
            if each.job_body is not None:
                self._jobs[each.job] = _kept(each.job_body)
            job = self._jobs.get(each.job)
            key = None if job is None else (self._nonce, each.job)
            timeout, soft_timeout, priority = each.terms
            # Noted before the call, as its outcome may come before the call returns.
            self._tasks[each.task] = None
            result = pool.apply_async(
                _work.Task(each.label),
                (key, job, [_beside(part) for part in each.body]),
                callback=_Arrived(self, each.task).value,
                error_callback=_Arrived(self, each.task).error,
                timeout=timeout,
                soft_timeout=soft_timeout,
                priority=priority,
            )
            with self._changed:
                if each.task in self._tasks:
                    self._tasks[each.task] = result

    def take(self, timeout: float) -> list[Answer]:
        """Waits for answers, and returns those that there are; none if the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._answers or self._ended, timeout)
            answers = [*self._answers]
            self._answers.clear()
        return answers

    def tell(self, message: bytes) -> None:
        """Does what the client says: a list, in JSON, of what to do and with what."""
        self._heard = time.monotonic()
        what, *rest = json.loads(message)
        if what == "forget":
            for job in rest[0]:
                self._jobs.pop(job, None)
        elif what == "cancel":
            number, tasks, kill = rest
            self._reply(number, sum(self._cancel(task, kill) for task in tasks))
        elif what == "running":
            number, tasks = rest
            running = [task for task in tasks if self._is_running(task)]
            self._reply(number, len(running))
        elif what == "workers":
            pool = self._pool
            self._reply(rest[0], [] if pool is None else pool.workers())
        elif what == "resize" and self._pool is not None:
            self._pool.resize(rest[0])
        elif what == "signal":
            process = self._processes.get(rest[0])
            if process is not None:
                process._popen._send_signal(*rest[1:])
        elif what == "stop":
            process = self._processes.get(rest[0])
            if process is not None:
                process.request_stop()
        elif what == "close":
            # What workers do at their ends may take long, and the client goes on to talk.
            threading.Thread(target=self._finish, daemon=True).start()

    def _run(self, envelope: TaskEnvelope) -> None:
        """Starts a process, and tells of its start and of its end."""
        number, (head, *call) = envelope.task, envelope.body
        options = json.loads(bytes(head))
        env = self._environment(options.pop("env"))
        args = self._installed, self._authkey, [bytes(part) for part in call]
        try:
            process: Any = self._context.Process(
                target=_work.run_process, args=args, env=env, **options
            )
            process._ends_with_parent = True
            process.start()
        except Exception as error:
            self._answer(number, "error", _pickling.dumps(_outcome.pack_error(error)))
            return
        with self._changed:
            self._processes[number] = process
            if self._ended:
                process.kill()
        self._answer(number, "started", [json.dumps(process.pid).encode()])
        process.join()
        self._processes.pop(number, None)
        left = process._popen.outcome()
        told = [process.exitcode, left is not None and left[0]]
        body: list[Any] = [json.dumps(told).encode()]
        if left is not None:
            # A value was pickled by the process itself.
            body += left[1] if left[0] else _pickling.dumps(left[1])
        self._answer(number, "exited", body)

    def _is_broken(self) -> bool:
        engine: Any = None if self._pool is None else self._pool._engine
        return engine is not None and engine.broken() is not None

    def _cancel(self, task: int, kill: bool) -> bool:
        result = self._tasks.get(task)
        return result is not None and bool(result.cancel(kill))

    def _is_running(self, task: int) -> bool:
        result = self._tasks.get(task)
        return result is not None and bool(result.running())

    def _finish(self) -> None:
        """Ends the workers, which have no tasks any more, in their own time."""
        pool = self._pool
        if pool is not None:
            pool.close()
            pool.join()
        self._answer(0, "closed", ())

    def end(self) -> None:
        """Ends the workers at once."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        for process in [*self._processes.values()]:
            process.kill()
            process.join()
        if self._pool is not None:
            self._pool.terminate()
            self._pool.join()

    def _watch_lease(self) -> None:
        # It could not listen while it started.
        self._heard = time.monotonic()
        with self._changed:
            while not self._ended:
                left = self._heard + self._lease - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            else:
                return
        self.end()
        if self._on_end is not None:
            self._on_end()

    def _reply(self, number: int, value: object) -> None:
        self._answer(number, "reply", [json.dumps(value).encode()])

    def _answer(
        self, number: int, outcome: str, body: Parts, seconds: float = 0.0
    ) -> None:
        with self._changed:
            self._tasks.pop(number, None)
            self._answers.append(Answer(number, outcome, body, seconds))
            self._changed.notify_all()

    def _lost(self, task: int, error: BaseException) -> None:
        """Returns why a task has no value, if its function has not raised an error."""
        if isinstance(error, WorkerDied):
            told = [error.pid, error.exitcode, error.stack, str(error)]
            self._answer(task, "died", [json.dumps(told).encode()])
            return
        outcome = "lost"
        if isinstance(error, CancelledError):
            outcome = "cancelled"
        elif self._is_broken():
            outcome = "ended"
        self._answer(task, outcome, _pickling.dumps(_outcome.pack_error(error)))


def _missing(names: Sequence[str]) -> list[str]:
    return [name for name in names if importlib.util.find_spec(name) is None]


class _Arrived:
    """Tells an agent the outcome of a task."""

    def __init__(self, agent: NodeAgent, task: int) -> None:
        self._agent = agent
        self._task = task

    def value(self, came: tuple[float, bool, Parts]) -> None:
        seconds, success, body = came
        outcome = "value" if success else "error"
        self._agent._answer(self._task, outcome, body, seconds)

    def error(self, error: BaseException) -> None:
        self._agent._lost(self._task, error)


def _beside(part: Any) -> Any:
    """Returns a part so that the pool copies it once if it is large."""
    view = memoryview(part)
    return bytes(view) if view.nbytes < _SHARED_FROM else pickle.PickleBuffer(view)


def _kept(body: Parts) -> Any:
    """Returns what tasks of a call have in common so that each can be given it."""
    parts = [bytes(part) for part in body]
    return Shared(parts) if sum(map(len, parts)) >= _SHARED_FROM else parts
