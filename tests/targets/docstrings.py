"""Runs the examples of a docstring as somebody would type them at a prompt.

Each docstring gets a `__main__` of its own, without a file: children of spawn and
forkserver find none to read, as at a prompt. Prints what failed, or nothing.
"""

import doctest
import pydoc
import sys
import types
from collections.abc import Callable

# A traceback in an example may leave its frames out, and a line may be cut with `...`.
OPTIONS = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL


def run(name: str, tell: Callable[[str], object] = sys.stdout.write) -> int:
    """Runs the examples of the object of a dotted name; returns how many there are."""
    text = pydoc.locate(name).__doc__ or ""
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = sys.modules["__mp_main__"] = main
    test = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    test.globs = main.__dict__
    runner = doctest.DocTestRunner(verbose=False, optionflags=OPTIONS)
    runner.run(test, out=tell, clear_globs=False)
    return len(test.examples)


def run_all(method: str, names: list[str]) -> None:
    """Runs the examples of several names under a start method."""
    import procession

    for name in names:
        procession.set_start_method(method, force=True)
        run(name)
