"""Runs a program in which `multiprocessing` is procession.

    python -m procession SCRIPT [ARG...]
    python -m procession -m MODULE [ARG...]

The program cannot tell otherwise: `sys.argv`, `sys.path[0]` and `__main__` are what
they are when `python` runs it directly.
"""

import io
import os
import pkgutil
import runpy
import sys
import types
from importlib.machinery import SourceFileLoader
from typing import NoReturn

from procession import install

USAGE = """\
usage: python -m procession SCRIPT [ARG...]
       python -m procession -m MODULE [ARG...]"""


def main(args: list[str]) -> None:
    """Runs the program that the arguments name."""
    if args[:1] == ["-m"]:
        if len(args) < 2:
            _fail("-m needs the name of a module")
        run_module(args[1], args[1:])
    elif not args or args[0].startswith("-"):
        _fail(f"unknown option {args[0]}" if args else "no program was given")
    else:
        run_path(args[0], args)


def run_module(name: str, argv: list[str]) -> None:
    """Runs a module as `python -m` does."""
    _enter(argv, os.getcwd())
    # The function that the interpreter itself calls for -m: unlike run_module it lets
    # the module be, and stay, `__main__`.
    runpy._run_module_as_main(name)  # type: ignore[attr-defined]


def run_path(path: str, argv: list[str]) -> None:
    """Runs a script, or the `__main__` of a directory or an archive."""
    # A directory and an archive have one, a script has none.
    if pkgutil.get_importer(path) is not None:
        _enter(argv, path)
        runpy._run_module_as_main("__main__", alter_argv=False)  # type: ignore[attr-defined]
        return
    try:
        with io.open_code(path) as file:
            # None unless it is compiled.
            code = pkgutil.read_code(file)
        with io.open_code(path) as file:
            source = file.read()
    except OSError as error:
        _fail(f"can't open file {path!r}: {error.strerror}")
    module = _enter(argv, os.path.dirname(os.path.realpath(path)))
    module.__file__ = path
    module.__cached__ = None  # type: ignore[attr-defined]
    module.__loader__ = SourceFileLoader("__main__", path)
    if code is None:
        code = compile(source, path, "exec", dont_inherit=True)
    exec(code, module.__dict__)  # noqa: S102 (it is what was asked for)


def _enter(argv: list[str], first_path: str) -> types.ModuleType:
    """Gives the program its arguments, its path and an empty `__main__`."""
    install()
    sys.argv = argv
    if not sys.flags.safe_path:
        # It was put there for `-m procession`.
        sys.path[0] = first_path
    module = types.ModuleType("__main__")
    module.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module
    return module


def _fail(message: str) -> NoReturn:
    print(f"procession: {message}\n{USAGE}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
