"""Adds to the site what does not lie under docs, and leads every link to where the site has its target.

MkDocs calls these functions (`hooks` in mkdocs.yml). The rest is in `pages` (the pages of the checkout), `reference` (the
public names), `snippets` (the programs of the examples) and `tools/plots` (the drawings of figures).
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/site"))

import pages
import reference
import snippets
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
RUSTDOC = TARGET / "doc"
PLOTS = TARGET / "plots"

# What each plot shows, for those who do not see it.
ALTERNATIVES = {
    "first": "Bars: how many times as fast as multiprocessing procession is, in ten scenarios",
    "speed": "Points: how many times as fast as multiprocessing procession is, in each scenario and start method",
    "rust": "Bars: how many times as fast as procspawn and ipc-channel procession is",
    "failures": "Fields: what becomes of the caller in each way to fail, for each library",
}

_DRAWING = re.compile(r"^<!-- drawing: (\w+) -->$", re.MULTILINE)
_PLOT = re.compile(r"^<!-- plot: (\w+) -->$", re.MULTILINE)
_TABLE = re.compile(r"^<!-- table: (\w+) -->$", re.MULTILINE)
_RUST = re.compile(r"\]\(rust:([^)]*)\)")
_NAMES = re.compile(r"^<!-- names: ([\w. ]+) -->$", re.MULTILINE)


def on_config(config: Any) -> Any:
    """Puts pages of docs that mkdocs.yml does not name behind those of its last section."""
    named = set(_named(config.nav))
    for path in sorted((ROOT / "docs").glob("*.md")):
        if path.name not in named:
            (section,) = config.nav[-1].values()
            section.append(path.name)
    return config


def _named(nav: Any) -> Iterator[str]:
    """Yields the pages that a part of the navigation names."""
    if isinstance(nav, str):
        yield nav
        return
    for part in nav.values() if isinstance(nav, dict) else nav:
        yield from _named(part)


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages of the checkout, the sources that pages link to, and what rustdoc made."""
    if not (RUSTDOC / "procession/index.html").exists():
        raise PluginError(f"there is no {RUSTDOC}/procession: run `make docs` first")
    for file in list(files):
        # Whatever is below docs, pictures too; the theme's own files are elsewhere.
        if file.abs_src_path and Path(file.abs_src_path).is_relative_to(ROOT / "docs"):
            pages.add(Path(file.abs_src_path).relative_to(ROOT), file.src_uri)
    for name, uri in pages.ELSEWHERE.items():
        pages.add(Path(name), uri)
        text = (ROOT / name).read_text()
        files.append(File.generated(config, uri, content=text))
    for uri, text in pages.sources().items():
        files.append(File.generated(config, uri, content=text))
    for path in sorted((RUSTDOC / "procession").rglob("*.html")):
        uri = f"rust/{path.relative_to(RUSTDOC).as_posix()}"
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    draw = [sys.executable, str(ROOT / "tools/plots"), "--out", str(PLOTS)]
    subprocess.run(draw, check=True, stdout=subprocess.DEVNULL)
    for path in sorted(PLOTS.glob("*.svg")):
        uri = f"plots/{path.name}"
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Leads links to where the site has their targets, and puts in what pages ask for by comments."""
    del config, files
    here = page.file.src_uri
    markdown = pages.relink(markdown, here)
    markdown = _RUST.sub(
        lambda one: f"]({pages.way(here, 'rust/' + one[1])})", markdown
    )
    markdown = _DRAWING.sub(lambda one: _drawing(one[1]), markdown)
    markdown = _PLOT.sub(lambda one: _plot(one[1], here), markdown)
    markdown = _TABLE.sub(lambda one: (PLOTS / f"{one[1]}.md").read_text(), markdown)
    markdown = snippets.expand(markdown)
    return _NAMES.sub(lambda one: reference.directives(one[1].split()), markdown)


def _drawing(name: str) -> str:
    """Returns a drawing as a part of the page, so that it has the page's colours."""
    drawn = (ROOT / f"docs/drawings/{name}.svg").read_text()
    return f'<figure class="drawing">\n{drawn}</figure>'


def _plot(name: str, here: str) -> str:
    """Returns a plot in two colours, of which the theme shows one."""
    return "\n".join(
        f"![{ALTERNATIVES[name]}]({pages.way(here, f'plots/{name}-{theme}.svg')}#only-{theme})"
        for theme in ("light", "dark")
    )


def on_post_build(config: Any) -> None:
    """Puts what rustdoc made beside the pages."""
    shutil.copytree(RUSTDOC, Path(config.site_dir) / "rust", dirs_exist_ok=True)
