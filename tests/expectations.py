"""What a program prints, told exactly and once for all who run it.

The notation of examples/expected/ is described in examples/README.md: a line
may be marked as one library's own, and `<name>` stands for a number.
"""

import re

MARK = re.compile(r"\[(multiprocessing|procession)\] ")
NAMED_NUMBER = re.compile(r"<([\w ]+)>")


def difference(expected: str, printed: str, library: str) -> str | None:
    """Tells the first line that is not as expected, or None when all are."""
    wanted = lines_of(expected, library)
    got = printed.splitlines()
    numbers: dict[str, str] = {}
    for number, (want, have) in enumerate(zip(wanted, got), start=1):
        if not matches(want, have, numbers):
            return f"line {number} is {have!r}, expected {want!r} with {numbers}"
    if len(wanted) != len(got):
        return f"{len(got)} lines, expected {len(wanted)}:\n{printed}"
    if len(set(numbers.values())) != len(numbers):
        return f"different names for the same number: {numbers}"
    return None


def lines_of(expected: str, library: str) -> list[str]:
    """Returns the lines that a library prints, without their marks."""
    marked = [(MARK.match(line), line) for line in expected.splitlines()]
    return [
        MARK.sub("", line, count=1)
        for mark, line in marked
        if mark is None or mark[1] == library
    ]


def matches(want: str, have: str, numbers: dict[str, str]) -> bool:
    """Compares one line, and notes in `numbers` what its names stand for."""
    names = NAMED_NUMBER.findall(want)
    # An odd element of the split is the name that was between two texts.
    texts = [re.escape(text) for text in NAMED_NUMBER.split(want)[::2]]
    found = re.fullmatch(r"(\d+)".join(texts), have)
    return found is not None and all(
        numbers.setdefault(name, value) == value
        for name, value in zip(names, found.groups())
    )
