"""Where the site has each page and source file of the checkout, and the links between them."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

ROOT = Path(__file__).resolve().parents[2]

# Pages that do not lie under docs, and where the site has them.
ELSEWHERE = {
    "benches/README.md": "benchmarks.md",
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "DESIGN.md": "design.md",
    "SECURITY.md": "security.md",
    "examples/README.md": "examples.md",
    "fallback/README.md": "fallback.md",
    "tests/chaos/README.md": "chaos.md",
    "crates/procession-engine/src/standby/README.md": "standby.md",
    "crates/procession-shm/src/README.md": "shared-memory.md",
}

_LANGUAGES = {".py": "python", ".rs": "rust", ".toml": "toml", ".md": "markdown"}
_FENCE = re.compile(r"^( *)(```+|~~~+).*?^\1\2", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"(\]\(\s*<?)([^)\s>]+)|(^\[[^\]]+\]:\s*)(\S+)", re.MULTILINE)
_OUTSIDE = re.compile(r"[a-z][a-z0-9+.-]*:|#|/")

# The place in the site of each page and picture, by its path in the checkout.
_uris: dict[Path, str] = {}


def add(path: Path, uri: str) -> None:
    """Notes where the site has a page, or a picture."""
    _uris[path] = uri


def sources() -> dict[str, str]:
    """Returns pages that show the files which others link to and that are no pages, by where the site has them."""
    found: dict[str, str] = {}
    for page in [path for path in _uris if path.suffix == ".md"]:
        for target in _targets(page):
            if target not in _uris and (ROOT / target).is_file():
                uri = f"source/{target.as_posix()}.md"
                add(target, uri)
                found[uri] = _shown(target)
    return found


def relink(markdown: str, uri: str) -> str:
    """Leads the links of a page of the checkout to where the site has their targets."""
    origin = next((path for path, place in _uris.items() if place == uri), None)
    if origin is None or uri.startswith("source/"):
        return markdown

    def lead(match: re.Match[str]) -> str:
        before, link = match[1] or match[3], match[2] or match[4]
        if _OUTSIDE.match(link):
            return match[0]
        name, mark, anchor = link.partition("#")
        place = _uris.get(_resolve(origin, name))
        if place is None:
            return match[0]
        return f"{before}{quote(way(uri, place))}{mark}{anchor}"

    return "".join(
        part if is_code else _LINK.sub(lead, part) for part, is_code in _split(markdown)
    )


def way(here: str, there: str) -> str:
    """Returns the link from one place in the site to another."""
    return os.path.relpath(there, Path(here).parent)


def _split(markdown: str) -> Iterator[tuple[str, bool]]:
    """Yields the parts of a page, and whether each is code."""
    end = 0
    for match in _FENCE.finditer(markdown):
        yield markdown[end : match.start()], False
        yield match[0], True
        end = match.end()
    yield markdown[end:], False


def _targets(page: Path) -> Iterator[Path]:
    text = (ROOT / page).read_text()
    for part, is_code in _split(text):
        for match in _LINK.finditer("" if is_code else _CODE.sub("", part)):
            link = match[2] or match[4]
            if not _OUTSIDE.match(link):
                yield _resolve(page, link.partition("#")[0])


def _resolve(page: Path, link: str) -> Path:
    return Path(os.path.normpath(page.parent / unquote(link)))


def _shown(path: Path) -> str:
    text = (ROOT / path).read_text()
    language = _LANGUAGES.get(path.suffix, "text")
    fence = "~" * 12
    return (
        "---\nsearch:\n  exclude: true\nhide:\n  - navigation\n---\n"
        f"# {path.as_posix()}\n\n{fence}{language}\n{text}\n{fence}\n"
    )
