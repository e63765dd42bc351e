"""Processes on the nodes of a cluster, started one by one: by agents that have no workers.

There is one such agent on each node that is needed; a process goes to the node that has
the fewest for its slots. The agent tells of its start and of its end; the program
learns of both by the same methods as from a `Popen` of this machine.
"""

from __future__ import annotations

import itertools
import json
import os
import threading
import time

from .. import _install, _outcome, process, util
from .._signalled import Signalled
from . import _pickling, _work
from ._errors import EngineMismatch, EngineUnavailable, NodeLost
from .backend import TaskEnvelope
from .node import PROCESS, mismatch_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .backend import AgentLink, Answer, Backend, Place

__all__ = ["Launcher", "Popen"]

# Seconds that an agent has to start and to end, and to end when nobody hears of it.
_TO_START, _TO_END, _TO_KILL = 120.0, 5.0, 0.1

# Attributes of a process object that its copy on a node does not get.
_OF_THE_PARENT = {"_closed", "_config", "_parent_pid", "_popen", "_sentinel"}

# The exit code where nobody can tell: `multiprocessing` has the same for a lost fork server.
_UNKNOWN = 255


class Popen(Signalled):
    """A process on a node as the program holds it.

    Args:
        node: The agent.
        number: That of its envelope.
        name: What errors call it.
        held: Kept alive until it has ended: the handles that it was given.
    """

    method = "cluster"
    pid: int

    def __init__(self, node: _Node, number: int, name: str, held: object) -> None:
        self._held = held
        self._node = node
        self._number = number
        self._name = name
        self.node = node.name
        self.returncode: int | None = None
        # It is readable once the process has ended, whoever has a copy of it.
        self.sentinel = os.eventfd(0, os.EFD_CLOEXEC)
        self._is_open = True
        self._closing = threading.Lock()
        self._ended = threading.Event()
        self._told = threading.Event()
        self._left: Any = None
        self._stop_requested = False
        self._is_abandoned = False
        self.failure: BaseException | None = None

    # What the launcher calls.

    def wait_for_start(self) -> None:
        """Waits until the agent has started it.

        Raises:
            NodeLost: The node was lost meanwhile.
            Exception: The agent could not start it.
        """
        try:
            self._told.wait()
        except BaseException:
            # A handler of a signal has raised, so no object will hold the process.
            self._is_abandoned = True
            if self._told.is_set():
                self.kill()
            raise
        if self.failure is not None:
            self.close()
            raise self.failure

    def started(self, pid: int) -> None:
        """Notes that it runs."""
        self.pid = pid
        self._told.set()
        if self._is_abandoned:
            self.kill()

    def failed(self, error: BaseException) -> None:
        """Notes that it could not be started."""
        self.failure = error
        self._told.set()

    def exited(self, code: int, left: Any) -> None:
        """Notes its end; `left` makes the outcome, or is None."""
        self._left = left
        self._held = None
        self.returncode = code
        with self._closing:
            if self._is_open:
                os.eventfd_write(self.sentinel, 1)
        self._ended.set()

    def lost(self, reason: str) -> None:
        """Notes that its node is gone."""
        what = f"node {self.node} {reason} with process {self._name!r}"
        if not self._told.is_set():
            self.failed(NodeLost(f"{what}, which may have run", self.node, self._name))
            return
        error = NodeLost(
            f"{what} (pid {self.pid}), which has ended with it", self.node, self._name
        )
        self.exited(_UNKNOWN, lambda: (False, _outcome.pack_error(error)))

    # What a process object calls.

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        """Returns the exit code, or None while the process runs."""
        return self.wait(0 if flag == os.WNOHANG else None)

    def wait(self, timeout: float | None = None) -> int | None:
        """Waits for the end; returns the exit code, or None if the time is over."""
        if self.returncode is None and timeout != 0:
            self._ended.wait(None if timeout is None else max(timeout, 0))
        return self.returncode

    def _send_signal(self, sig: int, tree: bool = False) -> None:
        if self.returncode is None:
            self._node.tell("signal", self._number, int(sig), tree)

    def request_stop(self) -> None:
        """Sets the stop flag of the process."""
        self._stop_requested = True
        if self.returncode is None:
            self._node.tell("stop", self._number)

    def stop_requested(self) -> bool:
        """Returns whether the stop flag of the process was set from here."""
        return self._stop_requested

    def state(self) -> tuple[str, str | None]:
        """Returns the state of the process; whether it is blocked is not known here."""
        return ("running" if self.returncode is None else "terminated"), None

    def outcome(self) -> tuple[bool, Any] | None:
        """Returns what the ended process left: see `_outcome`."""
        left: tuple[bool, Any] | None = None if self._left is None else self._left()
        return left

    def close(self) -> None:
        """Closes the sentinel."""
        with self._closing:
            if self._is_open:
                self._is_open = False
                os.close(self.sentinel)

    def __del__(self) -> None:
        self.close()


class _Node:
    """An agent that starts processes."""

    link: AgentLink

    def __init__(self, launcher: Launcher, place: Place, nonce: int) -> None:
        self._launcher = launcher
        # Whether `link` is there; the agent may be lost before.
        self.has_link = False
        self.name = place.name
        self.slots = place.slots
        self.nonce = nonce
        # "starting", "ready", "refused" or "lost".
        self.state = "starting"
        self.reason = ""
        self.mismatch = ""
        self.refusal: BaseException | None = None
        self.processes: dict[int, Popen] = {}
        self.heard = self.renewed = time.monotonic()

    def took(self, answers: Sequence[Answer]) -> None:
        """Takes answers, and asks for more."""
        self.link.take(self.took)
        self._launcher.take_in(self, answers)

    def has_put(self, answers: Sequence[Answer]) -> None:
        """Takes what came with the answer to an envelope."""
        self._launcher.take_in(self, answers)

    def lost(self, reason: str) -> None:
        """Notes that it is gone."""
        self._launcher.lose(self, reason)

    def tell(self, what: str, *more: object) -> None:
        """Sends a message."""
        self.link.tell(json.dumps([what, *more]).encode())


class Launcher:
    """Starts processes on the nodes of a cluster.

    Args:
        backend: The engine.
        lease: After how many seconds without a word an agent ends, and one is lost.
        setup: What agents are given besides, for `NodeAgent`.
    """

    def __init__(self, backend: Backend, lease: float, setup: dict[str, Any]) -> None:
        self._backend = backend
        self._lease = lease
        self._setup = setup
        self.pid = os.getpid()
        self._changed = threading.Condition(threading.RLock())
        # Held by the thread that starts an agent.
        self._beginning = threading.Lock()
        self._nodes: dict[str, _Node] = {}
        # Agents to let go of, and how long to wait for their ends.
        self._lost: list[tuple[_Node, float]] = []
        self._numbers = itertools.count(1)
        self._ended = False
        self._thread = threading.Thread(
            target=self._tend, name="procession-launcher", daemon=True
        )
        self._thread.start()
        # Called after the program has joined its processes at its end.
        self._end = util.Finalize(None, self.close, exitpriority=-5)

    def start(self, process_obj: Any) -> Popen:
        """Starts a process.

        Raises:
            EngineUnavailable: There is no node, or none on which an agent can be started.
            EngineMismatch: The node has another Python or procession.
            NodeLost: The node was lost meanwhile.
            TypeError: An argument is of this machine.
        """
        body, held = _packed(process_obj)
        node = self._node()
        with self._changed:
            if node.state != "ready":
                raise EngineUnavailable(f"node {node.name} {node.reason}")
            number = next(self._numbers)
            popen = Popen(node, number, process_obj._name, held)
            node.processes[number] = popen
        terms = None, None, 0
        envelope = TaskEnvelope(
            number, node.nonce, PROCESS, None, process_obj._name, terms, body
        )
        node.link.put([envelope], node.has_put)
        popen.wait_for_start()
        return popen

    def _node(self) -> _Node:
        """Returns the agent of the node with the fewest processes, which is ready."""
        # Called without the lock: an engine may answer in a thread that takes it.
        places = self._backend.places()
        if not places:
            raise EngineUnavailable("the cluster has no node")
        with self._beginning:
            place = min(places, key=self._load)
            node = self._nodes.get(place.name) or self._new_node(place)
        end = time.monotonic() + _TO_START
        with self._changed:
            while node.state == "starting" and time.monotonic() < end:
                self._changed.wait(end - time.monotonic())
            if node.state == "ready" and not node.mismatch:
                return node
            late = f"was not ready after {_TO_START:g} s"
            self.lose(node, late, _TO_END)
        if node.mismatch:
            raise EngineMismatch({node.name: node.mismatch})
        if node.refusal is not None:
            raise node.refusal
        raise EngineUnavailable(f"node {node.name}: its agent {node.reason}")

    def _load(self, place: Place) -> float:
        node = self._nodes.get(place.name)
        return 0.0 if node is None else len(node.processes) / place.slots

    def _new_node(self, place: Place) -> _Node:
        node = _Node(self, place, next(self._numbers))
        setup = {
            **self._setup,
            "nonce": node.nonce,
            "slots": 0,
            "lease": self._lease,
            "installed": _install.is_installed(),
        }
        link = self._backend.agent(place, setup, node.lost)
        with self._changed:
            node.link, node.has_link = link, True
            if node.state == "lost":
                # It was, before anybody could let go of it.
                self._lost.append((node, _TO_KILL))
                self._changed.notify_all()
                return node
            self._nodes[place.name] = node
        link.take(node.took)
        return node

    def take_in(self, node: _Node, answers: Sequence[Answer]) -> None:
        """Takes what an agent says."""
        with self._changed:
            node.heard = time.monotonic()
            for answer in answers:
                popen = node.processes.get(answer.task)
                if popen is None:
                    _learn(node, answer)
                elif answer.outcome == "started":
                    popen.started(json.loads(bytes(answer.body[0])))
                else:
                    del node.processes[answer.task]
                    _end(popen, answer)
            self._changed.notify_all()

    def lose(self, node: _Node, reason: str, patience: float = _TO_KILL) -> None:
        """Tells of the processes of an agent that is gone, and has it let go of."""
        with self._changed:
            if node.state == "lost":
                return
            node.state, node.reason = "lost", reason
            if self._nodes.get(node.name) is node:
                del self._nodes[node.name]
            if node.has_link:
                self._lost.append((node, patience))
            for popen in node.processes.values():
                popen.lost(reason)
            node.processes.clear()
            self._changed.notify_all()

    def _tend(self) -> None:
        """Renews leases, gives up agents that do not answer, and lets go of the lost."""
        while True:
            with self._changed:
                if not self._lost and not self._ended:
                    self._changed.wait(self._lease / 6)
                lost, self._lost = self._lost, []
                nodes = [*self._nodes.values()]
                if self._ended and not lost:
                    return
            for node, _ in lost:
                node.link.close(None)
            for node, patience in lost:
                node.link.close(patience)
            now = time.monotonic()
            for node in nodes:
                if now - node.heard > self._lease:
                    self.lose(node, f"has not answered for {self._lease:g} s")
                elif now - node.renewed >= self._lease / 6:
                    node.renewed = now
                    node.tell("renew")

    def close(self) -> None:
        """Ends the agents, and with them the processes that still run."""
        if os.getpid() != self.pid:
            return
        with self._changed:
            for node in [*self._nodes.values()]:
                self.lose(node, "was let go", _TO_END)
            self._ended = True
            self._changed.notify_all()
        self._end.cancel()
        self._thread.join()


def _learn(node: _Node, answer: Answer) -> None:
    """Notes what an agent says of itself."""
    if answer.outcome == "hello":
        node.mismatch = mismatch_of(json.loads(bytes(answer.body[0])))
    elif answer.outcome == "ready":
        node.state = "ready"
    elif answer.outcome == "refused":
        node.refusal = _outcome.unpack_error(_pickling.loads(answer.body))
        node.state = "refused"


def _end(popen: Popen, answer: Answer) -> None:
    if answer.outcome == "error":
        error = _outcome.unpack_error(_pickling.loads(answer.body))
        error.add_note(f"It was on node {popen.node}.")
        popen.failed(error)
        return
    head, *body = answer.body
    code, is_value = json.loads(bytes(head))
    popen.exited(code, (lambda: (is_value, _pickling.loads(body))) if body else None)


def _packed(process_obj: Any) -> tuple[list[bytes], object]:
    """Returns the options of a process and what it does, pickled, and what to hold for it."""
    memory, cpus = process_obj._limits or (None, None)
    if cpus is not None:
        raise ValueError("a process on a node of a cluster has no affinity")
    head = {
        "name": process_obj._name,
        "daemon": process_obj.daemon,
        "env": process_obj._environment,
        "memory_limit": memory,
    }
    kind = type(process_obj)
    call: tuple[Any, Any, Any]
    if kind.run is process.BaseProcess.run:
        call = process_obj._target, process_obj._args, process_obj._kwargs
    else:
        kept = vars(process_obj).items()
        state = {key: value for key, value in kept if key not in _OF_THE_PARENT}
        call = _work.run_as, (kind, state), {}
    try:
        pickled = _pickling.dumps_held(call)
    except Exception as error:
        error.add_note(f"It is of process {process_obj._name!r}.")
        raise
    return [json.dumps(head).encode(), *pickled], pickled.handles
