"""Every file says at its top what it is for, and if it is long, why."""

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

from rust import RustFile
from tree import Fault, Tree

# Lines of code; past this a file is split, or says why not (CONTRIBUTING.md).
LONGEST = 500

# A line of the header that starts with this word gives the reason.
REASON = "Size:"


def check(tree: Tree) -> Iterator[Fault]:
    for file in tree.rust:
        yield from _faults(tree.name(file.path), *_rust(file))
    for path in tree.python:
        yield from _faults(tree.name(path), *_python(path))


def _faults(name: str, header: list[str], lines: int) -> Iterator[Fault]:
    if lines and not any(header):
        yield Fault(
            name,
            1,
            "no header",
            "start with what the file is for and what it leaves out",
        )
    if lines > LONGEST and not any(line.strip().startswith(REASON) for line in header):
        yield Fault(
            name,
            1,
            f"{lines} lines of code",
            f"split it, or say why in a line `{REASON} ...` of its header",
        )


def _rust(file: RustFile) -> tuple[list[str], int]:
    header = []
    for line in file.text.splitlines():
        if line.startswith("//!"):
            header.append(line.removeprefix("//!"))
        elif line.strip() and not line.startswith("#!"):
            break
    return header, sum(bool(line.strip()) for line in file.shipped.splitlines())


def _python(path: Path) -> tuple[list[str], int]:
    text = path.read_text()
    tree = ast.parse(text)
    header = (ast.get_docstring(tree) or "").splitlines()
    if not header:
        header = [
            line.removeprefix("#") for line in text.splitlines() if line.startswith("#")
        ]
    docstrings = {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    blank = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    code = {
        line
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in blank
        for line in range(token.start[0], token.end[0] + 1)
    }
    return header, len(code - docstrings)
