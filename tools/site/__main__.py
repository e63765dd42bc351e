"""Checks a built site: each link leads to a page and a heading that are there, and no page loads anything from elsewhere.

Usage: python tools/site DIRECTORY

MkDocs looks at the links of pages as they are written; this looks at what became of them, those of the reference and of
the navigation included. Pages of rustdoc are only looked at as targets.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//")


class Page(HTMLParser):
    """What a page links to, what it loads, and the names of its places."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.places: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.places |= {found.get("id", ""), found.get("name", "")}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        elif tag in ("script", "img", "iframe", "source") and "src" in found:
            self.loaded.append(found["src"])
        elif tag == "link" and found.get("rel") in ("stylesheet", "icon", "preload"):
            self.loaded.append(found["href"])


@cache
def read(path: Path) -> Page:
    return Page(path)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python tools/site", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("site", type=Path)
    site = parser.parse_args().site.resolve()
    paths = [
        path
        for path in sorted(site.rglob("*.html"))
        if path.relative_to(site).parts[0] not in ("rust", "404.html")
    ]
    dead = [fault for path in paths for fault in faults(path, site)]
    for fault in dead:
        print(fault, file=sys.stderr)
    print(f"site: {len(paths)} pages, {len(dead)} faults")
    return 1 if dead or not paths else 0


def faults(path: Path, site: Path) -> Iterator[str]:
    """Yields a line for each link of a page that leads nowhere, and for each thing that it loads from elsewhere."""
    page, where = read(path), path.relative_to(site)
    for link in [*page.links, *page.loaded]:
        if _ELSEWHERE.match(link):
            if link in page.loaded and not link.startswith("data:"):
                yield f"{where}: loads {link}"
            continue
        name, _, place = unquote(link).partition("#")
        target = (path.parent / name.partition("?")[0]).resolve() if name else path
        if target.is_dir():
            target /= "index.html"
        if not target.is_file() or not target.is_relative_to(site):
            yield f"{where}: {link}: there is no such page"
        elif place and target.suffix == ".html" and place not in read(target).places:
            yield f"{where}: {link}: the page has no such place"


if __name__ == "__main__":
    sys.exit(main())
