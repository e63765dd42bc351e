"""Checks that every link in the project's pages leads somewhere.

Usage: python tools/links [--root DIRECTORY]

It follows links to files of the checkout and to headings in pages; it never asks the network. Pages are all Markdown
files that are not built or downloaded.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

# Folders that hold what was built or downloaded; those with a dot are all of that kind.
NOT_OURS = ("target", ".")

_FENCE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
_HEADING = re.compile(r"^#+\s+(.*?)\s*#*$", re.MULTILINE)
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python tools/links")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[2])
    root = parser.parse_args().root.resolve()
    pages = sorted(
        path
        for path in root.rglob("*.md")
        if not any(part.startswith(NOT_OURS) for part in path.relative_to(root).parts)
    )
    dead = [fault for page in pages for fault in faults(page, root)]
    for fault in dead:
        print(fault, file=sys.stderr)
    print(f"links: {len(pages)} pages, {len(dead)} dead links")
    return 1 if dead else 0


def faults(page: Path, root: Path) -> Iterator[str]:
    """Yields a line for each link of a page that leads nowhere."""
    text = _blank(_CODE, _blank(_FENCE, page.read_text()))
    for match in _LINK.finditer(text):
        link = match[1] or match[2]
        if _ELSEWHERE.match(link):
            continue
        where = f"{page.relative_to(root)}:{text.count(chr(10), 0, match.start()) + 1}"
        name, _, heading = unquote(link).partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists():
            yield f"{where}: {link}: there is no such file"
        elif not target.is_relative_to(root):
            yield f"{where}: {link}: leads out of the checkout"
        elif heading and target.suffix == ".md" and heading not in anchors(target):
            yield f"{where}: {link}: the page has no such heading"


@cache
def anchors(page: Path) -> set[str]:
    """Returns the anchors that a page's headings get."""
    headings = _HEADING.findall(_blank(_FENCE, page.read_text()))
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in headings
    }


def _blank(pattern: re.Pattern[str], text: str) -> str:
    return pattern.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)


if __name__ == "__main__":
    sys.exit(main())
