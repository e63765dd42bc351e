"""The checkout that is released, and commands that are run in it."""

import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Checkout:
    """What is released, and where what is built goes."""

    root: Path
    out: Path

    def manifest(self) -> dict[str, Any]:
        return tomllib.loads((self.root / "Cargo.toml").read_text())

    def version(self) -> str:
        """Returns the version that is being released: that of the workspace."""
        told: str = self.manifest()["workspace"]["package"]["version"]
        return told

    def run(self, *command: str | Path, **options: Any) -> str:
        """Runs a command in the checkout."""
        return run(*command, cwd=self.root, **options)

    def maturin(self, *arguments: str | Path, **environment: str) -> None:
        """Has maturin build something, with variables that are added to the environment."""
        found = Path(sys.executable).parent / "maturin"
        if not found.exists():
            raise LeftOut("pip install --group release: maturin is missing")
        # Its linker for other processors is a Python package beside it.
        path = f"{found.parent}{os.pathsep}{os.environ['PATH']}"
        self.run(found, *arguments, env={**os.environ, "PATH": path, **environment})


class LeftOut(Exception):
    """A step could not be done here, for want of a tool."""


class Failed(Exception):
    """What was built, or is to be built, is not fit for a release."""


def only(directory: Path, pattern: str) -> Path:
    found = list(directory.glob(pattern))
    if len(found) != 1:
        raise Failed(f"{len(found)} files in {directory} are called {pattern}, not one")
    return found[0]


def run(*command: str | Path, **options: Any) -> str:
    """Runs a command in the checkout, silently unless it fails; returns what it prints."""
    told = [str(part) for part in command]
    try:
        ended = subprocess.run(
            told,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            **options,
        )
    except FileNotFoundError:
        raise LeftOut(f"{told[0]} was not found") from None
    if ended.returncode != 0:
        raise Failed(f"{' '.join(told)}\n{ended.stdout}{ended.stderr}")
    printed: str = ended.stdout
    return printed
