"""A trace of what this process and all its relatives do, for Perfetto and Chrome."""

from __future__ import annotations

import os
import sys

from . import _procession, _registry, util

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

__all__ = ["Trace", "begin_by_environment"]

_VARIABLE = "PROCESSION_TRACE"

# Below the priority of all else that the package does at exit, so that the ends of
# children are in the trace.
_LAST = -1000


class Trace:
    """Writes a trace of this process and all its relatives, until it is stopped.

    `procession.trace` makes one. It can be used in a `with` statement; it is stopped at the
    end of this process at the latest.

    Args:
        path: The file, which is made anew. `{pid}` in it stands for the id of this process.

    Raises:
        OSError: The file cannot be made.
        ValueError: A process of the family writes a trace already.

    Example:
        >>> import os
        >>> import procession
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     trace = procession.trace(os.path.join(folder, "run.json"))
        ...     with procession.Pool(1) as pool:
        ...         print(pool.map(abs, [-1, 1]))
        ...     trace.stop()
        ...     print(trace.path.name)
        [1, 1]
        run.json
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._writer = _procession.TraceWriter(os.fspath(path))
        self._at_exit = util.Finalize(None, self._writer.end, exitpriority=_LAST)

    @property
    def path(self) -> Path:
        """The full name of the file."""
        from pathlib import Path  # Few programs ask, and it takes some ms to import.

        return Path(self._writer.path)

    def stop(self) -> None:
        """Ends the trace, and waits until the file has all of it.

        The second time, and in a forked child, it does nothing.

        Raises:
            OSError: The file could not be written.
        """
        self._at_exit.cancel()
        self._writer.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def begin_by_environment() -> None:
    """Begins the trace that the environment asks for, in the first process of a family.

    The variable is taken out: what this process starts would write the same file.
    """
    is_child = sys.argv[1:2] == ["--multiprocessing-fork"]
    if not is_child and _registry.parent_process() is None:
        Trace(os.environ.pop(_VARIABLE))
