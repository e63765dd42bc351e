"""The engine `ray`: node agents are actors on the nodes of a Ray cluster that exists.

`ray` alone is the cluster that the program is connected to already (`ray.init`), or that
this machine is a node of (`ray start`), or that `RAY_ADDRESS` names; `ray://host:10001` is
the address of a server for Ray's clients. Ray carries bytes and says when an actor is
gone; it knows nothing of tasks, and tries none again.
"""

from __future__ import annotations

import concurrent.futures
import os
import pickle
import urllib.parse

from . import _wire
from ._errors import EngineUnavailable
from ._message import host_towards, message_of, parts_of
from .backend import Place
from .node import NodeAgent

try:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError as error:
    raise ImportError(
        "ray is not installed: pip install 'procession[ray]'", name=error.name
    ) from error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from .backend import Answer, TaskEnvelope

__all__ = ["Link", "Ray", "RayAgent"]

_OPTIONS = {"lease", "start_method"}


class Ray:
    """The engine whose nodes are those of a Ray cluster."""

    def open(self, url: str) -> None:
        """Connects to the cluster, unless the program has done so."""
        parsed = urllib.parse.urlsplit(url)
        given = urllib.parse.parse_qs(parsed.query)
        unknown = sorted(given.keys() - _OPTIONS)
        if unknown:
            raise ValueError(
                f"{url}: ray has no option {unknown[0]!r}, only {sorted(_OPTIONS)}"
            )
        if ray.is_initialized():
            return
        address = f"ray://{parsed.netloc}" if parsed.netloc else "auto"
        try:
            ray.init(address, log_to_driver=True, logging_level="ERROR")
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise EngineUnavailable(
                f"no cluster of Ray was found by {url!r}, and none is started: call "
                "ray.init first, run `ray start` on this machine, set RAY_ADDRESS, or name "
                f"a server for clients as in 'ray://host:10001': {error}"
            ) from error

    def places(self) -> list[Place]:
        """Returns the nodes that the cluster has now."""
        nodes = [node for node in ray.nodes() if node["Alive"]]
        return [
            Place(
                str(node["NodeID"]),
                max(int(node["Resources"].get("CPU", 1)), 1),
                str(node["NodeManagerHostname"]),
            )
            for node in sorted(nodes, key=lambda node: str(node["NodeID"]))
        ]

    def client_host(self) -> str | None:
        """Returns the address of this machine on the way to the nodes."""
        alive = [node for node in ray.nodes() if node["Alive"]]
        return host_towards(str(node["NodeManagerAddress"]) for node in alive)

    def watch(self, changed: Callable[[Place, bool], None]) -> None:
        """Does nothing: Ray tells nobody of nodes. The loss of an agent is told by its link."""

    def agent(
        self, place: Place, setup: Mapping[str, object], lost: Callable[[str], None]
    ) -> Link:
        """Makes an actor on a node."""
        return Link(place, pickle.dumps({**setup, "node": place.name}), lost)

    def close(self) -> None:
        """Leaves the connection, which is the program's."""


class Link:
    """The client's end of what an actor says.

    Args:
        place: The node.
        setup: The pickled arguments of a `NodeAgent`.
        lost: Is called if the actor is gone.
    """

    def __init__(self, place: Place, setup: bytes, lost: Callable[[str], None]) -> None:
        self._lost = lost
        self._closing = False
        self._end: concurrent.futures.Future[Any] | None = None
        where = NodeAffinitySchedulingStrategy(place.name, soft=False)
        # Its workers are what takes processors, and Ray does not know of them.
        options = {
            "num_cpus": 0,
            "max_restarts": 0,
            "max_task_retries": 0,
            "scheduling_strategy": where,
        }
        self._actor: Any = ray.remote(RayAgent).options(**options).remote(setup)

    def put(
        self, parcels: Sequence[TaskEnvelope], done: Callable[[Sequence[Answer]], None]
    ) -> None:
        """Sends tasks."""
        self._ask(
            "put", done, message_of(_wire.pack_tasks(parcels), pickle.PickleBuffer)
        )

    def take(self, done: Callable[[Sequence[Answer]], None]) -> None:
        """Asks for answers."""
        self._ask("take", done)

    def tell(self, message: bytes) -> None:
        """Sends a message."""
        self._ask("tell", None, message)

    def close(self, timeout: float | None) -> None:
        """Has the actor end its workers, and then end."""
        self._closing = True
        if self._end is None:
            self._end = self._actor.end.remote().future()
        if timeout is None:
            return
        try:
            self._end.result(timeout)
        except Exception:
            pass  # It is gone, or does not answer.
        ray.kill(self._actor)

    def _ask(
        self,
        method: str,
        done: Callable[[Sequence[Answer]], None] | None,
        *args: bytes,
    ) -> None:
        future = getattr(self._actor, method).remote(*args).future()
        future.add_done_callback(lambda future: self._came(future, done))

    def _came(
        self,
        future: concurrent.futures.Future[bytes],
        done: Callable[[Sequence[Answer]], None] | None,
    ) -> None:
        error = future.exception()
        if error is not None:
            if not self._closing:
                self._closing = True
                self._lost(f"is gone: {str(error).splitlines()[0]}")
        elif done is not None and not self._closing:
            done(_wire.unpack_answers(parts_of(future.result())))


class RayAgent:
    """A node agent as an actor of Ray: its methods take and return messages.

    Args:
        setup: The pickled arguments of a `NodeAgent`.
    """

    def __init__(self, setup: bytes) -> None:
        given = pickle.loads(setup)
        self._agent = NodeAgent(**given, ended=lambda: os._exit(1))
        self._wait = given["lease"] / 3

    async def put(self, data: Any) -> Any:
        """Takes tasks."""
        self._agent.put(_wire.unpack_tasks(parts_of(data)))
        return message_of(_wire.pack([]), pickle.PickleBuffer)

    async def take(self) -> Any:
        """Waits for answers."""
        import asyncio

        loop = asyncio.get_running_loop()
        answers = await loop.run_in_executor(None, self._agent.take, self._wait)
        return message_of(_wire.pack(answers), pickle.PickleBuffer)

    async def tell(self, message: bytes) -> None:
        """Takes a message."""
        self._agent.tell(message)

    async def end(self) -> None:
        """Ends the workers."""
        import asyncio

        await asyncio.get_running_loop().run_in_executor(None, self._agent.end)
