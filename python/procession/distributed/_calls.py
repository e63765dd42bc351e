"""The calls of a pool on other nodes: their tasks, made when a node has room for them."""

from __future__ import annotations

from .. import _worker_life
from .._chunks import cut
from .._errors import CancelledError
from . import _pickling

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from .._terms import Terms
    from .backend import Parts
    from .coordinator import Coordinator

__all__ = ["Call", "Feeder", "Outcome", "Task"]


class Task:
    """One task of a call.

    Args:
        call: The call.
        index: Its place among the tasks of the call.
    """

    __slots__ = ("body", "call", "held", "index", "number", "size", "tries")

    def __init__(self, call: Call, index: int) -> None:
        self.call = call
        self.index = index
        self.tries = 0
        # Each try gets another number, so that a late answer to an earlier try is
        # recognised.
        self.number = 0
        self.body: Parts = ()
        # Handles in the inputs: their objects are there until there is an outcome.
        self.held: Any = None
        self.size = 0

    def fill(self, body: Parts) -> None:
        """Takes the pickled inputs."""
        self.body = body
        self.held = getattr(body, "handles", None)

    @property
    def label(self) -> str:
        return self.call.label(self.index)


class Outcome:
    """The outcome of a task, on its way to the result.

    Args:
        task: The task.
        kind: "value", "error", or why there is neither: "lost", "died", "cancelled",
            "ended".
        content: A function that makes the value or the error.
        size: How many bytes it was received as.
        told: Whether callbacks are called.
        length: How many results there will be, where that is known by it.
    """

    __slots__ = ("content", "kind", "length", "size", "task", "told")

    def __init__(
        self,
        task: Task,
        kind: str,
        content: Callable[[], Any],
        size: int = 0,
        told: bool = True,
        length: int | None = None,
    ) -> None:
        self.task = task
        self.kind = kind
        self.content = content
        self.size = size
        self.told = told
        self.length = length


class Call:
    """One call of a pool's method, and the tasks that it has to make.

    Args:
        result: Where the outcomes go.
        function: What is called, for the text of errors.
        terms: The limits of each task.
        inputs: The inputs, where they are at hand.
        chunksize: How many of them make a task; 0 where there is but one task.
    """

    def __init__(
        self,
        result: Any,
        function: Any,
        terms: Terms | None,
        inputs: Sequence[Any] = (),
        chunksize: int = 0,
    ) -> None:
        self.result = result
        self.number = 0
        timeout, retries, soft_timeout, priority, *_ = terms or (None, 0, None, 0)
        self.limits = timeout, soft_timeout, priority
        self.retries = retries
        self.priority = priority
        # What the tasks have in common, pickled.
        self.job: Parts | None = None
        self._name = _worker_life.name_of(function)
        self._inputs = inputs
        self._chunk = chunksize
        # How many tasks there are, and how many of them were made; of those that are
        # made how many have no outcome yet.
        self.total = -(-len(inputs) // chunksize) if chunksize else 0
        self.made = 0
        self.open = 0
        # A thread goes on to make tasks; nobody wants those that are not made.
        self.is_fed = False
        self.is_cancelled = False
        self.is_stream = hasattr(result, "_set_length")

    def label(self, index: int) -> str:
        """Returns what errors call a task."""
        if not self._chunk:
            return self._name
        first = index * self._chunk
        if self._chunk == 1:
            return f"{self._name} on input {first}"
        last = first + self._chunk
        if not self.is_fed and self._inputs:
            last = min(last, len(self._inputs))
        return f"{self._name} on inputs {first} to {last - 1}"

    def body(self, index: int) -> Parts:
        """Returns the pickled inputs of a task."""
        first = index * self._chunk
        if self._chunk == 1:
            return self.pickled(index, self._inputs[first])
        inputs = tuple(self._inputs[first : first + self._chunk])
        if len(inputs) < self._chunk and self.is_stream:
            self.result._set_last(index, len(inputs))
        return self.pickled(index, inputs)

    def pickled(self, index: int, inputs: Any) -> Parts:
        """Returns inputs pickled; an error says which task they are of."""
        try:
            return _pickling.dumps_held(inputs)
        except Exception as error:
            error.add_note(f"What cannot be sent is of {self.label(index)}.")
            raise

    def is_full(self) -> bool:
        """Returns whether results have to be fetched before there are more tasks."""
        return self.is_stream and bool(self.result._is_full(self.made))

    def is_over(self) -> bool:
        """Returns whether there is nothing more to do for it."""
        return self.made == self.total and not self.open and not self.is_fed

    def cancelled(self, index: int) -> CancelledError:
        """Returns the error of a task that was cancelled."""
        return CancelledError(f"{self.label(index)} was cancelled")

    def arrive(self, outcome: Outcome, translate: Callable[[str, Any], Any]) -> None:
        """Hands the outcome of a task to the result."""
        kind = outcome.kind
        try:
            content, success = outcome.content(), kind == "value"
        except Exception as error:
            content, success = error, False
        if kind in ("died", "cancelled", "ended"):
            content = translate(kind, content)
        more: dict[str, Any] = {"of_task": kind not in ("cancelled", "ended")}
        if self.is_stream:
            more["size"] = outcome.size
        else:
            more["told"] = outcome.told
        self.result._set(outcome.task.index, (success, content), **more)
        if outcome.length is not None:
            self.result._set_length(outcome.length)


class Feeder:
    """Makes tasks of what an iterable yields, in a thread of its own.

    Args:
        coordinator: What gets the tasks.
        call: The call that they are of.
        iterable: What yields the inputs.
        chunksize: How many of them make a task.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        call: Call,
        iterable: Iterable[Any],
        chunksize: int,
    ) -> None:
        self._coordinator = coordinator
        self._call = call
        self._chunksize = chunksize
        self._inputs = iter(iterable)

    def run(self) -> None:
        """Asks the iterable until its end, or until nobody wants more."""
        call, coordinator = self._call, self._coordinator
        index = 0
        try:
            chunks: Any = self._inputs
            if self._chunksize > 1:
                chunks = cut(self._inputs, self._chunksize)
            while coordinator.wait_for_room(call, index):
                try:
                    inputs = next(chunks)
                except StopIteration:
                    break
                if self._chunksize > 1 and len(inputs) < self._chunksize:
                    call.result._set_last(index, len(inputs))
                coordinator.feed(call, index, inputs)
                index += 1
            else:
                # The call is over: the rest of the inputs is not wanted.
                coordinator.give_up(call, index)
                index += 1
        except BaseException as error:
            call.result._set(index, (False, error), of_task=False)
            index += 1
        finally:
            call.result._set_length(index)
            coordinator.fed(call)
