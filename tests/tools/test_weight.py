"""How many other crates a small program in Rust needs that uses procession."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def crates_below(package: str) -> set[str]:
    """Returns the names of all crates that have to be built before a package, features off."""
    command = ["cargo", "tree", "--locked", "--package", package]
    command += ["--edges", "normal,build", "--prefix", "none", "--format", "{lib}"]
    done = subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60
    )
    return set(done.stdout.split()) - {package, "(*)"}


def test_the_rust_face_needs_few_crates_and_no_parser_of_rust() -> None:
    below = crates_below("procession")
    assert not {"syn", "quote", "proc_macro2"} & below
    assert {"procession_sys", "procession_engine", "serde_core"} < below
    assert len(below) <= 12, below
