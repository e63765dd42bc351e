"""The commands `ps` and `top`: what families of processes do.

    python -m procession ps [PID] [--json]
    python -m procession top [PID] [--once] [--json]

They read what the families have in shared memory, and change nothing there.
"""

from __future__ import annotations

import argparse
import sys

from . import _procession

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "ps": "lists the processes, pools and queues of programs that use procession",
    "top": "shows them in this terminal until you leave",
}


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
    parser.add_argument("--json", action="store_true", help="print JSON, once")
    if command == "top":
        parser.add_argument("--once", action="store_true", help="print text, once")
    chosen = parser.parse_args(args[1:])
    try:
        if command == "top" and not (chosen.once or chosen.json):
            if not (sys.stdin.isatty() and sys.stdout.isatty()):
                parser.error("top needs a terminal: use --once, --json, or ps")
            _procession.view(chosen.pid)
        else:
            sys.stdout.write(
                _procession.view_once(chosen.pid, chosen.json).rstrip("\n")
            )
            sys.stdout.write("\n")
    except (OSError, ValueError) as error:
        print(f"procession {command}: {error}", file=sys.stderr)
        return 1
    return 0
