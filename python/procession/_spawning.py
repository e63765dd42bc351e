"""Which start of a process the running thread is in the middle of.

Pickling depends on it: a descriptor is handed to the child that is being started,
and an authentication key may only go there. `context` re-exports the three
functions under the names that `multiprocessing` gives them.
"""

from __future__ import annotations

import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["assert_spawning", "get_spawning_popen", "set_spawning_popen"]

_thread = threading.local()


def get_spawning_popen() -> Any:
    """Returns the `Popen` that this thread pickles a process for, or None."""
    return getattr(_thread, "popen", None)


def set_spawning_popen(popen: Any) -> None:
    """Notes the `Popen` that this thread begins, or with None ends, to pickle for.

    Where the standard library's package is in use beside this one, it is told, too:
    a queue that `concurrent.futures` has made there crosses to our children then.
    """
    _thread.popen = popen
    theirs = sys.modules.get("multiprocessing.context")
    if theirs is not None and theirs.__name__ == "multiprocessing.context":
        theirs.set_spawning_popen(popen)


def assert_spawning(obj: object) -> None:
    """Refuses to pickle an object for anything but the start of a process.

    Raises:
        RuntimeError: No process is being started.
    """
    if get_spawning_popen() is None:
        raise RuntimeError(
            f"{type(obj).__name__} objects should only be shared between processes"
            " through inheritance"
        )
