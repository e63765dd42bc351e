"""What the first page shows runs as it stands there."""

import re
from pathlib import Path

import pytest
import script

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_program_on_the_first_page_runs(tmp_path, program) -> None:
    if "lambda" in program:
        pytest.importorskip("cloudpickle")
    path = tmp_path / "first_page.py"
    path.write_text(program)
    assert script.run(script.python("multiprocessing", path)) == (0, "", "")


def test_no_link_needs_the_checkout_around_it() -> None:
    """On a package index there is only the page."""
    assert re.findall(r"\]\((?!https://)[^)]*\)", README) == []


def test_paths_that_are_named_exist() -> None:
    paths = re.findall(r"`((?:docs|examples|benches)/[\w./-]+|[A-Z]+\.md)`", README)
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert len(paths) > 10


def test_targets_on_the_pages_exist() -> None:
    pages = README + (ROOT / "CONTRIBUTING.md").read_text()
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"(?:^|`)make ([a-z-]+)", pages, re.MULTILINE)
    assert {"demo", "test"} <= set(named) <= set(targets)
