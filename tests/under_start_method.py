"""Runs a program under a start method: `under_start_method.py METHOD SCRIPT [ARG...]`.

The program becomes `__main__`, as if Python had been given its file, so that
children that read it again find it.
"""

import multiprocessing
import sys
import types
from pathlib import Path


def become(path: Path, arguments: list[str]) -> None:
    """Runs the file at a path in the place of this program."""
    main = types.ModuleType("__main__")
    main.__file__ = str(path)
    # The second is what a child calls the program, also when it sends objects home.
    sys.modules["__main__"] = sys.modules["__mp_main__"] = main
    sys.argv[:] = [str(path), *arguments]
    sys.path[0] = str(path.parent)
    code = compile(path.read_text(), path, "exec")
    exec(code, main.__dict__)  # noqa: S102 -- running a program is its purpose


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    become(Path(sys.argv[2]), sys.argv[3:])
