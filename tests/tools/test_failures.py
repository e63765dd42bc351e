"""The ways in which pools fail are tried apart from the machine, on whose /dev/shm they leave nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# A library and a scenario after which semaphores are left: all of the trial is killed.
TRIAL = ["--library", "multiprocessing", "--scenario", "parent killed, workers busy"]

pytestmark = pytest.mark.slow


def run_after(preparation: str) -> str:
    """Runs the trial in a process that has prepared itself, which then lists its /dev/shm."""
    text = f"""
import os, subprocess, sys
sys.path.insert(0, {str(ROOT / "tests")!r})
{preparation}
subprocess.run([sys.executable, {str(ROOT / "benches/failures")!r}, *{TRIAL!r}])
print("names:", os.listdir("/dev/shm"))
"""
    command = [sys.executable, "-u", "-c", text]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60
    )
    if "OSError" in done.stderr:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.stderr == ""
    assert "2 of 2 orphaned" in done.stdout
    return done.stdout


def test_what_killed_libraries_leave_in_dev_shm_goes_with_the_run() -> None:
    # In a /dev/shm of the test's own, where no other test leaves a name meanwhile.
    told = run_after("import private_names; private_names.get_private_names()")
    assert "stays on the machine" not in told
    assert "names: []" in told


def test_where_no_dev_shm_of_its_own_is_allowed_it_is_said() -> None:
    apart = "import private_names; private_names.get_private_names()"
    told = run_after(f"{apart}; import seccomp; seccomp.deny('unshare')")
    assert (
        "what is left in /dev/shm stays on the machine: "
        "[Errno 1] no namespace of mounts is allowed\n" in told
    )
    assert "names: []" not in told
