"""Runs a program as `python` does, for commands that name procession.

    python -m procession SCRIPT [ARG...]
    python -m procession -m MODULE [ARG...]

Children that `multiprocessing` spawns find the program as they do without this.
"""

import os
import sys

from procession import __version__


def main() -> None:
    """Becomes the interpreter that runs the program."""
    arguments = sys.argv[1:]
    if not arguments:
        sys.exit(__doc__)
    if arguments[0] in ("-h", "--help"):
        print(__doc__)
        return
    if arguments[0] in ("-V", "--version"):
        print(f"procession {__version__}, without its engine")
        return
    command = [sys.executable, *sys.orig_argv[1 : -len(sys.argv) - 1], *arguments]
    if os.name == "nt":
        import subprocess

        # There `exec` ends the process that a shell waits for.
        sys.exit(subprocess.run(command, check=False).returncode)
    os.execv(sys.executable, command)


if __name__ == "__main__":
    main()
