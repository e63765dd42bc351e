"""docs/environment.md has every environment variable that a source reads, and no other."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Folders and files that may read any.
PLACES = [
    "crates",
    "python",
    "tools",
    "tests",
    "benches",
    "examples",
    ".ci",
    "Makefile",
]

NAME = r"[A-Za-z_][A-Za-z0-9_]*"

# What Python reads, by a string or by the name of a constant; an assignment is no read.
WORD = rf"([\"']?{NAME}(?:\.{NAME})*[\"']?)"
PYTHON = [
    rf"\bos\.environ\s*\[\s*{WORD}\s*[\],](?!\s*=[^=])",
    rf"\b(?:os\.environ\.(?:get|pop|setdefault)|getenv)\s*\(\s*{WORD}",
    rf"([\"']{NAME}[\"'])\s+(?:not\s+)?in\s+os\.environ\b",
]
RUST = [
    rf"\benv::var(?:_os)?\s*\(\s*(\"?{NAME}\"?)",
    rf"\b(?:option_)?env!\s*\(\s*(\"{NAME}\")",
]
SHELL = [rf"\$\{{?({NAME})"]
MAKE = [
    rf"^(?:export )?({NAME}) \?=",
    rf"\$\(({NAME})\)",
    rf"\$\((?:if|or) \$\(({NAME})\)",
]

# Names that are given to these at run time, or are those of an example's own.
ANY = {
    "crates/procession-engine/build.rs": "variable",
    "crates/procession-engine/tests/starts/role.rs": "other",
    "tests/targets/bounds.py": "name",
}

# What a test sets itself for its own children, a build script for its crate, a benchmark
# for its trials, a user in an example; the program that runs scripts; cargo's own.
THEIRS = re.compile(
    r"PROCESSION_TEST(?!_CHAOS_SECONDS|_SEED)(?:_\w+)?|PROCESSION_BUILD|TRIAL_\w+|OWNER|SET_BEFORE|DEVICE|GREETING|NEW|MODE|PLUGIN_MODE|changed|OMP_NUM_THREADS"
    r"|PATH|PYTHONPATH|PYTHONUNBUFFERED|CARGO_MANIFEST_DIR|CARGO_PKG_VERSION"
    r"|CARGO_BIN_EXE_\w+|CARGO_TARGET_TMPDIR"
)


def sources() -> list[Path]:
    found = []
    for place in PLACES:
        path = ROOT / place
        inside = path.rglob("*") if path.is_dir() else [path]
        found += [path for path in inside if path.is_file() and is_source(path)]
    return found


def is_source(path: Path) -> bool:
    """Tells whether it is a program, other than what was built or is this test."""
    parts = path.relative_to(ROOT).parts
    if path == Path(__file__) or any(
        part in ("target", "__pycache__") for part in parts
    ):
        return False
    return path.suffix in (".py", ".rs") or (not path.suffix and parts[0] != "tests")


def patterns(path: Path) -> list[str]:
    if path.name == "Makefile":
        return MAKE
    return {".py": PYTHON, ".rs": RUST}.get(path.suffix, SHELL)


def value_of(constant: str, text: str, path: Path) -> str:
    """Returns the string that a constant stands for, here or in a module beside it."""
    constant = constant.rpartition(".")[2]
    definition = re.compile(rf"\b{constant}(?:: &str)? = \"({NAME})\"")
    beside = (other.read_text() for other in path.parent.glob(f"*{path.suffix}"))
    above = (other.read_text() for other in path.parents[1].glob(f"*{path.suffix}"))
    for place in (text, *beside, *above):
        if found := definition.search(place):
            return found[1]
    raise LookupError(f"{path}: what is the variable {constant}?")


def own_words(text: str, path: Path) -> set[str]:
    """Returns what a Makefile or script sets before it reads it."""
    if path.name == "Makefile":
        return {*re.findall(rf"^(?:export )?({NAME}) :?=", text, re.MULTILINE), "MAKE"}
    return {*re.findall(rf"^\s*(?:export |local )?({NAME})\+?=", text, re.MULTILINE)}


def reads_of(path: Path) -> set[str]:
    text = path.read_text()
    found = set()
    for pattern in patterns(path):
        for word in re.findall(pattern, text, re.MULTILINE):
            if word == ANY.get(path.relative_to(ROOT).as_posix()):
                continue
            is_constant = path.suffix in (".py", ".rs") and word[0] not in "\"'"
            found.add(value_of(word, text, path) if is_constant else word.strip("\"'"))
    if path.suffix not in (".py", ".rs"):
        known = own_words(text, path)
        # By convention what comes from outside is in capitals.
        found = {word for word in found - known if word.isupper() and len(word) > 1}
        found -= {"BASH_SOURCE", "MAKEFILE_LIST"}
    return {word for word in found if not THEIRS.fullmatch(word)}


def documented() -> set[str]:
    """Returns the variables in the first column of the page's table."""
    page = (ROOT / "docs" / "environment.md").read_text()
    cells = re.findall(r"^\| (`.*?`) \|", page, re.MULTILINE)
    return {name for cell in cells for name in re.findall(rf"`({NAME})`", cell)}


def test_page_has_each_variable_that_is_read_and_no_other() -> None:
    read = {name for path in sources() for name in reads_of(path)}
    assert read == documented()


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.py", 'os.environ["ONE"]; os.environ["NONE"] = "x"', {"ONE"}),
        ("b.py", 'KEY = "TWO"\nos.getenv(KEY, "default")', {"TWO"}),
        ("c.py", '"THREE" not in os.environ', {"THREE"}),
        ("d.rs", 'const KEY: &str = "FOUR";\nstd::env::var_os(KEY)', {"FOUR"}),
        ("e.rs", 'env::var(\n    "FIVE")', {"FIVE"}),
        ("f", 'OURS=1\necho "$OURS ${SIX:-no}"', {"SIX"}),
        ("Makefile", "A := b\nSEVEN ?= 7\nc:\n\t$(A) $(EIGHT)", {"SEVEN", "EIGHT"}),
    ],
)
def test_reads_are_found(name, text, expected, tmp_path, monkeypatch) -> None:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / name
    path.write_text(text)
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert reads_of(path) == expected
