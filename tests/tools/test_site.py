"""The documentation site: it builds without a warning, names everything that is public, and opens in a browser."""

import html
import inspect
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools/site"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
NEEDED = ["mkdocs", "material", "mkdocstrings_handlers", "matplotlib"]

# The first test builds the site, which takes minutes where others use the processors, too.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Returns the folder of a site that was built just now."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        pytest.skip(f"{missing} are not installed: pip install --group site")
    if not (TARGET / "doc/procession/index.html").exists():
        pytest.skip("rustdoc has not run: make docs")
    made = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    done = run([*command, "--site-dir", str(made)])
    assert done.returncode == 0, done.stderr
    return made


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    # The theme advertises its successor on standard error.
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=500,
        env=environment,
    )


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    return run([sys.executable, str(TOOL), str(folder)])


def test_each_link_leads_somewhere_and_nothing_is_loaded_from_elsewhere(site) -> None:
    done = check(site)
    assert (done.returncode, done.stderr) == (0, "")


def test_each_public_name_is_in_the_reference(site) -> None:
    sys.path.insert(0, str(ROOT / "tests"))
    import test_docstrings

    pages = (site / "reference").rglob("*.html")
    places = {
        place
        for page in pages
        for place in re.findall(r'id="([\w.]+)"', page.read_text())
    }
    without = [
        full
        for name in test_docstrings.NAMES
        for full in [name, *members_of_their_own(test_docstrings, name)]
        if f"procession.{full}" not in places
    ]
    assert without == []


def members_of_their_own(test_docstrings, name: str) -> list[str]:
    """Returns the members of a class that its docstring does not tell of as attributes."""
    text = inspect.getdoc(test_docstrings.find(name)) or ""
    _, _, attributes = text.partition("Attributes:\n")
    told = re.findall(r"^    (\w+):", attributes, re.MULTILINE)
    return [f"{name}.{one}" for one in test_docstrings.members(name) if one not in told]


def test_rustdoc_lies_beside_it(site) -> None:
    assert (site / "rust/procession/struct.Pool.html").exists()


@pytest.mark.parametrize("page", ["index.html", "reference/pool/index.html"])
def test_page_opens_in_a_browser(site, browser, page) -> None:
    browser.get(f"file://{site / page}")
    title = re.search(r"<h1[^>]*>(.*?)<", (site / page).read_text())
    assert title is not None
    assert html.unescape(title[1]) in browser.find_element("tag name", "h1").text
    body = browser.find_element("tag name", "body")
    assert body.get_attribute("data-md-color-scheme")
    assert browser.get_screenshot_as_png().startswith(b"\x89PNG")


PAGE = '<html><body><h1 id="top">A</h1>{}</body></html>'


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<a href="#top">a</a><a href="https://example.org">b</a>', None),
        ('<a href="gone/">a</a>', "no such page"),
        ('<a href="#gone">a</a>', "no such place"),
        ('<script src="https://example.org/a.js"></script>', "loads"),
    ],
)
def test_the_check_finds(body, fault, tmp_path) -> None:
    (tmp_path / "index.html").write_text(PAGE.format(body))
    done = check(tmp_path)
    assert done.returncode == (0 if fault is None else 1)
    assert (fault or "") in done.stderr
