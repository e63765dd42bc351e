"""What the tests of real programs share: a package to run, or a reason to skip.

A module whose `PACKAGE` is not installed is skipped. What cannot be in one environment
with the others (two versions of one package, one that others look for) is marked with
`installs` and gets a folder of its own below `target/clients`, once for all runs.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest

FOLDERS = (
    Path(os.environ.get("CARGO_TARGET_DIR", Path(__file__).parents[2] / "target"))
    / "clients"
    / sys.implementation.cache_tag
)

# Seconds that a package may take to be fetched, below the watchdog's.
PATIENCE = 90

# Why what could not be installed could not: it is tried once in a run.
failures: dict[str, str] = {}


def pytest_configure(config) -> None:
    config.addinivalue_line(
        "markers", "installs(requirement, ...): packages in a folder of their own"
    )


@pytest.fixture(autouse=True)
def package(request, monkeypatch):
    """Lets the programs of a test find its packages, or skips it."""
    name = getattr(request.module, "PACKAGE", None)
    if name is not None and find_spec(name) is None:
        pytest.skip(f"{name} is not installed: pip install --group clients")
    marker = request.node.get_closest_marker("installs")
    if marker is not None:
        folder = folder_with(*marker.args)
        monkeypatch.setenv("PYTHONPATH", str(folder))


def folder_with(*requirements: str) -> Path:
    """Returns the folder in which packages are installed; skips if they cannot be."""
    wanted = " ".join(requirements)
    folder = FOLDERS / "".join(c if c.isalnum() else "_" for c in wanted)
    if not folder.exists() and wanted not in failures:
        failure = install(requirements, folder)
        if failure is not None:
            failures[wanted] = failure
    if wanted in failures:
        pytest.skip(f"{wanted} cannot be installed: {failures[wanted]}")
    return folder


def install(requirements: tuple[str, ...], folder: Path) -> str | None:
    """Installs packages into a folder, which is whole or not there; returns why not."""
    FOLDERS.mkdir(parents=True, exist_ok=True)
    made = tempfile.mkdtemp(prefix="new-", dir=FOLDERS)
    options = ["--quiet", "--retries", "0", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", made]
    try:
        subprocess.run(
            [*command, *requirements],
            check=True,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        os.rename(made, folder)
    except subprocess.CalledProcessError as error:
        return (error.stderr.strip().splitlines() or ["pip does not say why"])[-1]
    except subprocess.TimeoutExpired:
        return f"pip took more than {PATIENCE} seconds"
    except OSError:
        # Another run was faster.
        return None if folder.exists() else f"no {folder} could be made"
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return None
