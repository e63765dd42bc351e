"""The engine `loopback`: nodes that are processes of this machine, each a family of its own.

It is what tests run on, and how one tries what a program does on a cluster. An agent is a
child that talks over a pair of sockets, which nobody else can connect to. It ends when its
end is closed, be it that the client has died; its workers end with it.

`loopback://4?slots=2` are four nodes with room for two workers each. Other options: `lease`,
the seconds after which an agent that hears nothing ends, `start_method`, how agents start
their workers, and `python`, the interpreter of the agents.
"""

from __future__ import annotations

import itertools
import json
import os
import queue
import socket
import struct
import subprocess
import sys
import threading
import urllib.parse
from pathlib import Path

from .. import util
from . import _pickling, _wire
from ._errors import EngineUnavailable
from .backend import Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from .backend import Answer, TaskEnvelope
    from .node import NodeAgent

__all__ = ["Link", "Loopback"]

_SETUP, _PUT, _TAKE, _TELL, _REPLY = range(5)

# Kind, number, how many parts.
_HEAD = struct.Struct("=BQI")
_LENGTH = struct.Struct("=Q")

# The most parts that one system call is given; the kernel allows 1,024.
_MOST_PARTS = 512

_OPTIONS = {"slots", "lease", "start_method", "python"}


class Loopback:
    """The engine whose nodes are processes of this machine.

    Example:
        >>> import procession
        >>> with procession.get_context("loopback://2").Pool() as pool:
        ...     print(pool.map(abs, [-1, -2, -3]))
        [1, 2, 3]
    """

    def __init__(self) -> None:
        self._places: list[Place] = []
        self._python = sys.executable

    def open(self, url: str) -> None:
        """Reads how many nodes there are, and how large."""
        parsed = urllib.parse.urlsplit(url)
        given = dict(urllib.parse.parse_qsl(parsed.query, keep_blank_values=True))
        unknown = sorted(given.keys() - _OPTIONS)
        if unknown:
            raise ValueError(
                f"{url}: loopback has no option {unknown[0]!r}, only {sorted(_OPTIONS)}"
            )
        nodes = _count(url, "the number of nodes", parsed.netloc or "1")
        slots = _count(url, "slots", given.get("slots", "1"))
        self._python = given.get("python", sys.executable)
        host = os.uname().nodename
        self._places = [Place(f"loopback-{i}", slots, host) for i in range(nodes)]

    def places(self) -> list[Place]:
        """Returns the nodes."""
        return [*self._places]

    def client_host(self) -> str | None:
        """Returns None: the nodes are of this machine."""
        return None

    def watch(self, changed: Callable[[Place, bool], None]) -> None:
        """Does nothing: all nodes are there from the beginning to the end."""

    def agent(
        self, place: Place, setup: Mapping[str, object], lost: Callable[[str], None]
    ) -> Link:
        """Starts the process that is a node's agent."""
        return Link(self._python, place, setup, lost)

    def close(self) -> None:
        """Forgets the nodes."""
        self._places = []


def _count(url: str, what: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ValueError(
            f"{url}: {what} must be a whole number from 1 on, not {text!r}"
        )
    return int(text)


class Link:
    """The client's end of the sockets to an agent, and the agent's process.

    Args:
        python: The interpreter.
        place: The node.
        setup: What the agent is made of.
        lost: Is called if it ends without being told.
    """

    def __init__(
        self,
        python: str,
        place: Place,
        setup: Mapping[str, object],
        lost: Callable[[str], None],
    ) -> None:
        self._place = place
        self._lost = lost
        self._closing = False
        self._numbers = itertools.count(1)
        self._done: dict[int, Callable[[Sequence[Answer]], None]] = {}
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    _command(python, theirs.fileno()),
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    env=_environment(),
                    # What a terminal sends is for the client.
                    start_new_session=True,
                )
            except OSError as error:
                ours.close()
                raise EngineUnavailable(
                    f"node {place.name}: its agent cannot be started by {python}: {error}"
                ) from error
        self._frames = _Frames(ours)
        # A forked copy must not keep the agent from seeing that this process has ended.
        util.register_after_fork(self._frames, _Frames.close)
        self._send(_SETUP, 0, _pickling.dumps({**setup, "node": place.name}))
        threading.Thread(
            target=self._read, name=f"procession-{place.name}", daemon=True
        ).start()

    def put(
        self, parcels: Sequence[TaskEnvelope], done: Callable[[Sequence[Answer]], None]
    ) -> None:
        """Sends tasks; `done` is called when the agent has them."""
        self._ask(_PUT, _wire.pack_tasks(parcels), done)

    def take(self, done: Callable[[Sequence[Answer]], None]) -> None:
        """Asks for answers."""
        self._ask(_TAKE, [], done)

    def tell(self, message: bytes) -> None:
        """Sends a message."""
        self._send(_TELL, 0, [message])

    def close(self, timeout: float | None) -> None:
        """Closes the sockets, and waits for the process; it is killed if it does not end."""
        self._closing = True
        self._frames.shut_down()
        if timeout is None:
            return
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ask(
        self, kind: int, parts: list[Any], done: Callable[[Sequence[Answer]], None]
    ) -> None:
        number = next(self._numbers)
        self._done[number] = done
        self._send(kind, number, parts)

    def _send(self, kind: int, number: int, parts: list[Any]) -> None:
        try:
            self._frames.send(kind, number, parts)
        except OSError:
            pass  # The thread that reads notices it, and says what has become of the agent.

    def _read(self) -> None:
        """Calls whoever has asked, until the agent's end is closed."""
        try:
            while True:
                _, number, parts = self._frames.receive()
                self._done.pop(number)(_wire.unpack_answers(parts))
        except (EOFError, OSError):
            pass
        finally:
            if not self._closing:
                self._lost(self._reason())
            self._frames.close()

    def _reason(self) -> str:
        try:
            code = self._process.wait(1)
        except subprocess.TimeoutExpired:
            return "has closed its connection"
        return f"(pid {self._process.pid}) {_describe(code)}"


def _describe(code: int) -> str:
    from .._errors import describe_exit

    return describe_exit(code)


class _Frames:
    """Messages of several parts on a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._sending = threading.Lock()

    def send(self, kind: int, number: int, parts: Sequence[Any]) -> None:
        """Sends a message as one; other threads wait."""
        views = [memoryview(part).cast("B") for part in parts]
        lengths = b"".join(_LENGTH.pack(view.nbytes) for view in views)
        left = [memoryview(_HEAD.pack(kind, number, len(views)) + lengths), *views]
        left = [view for view in left if view.nbytes]
        with self._sending:
            while left:
                sent = self._socket.sendmsg(left[:_MOST_PARTS])
                while left and sent >= left[0].nbytes:
                    sent -= left.pop(0).nbytes
                if sent:
                    left[0] = left[0][sent:]

    def receive(self) -> tuple[int, int, list[bytearray]]:
        """Waits for a message.

        Raises:
            EOFError: The other end is closed.
        """
        kind, number, count = _HEAD.unpack(
            _wire.receive_exactly(self._socket, _HEAD.size)
        )
        lengths = _wire.receive_exactly(self._socket, count * _LENGTH.size)
        parts = [
            _wire.receive_exactly(self._socket, length)
            for (length,) in _LENGTH.iter_unpack(lengths)
        ]
        return kind, number, parts

    def shut_down(self) -> None:
        """Has both ends notice that there will be no more."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # The other end is gone.

    def close(self) -> None:
        """Closes the descriptor."""
        self._socket.close()


def _command(python: str, descriptor: int) -> list[str]:
    # An interpreter of another version has other folders for its own library.
    path = sys.path if python == sys.executable else [str(Path(__file__).parents[2])]
    program = (
        "import json, sys; sys.path[:0] = [each for each in json.loads(sys.argv[1])"
        " if each not in sys.path];"
        " from procession.distributed.loopback import serve; serve(int(sys.argv[2]))"
    )
    flags = util._args_from_interpreter_flags() if python == sys.executable else []
    return [python, *flags, "-c", program, json.dumps(path), str(descriptor)]


def _environment() -> dict[str, str]:
    # Tasks that make pools of their own make them on their node.
    return {k: v for k, v in os.environ.items() if k != "PROCESSION_CONTEXT"}


def serve(descriptor: int) -> None:
    """Is an agent, until the client's end of the sockets is closed."""
    os.set_inheritable(descriptor, False)
    frames = _Frames(socket.socket(fileno=descriptor))
    try:
        _, _, parts = frames.receive()
    except EOFError:
        return
    from .node import NodeAgent

    setup = _pickling.loads(parts)
    agent = NodeAgent(**setup, ended=lambda: os._exit(1))
    asked: queue.SimpleQueue[int] = queue.SimpleQueue()
    wait = setup["lease"] / 3
    threading.Thread(
        target=_answer, args=(agent, frames, asked, wait), daemon=True
    ).start()
    try:
        while True:
            kind, number, parts = frames.receive()
            if kind == _PUT:
                agent.put(_wire.unpack_tasks(parts))
                frames.send(_REPLY, number, _wire.pack([]))
            elif kind == _TAKE:
                asked.put(number)
            elif kind == _TELL:
                agent.tell(bytes(parts[0]))
    except (EOFError, OSError):
        pass  # The client has ended, or lets go of this agent.
    agent.end()
    # Nothing is to wait for threads, or for what tasks have left in this process.
    sys.stdout.flush()
    os._exit(0)


def _answer(
    agent: NodeAgent, frames: _Frames, asked: queue.SimpleQueue[int], wait: float
) -> None:
    """Answers each `take` of the client, if only that there is nothing."""
    try:
        while True:
            number = asked.get()
            frames.send(_REPLY, number, _wire.pack(agent.take(wait)))
    except OSError:
        pass  # The thread that reads notices it, too.
