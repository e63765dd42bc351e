"""Just enough Rust to find paths in code: no parser, but comments, strings and tests do not fool it."""

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

# What is not code, longest first: comments, raw and plain strings, characters (a lifetime has no closing quote).
_NOT_CODE = re.compile(
    r"""//[^\n]*
    | b?r(?P<hashes>\#*)".*?"(?P=hashes)
    | [bc]?"(?:\\.|[^"\\])*"
    | b?'(?:\\[^\n]+?|[^\\'\n])'""",
    re.DOTALL | re.VERBOSE,
)
_ATTRIBUTE = re.compile(r"#\[(?:cfg\([^\]]*\)|test)\]")
_NEGATED = re.compile(r"\bnot\([^()]*\)")
_TEST_ONLY = re.compile(r"\b(?:test|loom)\b")
_MODULE_FILE = re.compile(r"\bmod\s+(\w+)\s*;")
_MODULE_BLOCK = re.compile(r"\bmod\s+\w+\s*\{")
_ROOTED = re.compile(r"(?<![\w:])(crate|(?:self::)?super(?:::super)*)\s*::\s*")
_NAME = re.compile(r"\w+")


class RustFile:
    """One source file."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.text = text

    @cached_property
    def code(self) -> str:
        """The text with everything that is not code blanked, and nothing moved."""
        return blank_non_code(self.text)

    @cached_property
    def shipped(self) -> str:
        """The code without what is compiled for tests, or for loom, only."""
        code = self.code
        for start, end in self._test_items():
            code = code[:start] + _blank(code[start:end]) + code[end:]
        return code

    def line(self, position: int) -> int:
        """Returns the number of the line that holds a position in the text."""
        return self.text.count("\n", 0, position) + 1

    def module(self) -> list[str]:
        """Returns the file's module path below the crate's root."""
        parts = list(self.path.with_suffix("").parts)
        below = parts[len(parts) - parts[::-1].index("src") :]
        return below[:-1] if below[-1] in ("mod", "lib", "main") else below

    def test_modules(self) -> list[Path]:
        """Returns the files and folders that hold the modules declared here for tests only."""
        names = [
            m[1]
            for start, end in self._test_items()
            for m in _MODULE_FILE.finditer(self.code, start, end)
        ]
        folder = self.path.parent
        if self.path.stem not in ("mod", "lib", "main"):
            folder /= self.path.stem
        return [
            path for name in names for path in (folder / f"{name}.rs", folder / name)
        ]

    def root_names(self) -> Iterator[tuple[int, str]]:
        """Yields each name that shipped code takes from the crate's root, with its position."""
        blocks = [
            _block(self.shipped, match.end() - 1)
            for match in _MODULE_BLOCK.finditer(self.shipped)
        ]
        for match in _ROOTED.finditer(self.shipped):
            depth = len(self.module()) + sum(
                start < match.start() < end for start, end in blocks
            )
            if match[1] == "crate" or match[1].count("super") == depth:
                for name in _first_names(self.shipped, match.end()):
                    yield match.start(), name

    def _test_items(self) -> Iterator[tuple[int, int]]:
        """Yields where each item that is compiled for tests only starts and ends."""
        for match in _ATTRIBUTE.finditer(self.code):
            if not _TEST_ONLY.search(_NEGATED.sub("", match[0])):
                continue
            stop = re.compile(r"[;{]").search(self.code, match.end())
            if stop:
                yield (
                    match.start(),
                    stop.end()
                    if stop[0] == ";"
                    else _block(self.code, stop.start())[1],
                )


def blank_non_code(text: str) -> str:
    """Replaces comments and the contents of literals by blanks; block comments may be nested."""
    out: list[str] = []
    at = 0
    while at < len(text):
        if text.startswith("/*", at):
            end = _comment_end(text, at)
            out.append(_blank(text[at:end]))
        elif match := _NOT_CODE.match(text, at):
            end = match.end()
            out.append(_blank(match[0]))
        elif match := _NAME.match(text, at):
            # A whole name at once: the `r` that ends one does not start a raw string.
            end = match.end() if not _NOT_CODE.match(text, at) else at
            out.append(match[0])
        else:
            end = at + 1
            out.append(text[at])
        at = end
    return "".join(out)


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)


def _comment_end(text: str, start: int) -> int:
    depth = 0
    for match in re.compile(r"/\*|\*/").finditer(text, start):
        depth += 1 if match[0] == "/*" else -1
        if depth == 0:
            return match.end()
    return len(text)


def _block(code: str, brace: int) -> tuple[int, int]:
    """Returns where the block that opens at a brace starts and ends."""
    depth = 0
    for match in re.compile(r"[{}]").finditer(code, brace):
        depth += 1 if match[0] == "{" else -1
        if depth == 0:
            return brace, match.end()
    return brace, len(code)


def _first_names(code: str, at: int) -> list[str]:
    """Returns the first name of a path, or of each path in a group."""
    if not code.startswith("{", at):
        match = _NAME.match(code, at)
        return [match[0]] if match else []
    names, depth, fresh = [], 0, True
    for match in re.compile(r"\w+|[{},]").finditer(code, at):
        token = match[0]
        if token == "{":
            depth += 1
        elif token == "}":
            depth -= 1
            if depth == 0:
                break
        elif token == ",":
            fresh = fresh or depth == 1
        elif depth == 1 and fresh:
            names.append(token)
            fresh = False
    return names
