"""The interface of an engine on which pools can run: `Backend` and `AgentLink`.

The engine places a *node agent* on each of its places, and carries bytes to it and
back. Inside of the agent procession's own pool runs the tasks. The engine only has to
say when a place is gone, so all else about tasks is the same on every engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias

    # The parts of a message: a pickle, and the buffers that it leaves out.
    Parts: TypeAlias = Sequence[bytes | bytearray | memoryview]

__all__ = ["AgentLink", "Answer", "Backend", "Place", "TaskEnvelope"]


class Place(NamedTuple):
    """Where a node agent can be: a node of a cluster.

    Attributes:
        name: What errors call it; no other place of the cluster has the same.
        slots: How many workers it has room for.
        host: The name of the machine.

    Example:
        >>> from procession.distributed import Place
        >>> place = Place("n1", slots=4, host="n1.example.org")
        >>> place.name, place.slots, place.host
        ('n1', 4, 'n1.example.org')
    """

    name: str
    slots: int
    host: str


class TaskEnvelope(NamedTuple):
    """A task on its way to an agent. An engine carries it, and does not look inside.

    Attributes:
        task: Its number, which is higher than those of all that the agent had before.
        nonce: That of the agent it is for: an agent that was made anew refuses it.
        job: The number of the call that it is of.
        job_body: What the tasks of the call have in common, in the first of them that an
            agent is given.
        label: What errors call it.
        terms: Its time limit, its soft time limit and its priority.
        body: The inputs.

    Example:
        >>> from procession.distributed import TaskEnvelope
        >>> envelope = TaskEnvelope(7, 1, 3, None, "math.sqrt", (None, None, 0), (b"...",))
        >>> envelope.task, envelope.nonce, envelope.job, envelope.job_body
        (7, 1, 3, None)
        >>> envelope.label, envelope.terms, envelope.body
        ('math.sqrt', (None, None, 0), (b'...',))
    """

    task: int
    nonce: int
    job: int
    job_body: Parts | None
    label: str
    terms: tuple[float | None, float | None, int]
    body: Parts


class Answer(NamedTuple):
    """What an agent says: of a task, or of itself.

    Attributes:
        task: The number of the task, or of the question.
        outcome: "value", "error", "lost", "died", "cancelled" or "ended" of a task;
            "hello", "ready", "refused" and "reply" of the agent.
        body: The value, the error, or what else there is to say.
        seconds: How long the task has run.

    Example:
        >>> from procession.distributed import Answer
        >>> answer = Answer(7, "value", (b"...",), 0.25)
        >>> answer.task, answer.outcome, answer.body, answer.seconds
        (7, 'value', (b'...',), 0.25)
    """

    task: int
    outcome: str
    body: Parts
    seconds: float = 0.0


@runtime_checkable
class AgentLink(Protocol):
    """How the process that has a pool talks to one of its node agents.

    The functions that it is given are called in a thread of the link's, one after the
    other. One `put` and one `take` are under way at a time.

    Example:
        >>> from procession.distributed import AgentLink
        >>> from procession.distributed.loopback import Link
        >>> issubclass(Link, AgentLink)
        True
        >>> calls = Link.put, Link.take, Link.tell, Link.close
    """

    def put(
        self, parcels: Sequence[TaskEnvelope], done: Callable[[Sequence[Answer]], None]
    ) -> None:
        """Gives the agent tasks; calls `done` with the answers that it has already."""

    def take(self, done: Callable[[Sequence[Answer]], None]) -> None:
        """Asks the agent for answers; calls `done` when it has some, or after a while."""

    def tell(self, message: bytes) -> None:
        """Tells the agent something, which renews its lease, too."""

    def close(self, timeout: float | None) -> None:
        """Lets go of the agent, which ends, and waits for that for so many seconds.

        With None it does not wait; it is called again then.
        """


class Backend(Protocol):
    """An engine on which pools can run.

    One is found by the scheme of its URL, among the entry points of the group
    `procession.backends`.

    Example:
        >>> from procession.distributed.loopback import Loopback
        >>> backend = Loopback()
        >>> backend.open("loopback://2?slots=3")
        >>> [(place.name, place.slots) for place in backend.places()]
        [('loopback-0', 3), ('loopback-1', 3)]
        >>> link_of, watch = backend.agent, backend.watch  # For the coordinator.
        >>> print(backend.client_host())  # The nodes are processes of this machine.
        None
        >>> backend.close()
    """

    def open(self, url: str) -> None:
        """Attaches to a cluster that exists; none is started silently.

        Raises:
            EngineUnavailable: There is none.
            ValueError: The URL has options that the engine does not know.
        """

    def places(self) -> list[Place]:
        """Returns where agents can be."""

    def client_host(self) -> str | None:
        """Returns the name or address of this machine by which the nodes can reach it.

        None says that they are processes of this machine. What the program shares with its
        tasks is served there: see `hub`.
        """

    def watch(self, changed: Callable[[Place, bool], None]) -> None:
        """Has a function called when a place has come, or is gone."""

    def agent(
        self, place: Place, setup: Mapping[str, object], lost: Callable[[str], None]
    ) -> AgentLink:
        """Starts an agent, which is made of `setup`.

        Args:
            place: Where.
            setup: The keyword arguments of `NodeAgent`.
            lost: Is called once, with the reason, if the agent ends without being told.
        """

    def close(self) -> None:
        """Lets go of the cluster."""
