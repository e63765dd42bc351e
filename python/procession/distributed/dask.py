"""The engine `dask`: node agents are actors on the workers of a dask cluster that exists.

`dask://host:8786` is a scheduler's address; `dask` alone is the cluster of the program's
`distributed.Client`, or what `DASK_SCHEDULER_ADDRESS` says. With the option `direct=0` all goes
by way of the scheduler, for clients that do not reach the workers. Dask carries bytes and says
when a worker is gone; it knows nothing of tasks, and tries none again.

The end of an agent cannot be waited for: the worker of dask goes on without it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import pickle
import threading
import urllib.parse

from . import _wire
from ._errors import EngineUnavailable
from ._message import host_towards, message_of, parts_of
from .backend import Place
from .node import NodeAgent

try:
    import distributed
    from distributed.protocol import register_serialization
except ImportError as error:
    raise ImportError(
        "dask is not installed: pip install 'procession[dask]'", name=error.name
    ) from error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from typing import Any

    from .backend import Answer, TaskEnvelope

__all__ = ["Dask", "DaskAgent", "Link"]

# Seconds that the scheduler has to answer.
_PATIENCE = 10.0

_OPTIONS = {"direct", "lease", "start_method"}


class Dask:
    """The engine whose nodes are the workers of a dask cluster."""

    def __init__(self) -> None:
        self._client: Any = None
        self._address = ""
        self._is_direct = True
        # The connection by which the scheduler was asked to tell of workers.
        self._told_by: Any = None
        self._connecting: asyncio.Lock
        self._loop: asyncio.AbstractEventLoop
        self._thread: threading.Thread
        # The links to each worker, by its address; then the functions that are told of
        # workers.
        self._links: dict[str, list[Link]] = {}
        self._watchers: list[Callable[[Place, bool], None]] = []

    def open(self, url: str) -> None:
        """Connects to the scheduler."""
        parsed = urllib.parse.urlsplit(url)
        given = urllib.parse.parse_qs(parsed.query)
        unknown = sorted(given.keys() - _OPTIONS)
        if unknown:
            raise ValueError(
                f"{url}: dask has no option {unknown[0]!r}, only {sorted(_OPTIONS)}"
            )
        address = f"tcp://{parsed.netloc}" if parsed.netloc else _address_here()
        self._address = address
        self._is_direct = given.get("direct", ["1"])[-1] != "0"
        self._connecting = asyncio.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="procession-dask", daemon=True
        )
        self._thread.start()
        try:
            self._run(self._connect())
        except OSError as error:
            self._stop()
            raise EngineUnavailable(
                f"no scheduler of dask answers at {address}: {error}"
            ) from error

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def places(self) -> list[Place]:
        """Returns the workers that the cluster has now.

        Raises:
            EngineUnavailable: The scheduler does not answer.
        """
        try:
            identity = self._run(asyncio.wait_for(self._identity(), _PATIENCE))
        except OSError as error:
            raise EngineUnavailable(
                f"the scheduler of dask at {self._address} does not answer: {error!r}"
            ) from error
        return [
            Place(address, int(worker["nthreads"]), str(worker["host"]))
            for address, worker in sorted(identity["workers"].items())
        ]

    async def _connect(self) -> None:
        """Sees to it that there is a client, and that it is told of workers.

        Dask's client looks for a scheduler that is gone, for a while, and does not ask the one that
        it finds to tell of anything.
        """
        async with self._connecting:
            client = self._client
            if client is None or client.status in ("closing", "closed"):
                client = self._client = await distributed.Client(
                    self._address,
                    asynchronous=True,
                    set_as_default=False,
                    timeout=_PATIENCE,
                    direct_to_workers=self._is_direct,
                )
            told_by = client.scheduler_comm
            if told_by is not None and told_by is not self._told_by:
                self._told_by = told_by
                client.subscribe_topic("all", self._note)

    async def _identity(self) -> Any:
        await self._connect()
        scheduler = self._client.scheduler
        if scheduler is None:
            raise ConnectionError("it was gone for too long")
        return await scheduler.identity(n_workers=-1)

    def client_host(self) -> str | None:
        """Returns the address of this machine on the way to the workers."""
        return host_towards(place.host for place in self.places())

    def watch(self, changed: Callable[[Place, bool], None]) -> None:
        """Has a function called when a worker has come, or is gone."""
        self._watchers.append(changed)

    def _note(self, event: tuple[float, Mapping[str, Any]]) -> None:
        """Takes what the scheduler tells, in the thread of the loop."""
        _, said = event
        address, action = said.get("worker"), said.get("action")
        if action not in ("add-worker", "remove-worker") or address is None:
            return
        is_there = action == "add-worker"
        if not is_there:
            for link in self._links.pop(address, []):
                link.lose("was removed from the cluster")
        for changed in [*self._watchers]:
            # In another thread, as the function asks the scheduler, which needs this
            # loop.
            self._loop.run_in_executor(None, changed, Place(address, 1, ""), is_there)

    def agent(
        self, place: Place, setup: Mapping[str, object], lost: Callable[[str], None]
    ) -> Link:
        """Makes an actor on a worker."""
        link = Link(self._loop, place, lost)
        self._links.setdefault(place.name, []).append(link)
        data = pickle.dumps({**setup, "node": place.name})
        asyncio.run_coroutine_threadsafe(link.begin(self._client, data), self._loop)
        return link

    def close(self) -> None:
        """Closes the connection to the scheduler."""
        if self._client is not None:
            self._run(self._leave())
            self._stop()

    async def _leave(self) -> None:
        closing = self._client.close()
        if closing is not None:  # Dask has closed it if the scheduler is gone.
            await closing


def _address_here() -> str:
    """Returns the address of the scheduler that this program uses already."""
    import dask.config

    try:
        return str(distributed.Client.current().scheduler.address)
    except ValueError:
        address = dask.config.get("scheduler-address", None)
    if address is None:
        raise EngineUnavailable(
            "there is no cluster of dask, and none is started: name its scheduler, as in "
            "'dask://host:8786' or by DASK_SCHEDULER_ADDRESS, or make a distributed.Client "
            "first"
        )
    return str(address)


class Link:
    """The client's end of what an actor says.

    Args:
        loop: The loop of the client of dask.
        place: The worker.
        lost: Is called if the actor is gone.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        place: Place,
        lost: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._place = place
        self._lost = lost
        self._future: Any = None
        self._actor: asyncio.Future[Any] = loop.create_future()
        self._closing = False
        self._ended = concurrent.futures.Future[None]()

    async def begin(self, client: Any, setup: bytes) -> None:
        """Makes the actor."""
        try:
            self._future = client.submit(
                DaskAgent,
                setup,
                actor=True,
                workers=[self._place.name],
                allow_other_workers=False,
                pure=False,
                retries=0,
            )
            await self._future
            with client.as_current():
                # dask takes the current client of this thread.
                actor = distributed.Actor(DaskAgent, self._place.name, self._future.key)
            self._actor.set_result(actor)
        except Exception as error:
            self._actor.cancel()
            self.lose(f"could not be started: {error!r}")

    def put(
        self, parcels: Sequence[TaskEnvelope], done: Callable[[Sequence[Answer]], None]
    ) -> None:
        """Sends tasks."""
        self._start(
            self._ask("put", done, message_of(_wire.pack_tasks(parcels), _Beside))
        )

    def take(self, done: Callable[[Sequence[Answer]], None]) -> None:
        """Asks for answers."""
        self._start(self._ask("take", done))

    def tell(self, message: bytes) -> None:
        """Sends a message."""
        self._start(self._ask("tell", None, message))

    def close(self, timeout: float | None) -> None:
        """Has the actor end, and dask forget it."""
        if not self._closing:
            self._closing = True
            self._start(self._end())
        if timeout is not None:
            try:
                self._ended.result(timeout)
            except concurrent.futures.TimeoutError:
                pass  # If it is not told, its lease ends it.

    async def _end(self) -> None:
        try:
            if self._actor.done() and not self._actor.cancelled():
                await self._actor.result().end()
        except Exception:
            pass  # It is gone, or its lease ends it.
        if self._future is not None:
            self._future.release()
        self._ended.set_result(None)

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    async def _ask(
        self,
        method: str,
        done: Callable[[Sequence[Answer]], None] | None,
        *args: bytes,
    ) -> None:
        try:
            actor = await asyncio.shield(self._actor)
            data = await getattr(actor, method)(*args)
        except asyncio.CancelledError:
            return  # The actor could not be made, and `lost` was called.
        except Exception as error:
            self.lose(f"does not answer any more: {error}")
            return
        if done is not None:
            done(_wire.unpack_answers(parts_of(data)))

    def lose(self, reason: str) -> None:
        """Says, once, that the actor is gone."""
        if not self._closing:
            self._closing = True
            self._ended.set_result(None)
            if self._future is not None:
                self._future.release()
            self._lost(reason)


class _Beside:
    """A large part of a message, which dask sends as it is, and gives out where it was received."""

    __slots__ = ("data",)

    def __init__(self, data: Any) -> None:
        self.data = data


def _send(part: _Beside) -> tuple[dict[str, Any], list[Any]]:
    return {}, [part.data]


def _receive(_header: dict[str, Any], frames: list[Any]) -> memoryview:
    return memoryview(frames[0] if len(frames) == 1 else b"".join(frames))


register_serialization(_Beside, _send, _receive)


class DaskAgent:
    """A node agent as an actor of dask: its methods take and return messages.

    Args:
        setup: The pickled arguments of a `NodeAgent`.
    """

    def __init__(self, setup: bytes) -> None:
        given = pickle.loads(setup)
        self._agent = NodeAgent(**given)
        self._wait = given["lease"] / 3

    async def put(self, data: Any) -> Any:
        """Takes tasks."""
        self._agent.put(_wire.unpack_tasks(parts_of(data)))
        return message_of(_wire.pack([]), _Beside)

    async def take(self) -> Any:
        """Waits for answers."""
        loop = asyncio.get_running_loop()
        answers = await loop.run_in_executor(None, self._agent.take, self._wait)
        return message_of(_wire.pack(answers), _Beside)

    async def tell(self, message: bytes) -> None:
        """Takes a message."""
        self._agent.tell(message)

    async def end(self) -> None:
        """Ends the workers."""
        await asyncio.get_running_loop().run_in_executor(None, self._agent.end)
