"""The exceptions of pools whose workers are on other machines."""

from __future__ import annotations

from .._errors import ProcessError, WorkerDied

__all__ = ["EngineMismatch", "EngineUnavailable", "NodeLost"]


class EngineUnavailable(ProcessError, ConnectionError):
    """There are no nodes to run tasks: none was found, or the last of them was lost.

    It is a `ConnectionError`, too.

    Example:
        >>> import procession
        >>> from procession.distributed import EngineUnavailable
        >>> context = procession.get_context("loopback://1?python=/no/such/python")
        >>> try:
        ...     context.Pool()
        ... except EngineUnavailable as error:
        ...     print("no node:", "/no/such/python" in str(error))
        no node: True
    """

    __module__ = "procession.distributed"


class EngineMismatch(ProcessError):
    """Nodes cannot run what this process sends: their Python or their procession is another.

    Attributes:
        nodes: What is wrong, by the name of the node.

    Example:
        >>> from procession.distributed import EngineMismatch
        >>> error = EngineMismatch({"n1": "Python 3.14, and 3.12 here"})
        >>> print(error)
        nodes cannot run tasks of this process: n1: Python 3.14, and 3.12 here
        >>> sorted(error.nodes)
        ['n1']
    """

    __module__ = "procession.distributed"

    def __init__(self, nodes: dict[str, str]) -> None:
        super().__init__(nodes)
        self.nodes = nodes

    def __str__(self) -> str:
        told = "; ".join(f"{name}: {what}" for name, what in self.nodes.items())
        return f"nodes cannot run tasks of this process: {told}"


class NodeLost(WorkerDied):
    """A node went away with tasks that it had been given, which may have run.

    It is a `WorkerDied` of which no worker is known: `pid` and `exitcode` are None.

    Attributes:
        node: The name of the node.
        task: What it had been given, such as "module.function on input 3".
        tries: How often the task was given to a node.

    Example:
        >>> import os
        >>> import signal
        >>> import procession
        >>> from procession.distributed import NodeLost
        >>> def kill_the_node():
        ...     os.kill(int(os.environ["PROCESSION_NODE_PID"]), signal.SIGKILL)
        ...     signal.pause()
        >>> with procession.get_context("loopback://2").Pool() as pool:
        ...     try:
        ...         pool.apply(kill_the_node)
        ...     except NodeLost as error:
        ...         print(error.node, error.task, error.tries)
        ...     print(pool.map(abs, [-1, -2]))
        loopback-0 __main__.kill_the_node 1
        [1, 2]
    """

    __module__ = "procession.distributed"

    def __init__(
        self,
        message: str,
        node: str | None = None,
        task: str | None = None,
        tries: int = 1,
    ) -> None:
        super().__init__(message, None, None, task, tries, None, node)

    def __reduce__(self) -> tuple[type[NodeLost], tuple[object, ...]]:
        return type(self), (self.args[0], self.node, self.task, self.tries)
