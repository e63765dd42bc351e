"""Checks that the sources keep the layers that ARCHITECTURE.md draws.

Usage: python tools/layers [--root DIRECTORY]

It reads Cargo.toml files and sources, needs nothing but the standard library and builds nothing. Each broken rule is
one line, ``path:line: what is wrong: how to mend it``; the exit code is 1 if there is any. What a compiler or linter
checks already (missing documentation, unsafe code without a SAFETY comment) is left to it.
"""

import argparse
import sys
from pathlib import Path

import circles
import engine
import headers
import names
import package
import pages
import platforms
import unsafety
from tree import Tree

import crates

CHECKS = [
    crates.check,
    engine.check,
    circles.check,
    platforms.check,
    unsafety.check,
    package.check,
    headers.check,
    names.check,
    pages.check,
]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python tools/layers", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "--root",
        type=Path,
        default=Path(__file__).parents[2],
        help="the checkout to read",
    )
    tree = Tree(parser.parse_args().root)
    broken = sorted(fault for check in CHECKS for fault in check(tree))
    for fault in broken:
        print(fault, file=sys.stderr)
    print(
        f"layers: {len(tree.rust)} Rust and {len(tree.python)} Python files, {len(broken)} faults"
    )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
