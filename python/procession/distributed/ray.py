"""The engine `ray`: node agents are actors on the nodes of a Ray cluster that exists.

`ray` alone is the cluster that the program is connected to already (`ray.init`), or that
this machine is a node of (`ray start`), or that `RAY_ADDRESS` names; `ray://host:10001` is
the address of a server for Ray's clients, and the program is none of the cluster then. Ray
carries bytes and says when an actor is gone; it knows nothing of tasks, and tries none again.

Ray's client hands over what comes in the thread that also receives the numbers of what is
asked for, and asking waits for that number. So links ask in threads of their own there.
"""

from __future__ import annotations

import os
import pickle
import queue
import socket
import threading
import urllib.parse

from . import _wire
from ._errors import EngineUnavailable
from ._message import host_towards, message_of, parts_of
from .backend import Place
from .node import NodeAgent

try:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    try:
        from ray.util import client, log_once
    except ImportError:
        client = None  # Without grpcio there is none.
except ImportError as error:
    raise ImportError(
        "ray is not installed: pip install 'procession[ray]'", name=error.name
    ) from error

TYPE_CHECKING = False
if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from .backend import Answer, TaskEnvelope

__all__ = ["Link", "Ray", "RayAgent"]

_OPTIONS = {"lease", "start_method"}

# Seconds that a server for clients has to accept a connection.
_PATIENCE = 10.0

_connecting = threading.Lock()


class Ray:
    """The engine whose nodes are those of a Ray cluster."""

    def __init__(self) -> None:
        self._url = ""
        # The server for Ray's clients that the URL names.
        self._named = ""
        # The one that the program is a client of, if it is, and Ray as that has it:
        # the module itself starts a cluster of its own where the program has left one.
        self._server = ""
        self._api: Any = ray

    def open(self, url: str) -> None:
        """Connects to the cluster, unless the program has done so."""
        parsed = urllib.parse.urlsplit(url)
        given = urllib.parse.parse_qs(parsed.query)
        unknown = sorted(given.keys() - _OPTIONS)
        if unknown:
            raise ValueError(
                f"{url}: ray has no option {unknown[0]!r}, only {sorted(_OPTIONS)}"
            )
        self._url = url
        self._named = self._server = parsed.netloc
        if parsed.netloc and client is None:
            raise ImportError(
                "Ray's client is not installed: pip install 'procession[ray]'",
                name="grpc",
            )
        with _connecting:
            self._connect()

    def _connect(self) -> None:
        """Connects, or takes the connection that there is."""
        if not ray.is_initialized():
            if self._server:
                self._connect_client()
            else:
                self._connect_driver()
        self._note_connection()

    def _note_connection(self) -> None:
        """Notes how the program is connected, which it may have changed since it was asked last."""
        worker = None if client is None else client.ray.get_context().client_worker
        server = "" if worker is None else worker._conn_str
        if self._named and self._named != server:
            raise EngineUnavailable(
                f"{self._url}: the program is connected to another cluster of Ray already, "
                "and can be to one only: use get_context('ray'), or call ray.shutdown first"
            )
        self._server = server
        self._api = client.ray if server else ray

    def _connect_driver(self) -> None:
        try:
            ray.init("auto", log_to_driver=True, logging_level="ERROR")
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise EngineUnavailable(
                f"no cluster of Ray was found by {self._url!r}, and none is started: call "
                "ray.init first, run `ray start` on this machine, set RAY_ADDRESS, or name "
                f"a server for clients as in 'ray://host:10001': {error}"
            ) from error

    def _connect_client(self) -> None:
        try:
            host, _, port = self._server.rpartition(":")
            # Ray itself asks for half a minute where nobody is.
            address = host.strip("[]"), int(port)
            socket.create_connection(address, _PATIENCE).close()
            # Ray advises to put what is large into its store, as if that were up to the user.
            log_once("client_communication_overhead_warning")
            # What is left of a connection that has broken, or was not made.
            ray.shutdown()
            client.ray.get_context().disconnect()
            ray.init(f"ray://{self._server}", logging_level="ERROR")
        except Exception as error:
            raise EngineUnavailable(
                f"no server for Ray's clients answers at {self._server} (if its cluster "
                f"wants a token, RAY_AUTH_MODE=token has to be set here, too): {error}"
            ) from error

    def _connect_anew(self, error: Exception) -> None:
        """Connects to the cluster again if its connection has broken."""
        if self._api is not ray:
            try:
                # Waits until Ray's client has connected anew, or has given up.
                self._api.get_context().client_worker.connection_info()
            except Exception:
                ray.shutdown()
        elif ray.is_initialized():
            raise EngineUnavailable(
                f"the cluster of Ray does not answer: {error}"
            ) from error
        self._connect()

    def _nodes(self) -> list[dict[str, Any]]:
        """Returns what Ray says of the nodes that are there."""
        try:
            return self._nodes_now()
        except EngineUnavailable:
            raise
        except Exception as error:
            with _connecting:
                self._connect_anew(error)
        try:
            return self._nodes_now()
        except Exception as error:
            raise EngineUnavailable(
                f"the cluster of Ray does not answer: {error}"
            ) from error

    def _nodes_now(self) -> list[dict[str, Any]]:
        if not ray.is_initialized():
            raise ConnectionError("the program is not connected to it any more")
        self._note_connection()
        return [node for node in self._api.nodes() if node["Alive"]]

    def places(self) -> list[Place]:
        """Returns the nodes that the cluster has now.

        Raises:
            EngineUnavailable: The cluster does not answer.
        """
        return [
            Place(
                str(node["NodeID"]),
                max(int(node["Resources"].get("CPU", 1)), 1),
                str(node["NodeManagerHostname"]),
            )
            for node in sorted(self._nodes(), key=lambda node: str(node["NodeID"]))
        ]

    def client_host(self) -> str | None:
        """Returns the address of this machine on the way to the nodes."""
        return host_towards(str(node["NodeManagerAddress"]) for node in self._nodes())

    def watch(self, changed: Callable[[Place, bool], None]) -> None:
        """Does nothing: Ray tells nobody of nodes. The loss of an agent is told by its link."""

    def agent(
        self, place: Place, setup: Mapping[str, object], lost: Callable[[str], None]
    ) -> Link:
        """Makes an actor on a node."""
        data = pickle.dumps({**setup, "node": place.name})
        return Link(self._api, place, data, lost)

    def close(self) -> None:
        """Leaves the connection, which is the program's."""


class Link:
    """The client's end of what an actor says.

    Args:
        api: Ray, or what a client has of it.
        place: The node.
        setup: The pickled arguments of a `NodeAgent`.
        lost: Is called if the actor is gone.
    """

    def __init__(
        self, api: Any, place: Place, setup: bytes, lost: Callable[[str], None]
    ) -> None:
        self._api = api
        self._lost = lost
        self._closing = False
        self._is_ending = False
        self._ended = threading.Event()
        self._actor: Any = None
        self._asked: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        # To ask for something takes a while there.
        self._waits = api is not ray
        # A client cannot send the views that Ray makes of buffers.
        self._beside = bytes if self._waits else pickle.PickleBuffer
        if self._waits:
            threading.Thread(
                target=self._run, name="procession-ray", daemon=True
            ).start()
        self._do(lambda: self._begin(place, setup))

    def _run(self) -> None:
        while (call := self._asked.get()) is not None:
            call()

    def _do(self, call: Callable[[], None]) -> None:
        """Calls a function behind those that were given before."""
        if self._waits:
            self._asked.put(call)
        else:
            call()

    def _begin(self, place: Place, setup: bytes) -> None:
        where = NodeAffinitySchedulingStrategy(place.name, soft=False)
        # Its workers are what takes processors, and Ray does not know of them.
        options = {
            "num_cpus": 0,
            "max_restarts": 0,
            "max_task_retries": 0,
            "scheduling_strategy": where,
        }
        try:
            self._actor = (
                ray.remote(RayAgent).options(**options).remote(setup, self._beside)
            )
        except Exception as error:
            self._lose(f"could not be started: {error}")

    def put(
        self, parcels: Sequence[TaskEnvelope], done: Callable[[Sequence[Answer]], None]
    ) -> None:
        """Sends tasks."""
        self._ask("put", done, message_of(_wire.pack_tasks(parcels), self._beside))

    def take(self, done: Callable[[Sequence[Answer]], None]) -> None:
        """Asks for answers."""
        self._ask("take", done)

    def tell(self, message: bytes) -> None:
        """Sends a message."""
        self._ask("tell", None, message)

    def close(self, timeout: float | None) -> None:
        """Has the actor end its workers, and then end."""
        self._closing = True
        if not self._is_ending:
            self._is_ending = True
            self._do(self._end)
        if timeout is not None:
            self._ended.wait(timeout)  # If it is gone, or does not answer, that is all.
            self._do(self._kill)
            self._asked.put(None)

    def _end(self) -> None:
        try:
            ended = self._actor.end.remote().future()
        except Exception:
            self._ended.set()  # It is gone, or cannot be reached.
        else:
            ended.add_done_callback(lambda _: self._ended.set())

    def _kill(self) -> None:
        try:
            self._api.kill(self._actor)
        except Exception:
            pass  # It cannot be reached, or was not made: its lease ends it.

    def _ask(
        self,
        method: str,
        done: Callable[[Sequence[Answer]], None] | None,
        *args: bytes,
    ) -> None:
        self._do(lambda: self._ask_now(method, done, *args))

    def _ask_now(
        self,
        method: str,
        done: Callable[[Sequence[Answer]], None] | None,
        *args: bytes,
    ) -> None:
        if self._closing:
            return
        try:
            future = getattr(self._actor, method).remote(*args).future()
        except Exception as error:
            self._lose(f"cannot be reached any more: {_line_of(error)}")
        else:
            future.add_done_callback(lambda future: self._came(future, done))

    def _came(
        self,
        future: concurrent.futures.Future[bytes],
        done: Callable[[Sequence[Answer]], None] | None,
    ) -> None:
        error = future.exception()
        if error is not None:
            self._lose(f"is gone: {_line_of(error)}")
        elif done is not None and not self._closing:
            done(_wire.unpack_answers(parts_of(future.result())))

    def _lose(self, reason: str) -> None:
        """Says, once, that the actor is gone."""
        if not self._closing:
            self._closing = True
            self._ended.set()
            self._lost(reason)


def _line_of(error: BaseException) -> str:
    """Returns the first line of what an error says; Ray tells whole stories."""
    return str(error).partition("\n")[0] or repr(error)


class RayAgent:
    """A node agent as an actor of Ray: its methods take and return messages.

    Args:
        setup: The pickled arguments of a `NodeAgent`.
        beside: As what large parts of messages are sent.
    """

    def __init__(self, setup: bytes, beside: Callable[[Any], Any]) -> None:
        self._beside = beside
        given = pickle.loads(setup)
        self._agent = NodeAgent(**given, ended=lambda: os._exit(1))
        self._wait = given["lease"] / 3

    async def put(self, data: Any) -> Any:
        """Takes tasks."""
        self._agent.put(_wire.unpack_tasks(parts_of(data)))
        return message_of(_wire.pack([]), self._beside)

    async def take(self) -> Any:
        """Waits for answers."""
        import asyncio

        loop = asyncio.get_running_loop()
        answers = await loop.run_in_executor(None, self._agent.take, self._wait)
        return message_of(_wire.pack(answers), self._beside)

    async def tell(self, message: bytes) -> None:
        """Takes a message."""
        self._agent.tell(message)

    async def end(self) -> None:
        """Ends the workers."""
        import asyncio

        await asyncio.get_running_loop().run_in_executor(None, self._agent.end)
