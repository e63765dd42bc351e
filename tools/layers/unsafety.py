"""Unsafe code stays in files that opt in at their top and say under which terms.

The compiler refuses unsafe code without an attribute; this keeps the attribute where a reader looks, on the whole
file, next to the header's ``# Safety`` paragraph.
"""

import re
from collections.abc import Iterator

from tree import Fault, Tree

from crates import ARROWS

_OPT_IN = re.compile(r"^#!\[(?:expect|allow)\([^\]]*\bunsafe_code\b", re.MULTILINE)
_OPT_IN_BELOW = re.compile(r"#\[(?:expect|allow)\([^\]]*\bunsafe_code\b")
_PARAGRAPH = re.compile(r"^//! # Safety$", re.MULTILINE)


def check(tree: Tree) -> Iterator[Fault]:
    for crate in ARROWS:
        for file in tree.crate(crate):
            name = tree.name(file.path)
            for match in _OPT_IN_BELOW.finditer(file.shipped):
                yield Fault(
                    name,
                    file.line(match.start()),
                    "unsafe code is allowed on one item",
                    "opt in at the file's top, or move the unsafe part to a file that does",
                )
            opt_in = _OPT_IN.search(file.shipped)
            if opt_in and not _PARAGRAPH.search(file.text):
                yield Fault(
                    name,
                    file.line(opt_in.start()),
                    "unsafe code without terms",
                    "add a `//! # Safety` paragraph to the header",
                )
