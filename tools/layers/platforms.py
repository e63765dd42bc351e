"""System calls and names of operating systems stay in procession-sys; PyO3 in the Python crate."""

import re
from collections.abc import Iterator

from tree import Fault, Tree

from crates import ARROWS

_SYSTEM = re.compile(
    r"(?<![\w:])(libc|rustix|nix)\s*::|\buse\s+(libc|rustix|nix)\s*;|\b(target_os)\b"
)
# An error number is data: each crate's error.rs turns it into a kind or an exception, or back.
_ERROR_NUMBER = re.compile(r"libc::E[A-Z0-9]+\b")
_PYTHON = re.compile(r"(?<![\w:])(pyo3|pyo3_ffi)\s*::")


def check(tree: Tree) -> Iterator[Fault]:
    for crate in ARROWS:
        for file in tree.crate(crate):
            is_home = crate == "procession-sys"
            for match in () if is_home else _SYSTEM.finditer(file.shipped):
                if file.module() == ["error"] and _ERROR_NUMBER.match(
                    file.shipped, match.start()
                ):
                    continue
                what = match[1] or match[2] or match[3]
                yield Fault(
                    tree.name(file.path),
                    file.line(match.start()),
                    f"{what} outside crates/procession-sys",
                    "give it a safe function with a name of its own, and call that",
                )
            for match in (
                () if crate == "procession-python" else _PYTHON.finditer(file.shipped)
            ):
                yield Fault(
                    tree.name(file.path),
                    file.line(match.start()),
                    f"{match[1]} outside crates/procession-python",
                    "move what knows Python there",
                )
