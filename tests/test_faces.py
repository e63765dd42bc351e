"""What docs/faces.md says of the two faces is so, and it leaves nothing out."""

import re
from pathlib import Path

import procession
import procession.connection
import procession.dummy
import procession.futures
import procession.managers
import procession.pool
import procession.queues
import procession.shared_memory
import procession.synchronize

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/faces.md").read_text()
RUST = ROOT / "crates/procession/src"

# Where names of Python are found that are no functions of the package.
PLACES = [
    procession,
    procession.connection,
    procession.connection.Connection,
    procession.dummy,
    procession.futures,
    procession.managers,
    procession.pool,
    procession.pool.ApplyResult,
    procession.pool.IMapIterator,
    procession.Process,
    procession.pool.Pool,
    procession.queues,
    procession.queues.Queue,
    procession.queues.JoinableQueue,
    procession.shared_memory,
    procession.synchronize.Lock,
    procession.synchronize.Semaphore,
    procession.synchronize.Condition,
    procession.synchronize.Event,
    procession.synchronize.Barrier,
]

# Public names that need no row: constants of logging, errors that have one together, and
# what says how a name of the page is used.
NO_ROW = {
    "python": {
        "BufferTooShort",
        "ProcessError",
        "TimeoutError",
        "allow_connection_pickling",
        "get_all_start_methods",
        "reducer",
    },
    "rust": {
        "ActiveChild",
        "Arrival",
        "Calls",
        "Callable",
        "CurrentProcess",
        "Given",
        "Guard",
        "Items",
        "Missing",
        "PanicInfo",
        "ParentProcess",
        "PutError",
        "Result",
        "RLockGuard",
        "RunOf",
        "Running",
        "StartMethod",
        "State",
        "WorkerInfo",
        "Waitable",
        "init_in_test",
    },
}


def rows() -> list[tuple[str, str]]:
    """Returns what each row with both faces says of Rust and of Python."""
    found = re.findall(r"^\| [^|]+ \| ([^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE)
    return [row for row in found if row != ("Rust", "Python")]


def names(text: str) -> set[str]:
    """Returns the names in a cell's code: words, without arguments and paths."""
    spans = [re.sub(r"\([^)]*\)", "", span) for span in re.findall("`([^`]+)`", text)]
    return {name for span in spans for name in re.findall(r"[A-Za-z_]\w+", span)}


def test_each_name_of_rust_is_there() -> None:
    source = "".join(path.read_text() for path in RUST.rglob("*.rs"))
    declared = set(
        re.findall(r"\bpub (?:(?:async )?fn|struct|trait|enum) (\w+)", source)
    )
    declared |= {"AsFd"}
    told = {name for rust, _ in rows() for name in names(rust)}
    assert len(told) > 80
    assert told - declared == set()


def test_each_name_of_python_is_there() -> None:
    known = {name for place in PLACES for name in dir(place)}
    keywords = {"with", "target", "args", "maxsize", "connection", "True", "tree"}
    keywords |= {"chunksize", "timeout", "retries", "initializer", "initargs", "next"}
    keywords |= {"kill", "immediate", "maxtasksperchild", "priority", "idle_timeout"}
    keywords |= {"initializer_timeout", "order_tasks"}
    told = {name for _, python in rows() for name in names(python)}
    assert len(told) > 60
    assert told - known - keywords == set()


def test_no_public_name_is_left_out() -> None:
    told = names(PAGE)
    assert set(procession.__all__) - NO_ROW["python"] - told == set()
    library = (RUST / "lib.rs").read_text()
    uses = re.findall(r"^pub use \w+::(\{[^}]*\}|\w+);", library, re.MULTILINE)
    public = {name for use in uses for name in re.findall(r"\w+", use)}
    assert len(public) > 40
    assert public - NO_ROW["rust"] - told == set()
