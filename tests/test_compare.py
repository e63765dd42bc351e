"""The page that compares: each answer of ours leads to a test, each of others to where it was read."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "compare.md"
TEXT = PAGE.read_text()
ROWS = [
    line
    for line in TEXT.splitlines()
    if line.startswith("| ") and not line.startswith(("| |", "| --"))
]
WITHOUT_A_SOURCE = ("–", "not found")


def cells(row: str) -> list[str]:
    # A bar in code is none of the table's.
    bare = re.sub(r"`[^`]*`", lambda code: code[0].replace("|", "\\"), row)
    return [cell.strip() for cell in bare.strip().strip("|").split("|")]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: cells(row)[0])
def test_each_answer_leads_to_what_it_stands_on(row) -> None:
    _feature, ours, *theirs = cells(row)
    assert len(theirs) == 8
    tests = re.findall(r"\]\(\.\./([^)]+)\)", ours)
    assert tests or ours == "no", ours
    for test in tests:
        text = (PAGE.parent.parent / test).read_text()
        assert re.search(r"^ *(async )?(def|fn) \w+|params=", text, re.MULTILINE), test
        assert "test" in text, test
    for answer in theirs:
        sources = re.findall(r"^\[.+\]\[([^\]]+)\]$", answer)
        assert answer in WITHOUT_A_SOURCE or sources, answer
        for source in sources:
            assert re.search(rf"^\[{re.escape(source)}\]: \S+$", TEXT, re.MULTILINE), (
                source
            )


def test_each_source_is_of_an_answer() -> None:
    sources = re.findall(r"^\[([^\]]+)\]: ", TEXT, re.MULTILINE)
    assert [source for source in sources if f"][{source}]" not in TEXT] == []
