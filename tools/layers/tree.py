"""The sources under check, read once."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from rust import RustFile

SOURCE_FOLDERS = ["crates", "python", "examples", "tests", "benches", "tools", "fuzz"]
BUILT_FOLDERS = {"target", "__pycache__", ".venv"}


class Fault(NamedTuple):
    """One broken rule."""

    path: str
    line: int
    wrong: str
    mend: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.wrong}: {self.mend}"


@dataclass
class Tree:
    """A checkout."""

    root: Path

    @cached_property
    def rust(self) -> list[RustFile]:
        return [RustFile(path, path.read_text()) for path in self._files("rs")]

    @cached_property
    def python(self) -> list[Path]:
        return self._files("py") + self._files("pyi")

    @cached_property
    def manifests(self) -> list[Path]:
        return [path for path in self._files("toml") if path.name == "Cargo.toml"]

    def name(self, path: Path) -> str:
        """Returns the path as the checkout knows it."""
        return path.relative_to(self.root).as_posix()

    def crate(self, name: str) -> list[RustFile]:
        """Returns the sources of a crate under ``crates/`` that are not tests."""
        sources = self.root / "crates" / name / "src"
        files = [file for file in self.rust if file.path.is_relative_to(sources)]
        tests = {path for file in files for path in file.test_modules()}
        return [
            file
            for file in files
            if not any(path in tests for path in [file.path, *file.path.parents])
        ]

    def _files(self, suffix: str) -> list[Path]:
        return sorted(
            path
            for folder in SOURCE_FOLDERS
            for path in (self.root / folder).rglob(f"*.{suffix}")
            if not BUILT_FOLDERS.intersection(path.relative_to(self.root).parts)
        )
