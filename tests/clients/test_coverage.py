"""coverage, which measures children by changing how they boot."""

import sys
import textwrap

import pytest
import script

pytestmark = [
    pytest.mark.slow,
    pytest.mark.installs("coverage"),
    pytest.mark.procession_only("it is what is compared with"),
]

PROGRAM = """
    import sys

    exec({
        "standard": "import multiprocessing",
        "named": "import procession as multiprocessing",
        "installed": "import procession; procession.install(); import multiprocessing",
    }[sys.argv[2]])

    def work(number):
        if number % 2:
            return number * number
        return -number

    def only_in_a_child(queue):
        first = 1
        queue.put(first)

    def nowhere():
        first = 1
        return first

    if __name__ == "__main__":
        context = multiprocessing.get_context(sys.argv[1])
        queue = context.Queue()
        process = context.Process(target=only_in_a_child, args=(queue,))
        process.start()
        queue.get()
        process.join()
        with context.Pool(2) as pool:
            pool.map(work, range(6))
            pool.close()
            pool.join()
"""

RC = """
[run]
concurrency = multiprocessing
parallel = true
source = .
disable_warnings = no-data-collected
"""


# What is reported on the standard library, by the start method.
EXPECTED: dict[str, str] = {}


@pytest.fixture
def measured(tmp_path, method):
    """Returns a function that measures the program; it returns the report."""
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    (tmp_path / ".coveragerc").write_text(RC)

    def coverage(runner, *arguments: str) -> str:
        command = [sys.executable, *runner, "-m", "coverage", *arguments]
        code, out, err = script.run(command, cwd=tmp_path)
        assert (code, err) == (0, ""), out + err
        return out

    def measured(library: str, *runner: str) -> str:
        coverage(runner, "run", "program.py", method, library)
        coverage([], "combine", "--quiet")
        return coverage([], "report", "--show-missing")

    return measured


@pytest.mark.parametrize(
    ("library", "runner"),
    [("installed", []), ("named", []), ("standard", ["-m", "procession"])],
)
def test_children_are_measured_as_on_the_standard_library(
    measured, method, library, runner
) -> None:
    if method not in EXPECTED:
        EXPECTED[method] = measured("standard")
    assert "100%" not in EXPECTED[method]
    assert measured(library, *runner) == EXPECTED[method]
