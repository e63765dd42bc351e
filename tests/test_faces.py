"""What docs/faces.md says of the two faces is so, and it leaves nothing out."""

import builtins
import importlib
import pickle
import pkgutil
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import procession
import procession.connection
import procession.context
import procession.distributed
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
    builtins,
    pickle,
    threading,
    procession,
    procession.context.BaseContext,
    procession.connection,
    procession.connection.Connection,
    procession.distributed,
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


# Modules that have one row for all of their names.
ONE_ROW = {
    "distributed",
    "forkserver",
    "heap",
    "popen_fork",
    "popen_forkserver",
    "popen_spawn_posix",
    "reduction",
    "resource_sharer",
    "resource_tracker",
    "spawn",
    "testing",
    "util",
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
    declared |= {"AsFd"} | {method for _, method in public_methods()}
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


def public_items() -> set[str]:
    """Returns the names of the crate's public items."""
    library = (RUST / "lib.rs").read_text()
    uses = re.findall(r"^pub use \w+::(\{[^}]*\}|\w+);", library, re.MULTILINE)
    return {name for use in uses for name in re.findall(r"\w+", use)}


def public_methods() -> Iterator[tuple[str, str]]:
    """Yields each public type and trait of the crate with each of its methods."""
    public = public_items()
    for path in RUST.rglob("*.rs"):
        blocks = re.findall(
            r"^(impl|pub trait)\b(.*?)\{\n(.*?)^\}",
            path.read_text(),
            re.MULTILINE | re.DOTALL,
        )
        for kind, head, body in blocks:
            header = re.sub(r"^<(?:[^<>]|<[^<>]*>)*>", "", head).strip()
            name = re.match(r"\w+", header)
            if not name or name[0] not in public or " for " in header:
                continue
            visible = "pub " if kind == "impl" else ""
            yield from (
                (name[0], method)
                for method in re.findall(
                    rf"^    {visible}(?:const )?(?:async )?(?:unsafe )?fn (\w+)",
                    body,
                    re.MULTILINE,
                )
            )


def test_no_public_name_of_rust_is_left_out() -> None:
    told = names(PAGE)
    public = public_items()
    assert len(public) > 40
    assert public - NO_ROW["rust"] - told == set()
    methods = set(public_methods())
    assert len(methods) > 200
    assert ("Process", "start_by_fork") in methods
    assert ("Imap", "next_timeout") in methods
    assert {pair for pair in methods if pair[1] not in told} == set()


def test_no_public_name_of_python_is_left_out() -> None:
    told = names(PAGE)
    public = set(procession.__all__)
    for found in pkgutil.iter_modules(procession.__path__):
        if found.name.startswith("_"):
            continue
        if found.name in ONE_ROW:
            assert found.name in told
        else:
            module = importlib.import_module(f"procession.{found.name}")
            public |= set(module.__all__)
    assert len(public) > 80
    assert public - NO_ROW["python"] - told == set()


def test_no_public_attribute_of_python_is_left_out() -> None:
    told = names(PAGE)
    classes = [place for place in PLACES if isinstance(place, type)]
    assert len(classes) > 10
    for found in classes:
        public = {name for name in dir(found) if not name.startswith("_")}
        assert public - NO_ROW["python"] - told == set(), found
