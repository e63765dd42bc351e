"""Runs a program in which `multiprocessing` is procession.

    python -m procession SCRIPT [ARG...]
    python -m procession -m MODULE [ARG...]
    python -m procession -c COMMAND [ARG...]
    python -m procession - [ARG...]

Or shows what programs do that use procession:

    python -m procession ps [PID] [--json | --openmetrics]
    python -m procession top [PID] [--once | --json | --openmetrics]
    python -m procession dashboard [PID] [--port N]

`-h` and `--help` tell this, `-V` and `--version` the version.

The program cannot tell otherwise: `sys.argv`, `sys.path[0]`, `__main__` and tracebacks
are what they are when `python` runs it directly.
"""

import io
import os
import pkgutil
import runpy
import sys
import textwrap
import types
from importlib.machinery import BuiltinImporter, SourceFileLoader
from typing import Any, NoReturn

from procession import __version__, context, install

USAGE = """\
usage: python -m procession SCRIPT [ARG...]
       python -m procession -m MODULE [ARG...]
       python -m procession -c COMMAND [ARG...]
       python -m procession - [ARG...]
       python -m procession ps|top|dashboard [PID]"""

HELP = f"""\
{USAGE}

Runs a Python program in which `multiprocessing` is procession, in its children too.

  SCRIPT         a file, or a folder or an archive that has a __main__.py
  -m MODULE      a module or a package, as for `python -m`
  -c COMMAND     the text of a program, as for `python -c`
  -              standard input, or at a terminal a prompt

  ps, top, dashboard
                 what programs do that use procession: see `ps --help`; a script of such a
                 name is ./ps

  -h, --help     show this and end
  -V, --version  show the version of procession and end

PROCESSION_CONTEXT=URL has the pools and processes of the program run on a cluster."""


def main(args: list[str]) -> None:
    """Runs the program that the arguments name."""
    try:
        _run(args)
    except SystemExit:
        raise
    except BaseException as error:
        _show_the_program_alone(error)
        raise


def console() -> None:
    """Runs the subcommand or the program that the arguments of `procession` name."""
    main(sys.argv[1:])


def _run(args: list[str]) -> None:
    first = args[0] if args else ""
    # As for `python`, what they take may follow at once.
    if first[:2] in ("-m", "-c"):
        argument, others = first[2:], args[1:]
        if not argument:
            if len(args) < 2:
                what = "the name of a module" if first == "-m" else "a command"
                _fail(f"{first} needs {what}")
            argument, others = args[1], args[2:]
        if first[:2] == "-m":
            run_module(argument, [argument, *others])
        else:
            run_command(argument, ["-c", *others])
    elif first in ("-h", "--help"):
        print(HELP)
    elif first in ("-V", "--version"):
        print(f"procession {__version__}")
    elif first == "-":
        run_input(args)
    elif first in ("ps", "top"):
        from procession import _view  # Not at the top: programs do not need it.

        sys.exit(_view.main(args))
    elif first == "dashboard":
        from procession import _dashboard

        sys.exit(_dashboard.main(args))
    elif not first or first.startswith("-"):
        _fail(f"unknown option {first}" if first else "no program was given")
    else:
        run_path(first, args)


def _show_the_program_alone(error: BaseException) -> None:
    """Shows what the program has raised without the frames that have run it.

    The interpreter calls `sys.excepthook` when it has left all of it.
    """
    shown = error.__traceback__
    while shown is not None and shown.tb_frame.f_code.co_filename == __file__:
        shown = shown.tb_next
    before = sys.excepthook

    def excepthook(kind: Any, value: Any, _: Any) -> None:
        sys.excepthook = before
        sys.last_traceback = value.__traceback__ = shown
        before(kind, value, shown)

    sys.excepthook = excepthook


def run_module(name: str, argv: list[str]) -> None:
    """Runs a module as `python -m` does."""
    _enter(argv, os.getcwd())
    # The function that the interpreter itself calls for -m: unlike run_module it lets
    # the module be, and stay, `__main__`.
    runpy._run_module_as_main(name)  # type: ignore[attr-defined]


def run_command(command: str, argv: list[str]) -> None:
    """Runs a text as `python -c` does."""
    if sys.version_info >= (3, 14):
        command = textwrap.dedent(command)
    module = _enter(argv, "")
    module.__loader__ = BuiltinImporter
    code = compile(f"{command}\n", "<string>", "exec", dont_inherit=True)
    if sys.version_info >= (3, 13):
        import linecache

        # As with `python -c`, tracebacks show its lines. They look for them by the code; the first
        # releases of 3.13 did so by the name of its file.
        key = code if hasattr(linecache, "_interactive_cache") else "<string>"
        linecache._register_code(key, command, "<string>")  # type: ignore[attr-defined]
    exec(code, module.__dict__)  # noqa: S102 (it is what was asked for)


def run_input(argv: list[str]) -> None:
    """Runs what can be read from standard input."""
    module = _enter(argv, "")
    module.__loader__ = BuiltinImporter
    module.__file__, module.__cached__ = "<stdin>", None  # type: ignore[attr-defined]
    if sys.stdin.isatty():
        import code

        code.interact(local=module.__dict__, exitmsg="")
        return
    source = sys.stdin.buffer.read()
    exec(  # noqa: S102 (it is what was asked for)
        compile(source, "<stdin>", "exec", dont_inherit=True), module.__dict__
    )


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
    # Not normalised, as `python` does not do that either.
    path = os.path.join(os.getcwd(), path)
    module.__file__ = path
    module.__cached__ = None  # type: ignore[attr-defined]
    module.__loader__ = SourceFileLoader("__main__", path)
    if code is None:
        code = compile(source, path, "exec", dont_inherit=True)
    exec(code, module.__dict__)  # noqa: S102 (it is what was asked for)


def _enter(argv: list[str], first_path: str) -> types.ModuleType:
    """Gives the program its arguments, its path and an empty `__main__`."""
    install()
    url = os.environ.get("PROCESSION_CONTEXT")
    if url:
        try:
            context._default_context._settle(url)
        except (ConnectionError, ImportError, ValueError) as error:
            _fail(f"PROCESSION_CONTEXT={url}: {error}")
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
