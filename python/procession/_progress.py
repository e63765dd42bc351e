"""The bar that shows how far a map is: one of tqdm, where that is installed.

The bar has no thread of its own. The thread that takes a result in, which is one that
waits for results or the pool's own, tells the bar of each task.
"""

from __future__ import annotations

import operator
import threading
import warnings
from collections.abc import Mapping, Sized

from . import get_context
from ._errors import OwnerDied
from ._thread_lock import under_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType
    from typing import Any, Self

__all__ = ["Progress"]


class Progress:
    """Shows how many inputs of a map are done, and how many of them have no result.

    Args:
        options: True, or what `tqdm` is given by name.
        inputs: The inputs; how many there are is asked for, and may be unknown.
        chunksize: How many inputs make a task.
        collects: Whether errors may stand among the results of a task.

    Raises:
        ImportError: tqdm is not installed.
        TypeError: The options are neither True nor a mapping, or tqdm does not know one.
    """

    def __init__(
        self,
        options: bool | Mapping[str, Any],
        inputs: Iterable[Any],
        chunksize: int,
        collects: bool,
    ) -> None:
        if options is not True and not isinstance(options, Mapping):
            raise TypeError(
                "progress must be True, False or a mapping of options for tqdm, not"
                f" {type(options).__name__}"
            )
        given = {} if options is True else dict(options)
        total: int | None = operator.length_hint(inputs, -1)
        self._chunksize = max(chunksize, 1)
        self._collects = collects
        # How many inputs there are, or have been asked for so far.
        self._taken = len(inputs) if isinstance(inputs, Sized) else 0
        self._failed = 0
        self._postfix = given.get("postfix")
        # Results may come in several threads, and while a handler of a signal waits for some.
        self._lock = threading.RLock()
        self._has_ended = False
        given.setdefault("total", None if total == -1 else total)
        # tqdm would adapt it otherwise, and start a thread that looks after slow bars.
        given.setdefault("miniters", 1)
        kind = _bar_class()
        try:
            self._bar = kind(**given)
        except BaseException:
            _free_lock(kind)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.ended()

    def counting(self, inputs: Iterable[Any]) -> Iterable[Any]:
        """Returns the inputs, counted as they are asked for if their number is unknown."""
        return inputs if isinstance(inputs, Sized) else self._count(iter(inputs))

    def _count(self, inputs: Iterator[Any]) -> Iterator[Any]:
        for each in inputs:
            self._taken += 1
            yield each

    def arrived(self, index: int, success: bool, outcome: Any) -> None:
        """Counts the inputs of a task that is done, with its value or its error.

        An error of the inputs themselves stands in the place of a task that has none.
        """
        left = self._taken - index * self._chunksize
        inputs = max(min(self._chunksize, left), 0)
        failed = 0 if success else inputs
        if success and self._collects:
            failed = sum(isinstance(each, BaseException) for each in outcome)
        self.add(inputs, failed)

    def add(self, inputs: int, failed: int = 0) -> None:
        """Counts inputs that are done, and those of them that have no result."""
        under_lock(self._lock, self._add, inputs, failed)

    def _add(self, inputs: int, failed: int) -> None:
        if self._has_ended or not inputs:
            return
        if failed:
            self._failed += failed
            postfix = self._postfix if isinstance(self._postfix, Mapping) else {}
            self._bar.set_postfix({**postfix, "failed": self._failed}, refresh=False)
        try:
            self._bar.update(inputs)
        except OwnerDied:
            # A worker was killed while it drew a bar of its own. This one is drawn with
            # the next result.
            pass
        except BaseException as error:
            _free_lock(type(self._bar))
            if isinstance(error, Exception):
                # This bar, too, is drawn no more.
                self._bar.disable = self._has_ended = True
            raise

    def ended(self) -> None:
        """Leaves the bar as it is: nothing more will come."""
        if under_lock(self._lock, self._end):
            self._close()

    def _end(self) -> bool:
        """Notes that the bar has ended; returns whether it had not before."""
        had_ended, self._has_ended = self._has_ended, True
        return not had_ended

    def _close(self) -> None:
        while True:
            try:
                self._bar.close()
                return
            except OwnerDied:
                pass  # Ignored as above; the lock is free now.


def _free_lock(kind: Any) -> None:
    """Frees the lock of tqdm, which keeps it when it cannot draw; no bar could be drawn."""
    try:
        kind.get_lock().release()
    except Exception:
        pass  # This thread does not hold the lock.


def _bar_class() -> Any:
    """Returns the class of tqdm that fits where the program runs: a terminal or a notebook."""
    try:
        from tqdm import TqdmWarning  # type: ignore[import-untyped, unused-ignore]

        with warnings.catch_warnings():
            # In a notebook without ipywidgets the bar is one of text, which works.
            warnings.simplefilter("ignore", TqdmWarning)
            from tqdm.auto import tqdm  # type: ignore[import-untyped, unused-ignore]
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "tqdm":
            raise
        raise ImportError(
            "progress needs tqdm, which is not installed here: pip install"
            " 'procession[progress]'",
            name="tqdm",
        ) from error
    if not hasattr(tqdm, "_lock"):
        from tqdm.std import tqdm as base  # type: ignore[import-untyped, unused-ignore]

        # Bars of several processes may share a terminal. tqdm would make a lock of the
        # standard library's `multiprocessing`, which may start a process for that.
        base.set_lock(get_context().RLock())

    class Bar(tqdm):  # type: ignore[misc, type-arg, unused-ignore]
        # No thread of tqdm's looks after the bars.
        monitor_interval = 0

    return Bar
