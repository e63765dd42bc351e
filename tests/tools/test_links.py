"""The link check finds dead links and follows live ones."""

import subprocess
import sys
from pathlib import Path

TOOL = Path(__file__).parents[2] / "tools/links"


def check(root: Path, page: str) -> str:
    (root / "page.md").write_text(page)
    (root / "other.md").write_text("# A heading, with `code`\n")
    command = [sys.executable, TOOL, "--root", root]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == bool(done.stderr)
    return done.stderr


def test_live_links_pass(tmp_path: Path) -> None:
    page = "# Top\n[a](other.md#a-heading-with-code) [b](#top) [c](https://example.org)\n[d]: other.md\n"
    assert check(tmp_path, page) == ""


def test_missing_file_is_found(tmp_path: Path) -> None:
    assert check(tmp_path, "\n[a](gone.md)\n").startswith("page.md:2: gone.md: there")


def test_missing_heading_is_found(tmp_path: Path) -> None:
    assert "no such heading" in check(tmp_path, "[a](other.md#gone)\n")


def test_link_in_code_is_left_alone(tmp_path: Path) -> None:
    assert check(tmp_path, "`[a](gone.md)`\n```\n[b](gone.md)\n```\n") == ""
