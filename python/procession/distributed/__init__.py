"""Pools whose workers are on other machines.

`procession.get_context("loopback://4")` returns the context of a cluster: its `Pool`, and
an executor that is made with it, run their tasks on the nodes of that. The engine places an
agent on each node and carries bytes to it; in the agent a pool of that machine runs the
tasks. docs/distributed.md tells what holds, and how to run it.

Nothing else of the package imports this one: a program that stays on its machine does not
pay for it.
"""

from __future__ import annotations

from .._attributes import public

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._errors import EngineMismatch, EngineUnavailable, NodeLost
    from .backend import AgentLink, Answer, Backend, Place, TaskEnvelope
    from .context import context_of
    from .node import NodeAgent

__all__ = [
    "AgentLink",
    "Answer",
    "Backend",
    "EngineMismatch",
    "EngineUnavailable",
    "NodeAgent",
    "NodeLost",
    "Place",
    "TaskEnvelope",
    "context_of",
]

# Where each is. The workers of a node need none of them.
_HOMES = {
    "EngineMismatch": "_errors",
    "EngineUnavailable": "_errors",
    "NodeLost": "_errors",
    "NodeAgent": "node",
    "context_of": "context",
}


def __getattr__(name: str) -> object:
    """Imports what is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    module = importlib.import_module(f".{_HOMES.get(name, 'backend')}", __name__)
    return getattr(module, name)


def __dir__() -> list[str]:
    return public([*globals(), *__all__])
