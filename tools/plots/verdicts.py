"""The table of failures of the first page: which library stands what, in a word each."""

from typing import Any

# The columns, and whose results each stands for: a promise of procession's holds under every start method.
COLUMNS = {
    "procession": ["procession fork", "procession spawn", "procession forkserver"],
    "multiprocessing": ["multiprocessing"],
    "ProcessPool&shy;Executor": ["ProcessPoolExecutor"],
    "loky": ["loky"],
    "mpire": ["mpire"],
    "pebble": ["pebble"],
    "billiard": ["billiard"],
}
ROWS = {
    "worker killed": "A worker is killed (`SIGKILL`, out of memory)",
    "worker exits": "A worker calls `os._exit`",
    "exception does not unpickle": "A task raises an exception that does not unpickle",
    "result does not pickle": "A result does not pickle",
    "initializer raises": "The initializer raises",
    "lock owner killed": "The holder of a lock is killed",
    "parent killed, workers busy": "The program is killed while its workers are busy",
    "Ctrl-C, workers busy": "Ctrl-C while the workers are busy",
}
# What the text of a failure has, and what the table says.
WORDS = {
    "lost for ever": "lost for ever",
    "pool dead": "pool dead",
    "hang": "hangs",
    "orphaned": "orphans",
    "goes on": "goes on",
}


def table(failures: dict[str, Any]) -> str:
    """Returns the table as Markdown."""
    found = {(one["scenario"], one["library"]): one for one in failures["results"]}
    lines = [["", *COLUMNS], ["--", *(":--:" for _ in COLUMNS)]]
    for scenario, title in ROWS.items():
        cells = [
            _cell([found[scenario, library] for library in libraries])
            for libraries in COLUMNS.values()
        ]
        lines.append([title, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(results: list[dict[str, Any]]) -> str:
    if all(one["text"].startswith("has no") for one in results):
        return "–"
    if all(one["passed"] for one in results):
        return "✓"
    text = next(one["text"] for one in results if not one["passed"])
    word = next((word for part, word in WORDS.items() if part in text), "fails")
    return f'<span class="bad">{word}</span>'
