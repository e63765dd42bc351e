"""The command-line flags with which the running interpreter was started.

A spawned child gets the same ones. Reads only `sys`; leaves out what is inherited by
itself, the environment.
"""

from __future__ import annotations

import sys

__all__ = ["args_from_interpreter_flags"]

_FLAGS = {
    "debug": "d",
    "dont_write_bytecode": "B",
    "no_site": "S",
    "verbose": "v",
    "bytes_warning": "b",
    "quiet": "q",
    "optimize": "O",
}


def args_from_interpreter_flags() -> list[str]:
    """Returns the arguments that give another interpreter the flags of this one."""
    flags = sys.flags
    args = [
        "-" + letter * getattr(flags, name)
        for name, letter in _FLAGS.items()
        if getattr(flags, name) > 0
    ]
    if flags.isolated:
        args.append("-I")
    else:
        if flags.ignore_environment:
            args.append("-E")
        if flags.no_user_site:
            args.append("-s")
        if flags.safe_path:
            args.append("-P")
    for option in _warning_options():
        args.append(f"-W{option}")
    for name, value in sys._xoptions.items():
        args += ["-X", name if value is True else f"{name}={value}"]
    if flags.dev_mode and "dev" not in sys._xoptions:
        args += ["-X", "dev"]
    return args


def _warning_options() -> list[str]:
    """Returns the warning filters that no other flag sets by itself."""
    implied = []
    if sys.flags.dev_mode:
        implied.append("default")
    if sys.flags.bytes_warning > 1:
        implied.append("error::BytesWarning")
    elif sys.flags.bytes_warning:
        implied.append("default::BytesWarning")
    options = list(sys.warnoptions)
    for option in implied:
        if option in options:
            options.remove(option)
    return options
