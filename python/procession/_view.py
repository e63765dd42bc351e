"""The commands `ps` and `top`: what families of processes do.

    python -m procession ps [PID] [--json | --openmetrics]
    python -m procession top [PID] [--once | --json | --openmetrics]

They read what the families have in shared memory, and change nothing there.
"""

from __future__ import annotations

import argparse
import os
import sys
import sysconfig

from . import _procession

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "ps": "lists the processes, pools and queues of programs that use procession",
    "top": "shows them in this terminal until you leave",
}

FORMS = {"json": "JSON", "openmetrics": "metrics as OpenMetrics text"}


def main(args: list[str]) -> int:
    """Runs one of the commands; returns the exit code."""
    command = args[0]
    parser = argparse.ArgumentParser(
        prog=f"procession {command}", description=f"{COMMANDS[command].capitalize()}."
    )
    parser.add_argument(
        "pid",
        nargs="?",
        type=int,
        metavar="PID",
        help="the family of this process; by default all of this user",
    )
    forms = parser.add_mutually_exclusive_group()
    for form, what in FORMS.items():
        forms.add_argument(
            f"--{form}",
            action="store_const",
            dest="form",
            const=form,
            help=f"print {what}, once",
        )
    if command == "top":
        forms.add_argument(
            "--once",
            action="store_const",
            dest="form",
            const="text",
            help="print text, once",
        )
    chosen = parser.parse_args(args[1:])
    try:
        if command == "top" and chosen.form is None:
            if not (sys.stdin.isatty() and sys.stdout.isatty()):
                parser.error("top needs a terminal: use --once, --json, or ps")
            # py-spy, which shows stacks, may be in an environment that is not activated.
            path = os.environ.get("PATH", os.defpath)
            os.environ["PATH"] = os.pathsep.join([path, sysconfig.get_path("scripts")])
            _procession.view(chosen.pid)
        else:
            form = chosen.form or "text"
            print(_procession.view_once(chosen.pid, form).rstrip("\n"))
    except (NotImplementedError, OSError, ValueError) as error:
        print(f"procession {command}: {error}", file=sys.stderr)
        return 1
    return 0
