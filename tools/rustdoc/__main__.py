"""Checks the pages that rustdoc has made of the crate procession, as its readers see them.

Usage: python tools/rustdoc [FOLDER]

Each item and each method has an example, and the methods of the main types begin with what a reader looks for. (rustdoc
takes the blocks of a type's methods module by module, not as they are named on the page.) FOLDER is where cargo has
put the pages, `target/doc/procession` by default.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

# What the methods of a type begin with: how one is made, and what it is for.
FIRST = {
    "Actor": ["new", "call"],
    "AsyncResult": ["get"],
    "Barrier": ["new", "wait"],
    "Child": ["join", "join_timeout", "wait"],
    "Condition": ["new", "wait"],
    "Context": ["new", "process", "pool"],
    "Event": ["new", "set", "wait"],
    "Imap": ["next_timeout"],
    "JoinableQueue": ["new", "bounded", "task_done", "join"],
    "Lock": ["new", "lock"],
    "ParProcesses": ["map"],
    "Pipe": ["send", "recv"],
    "Pool": ["new", "builder", "apply", "apply_async", "map"],
    "PoolBuilder": ["new", "workers", "start"],
    "Process": ["new", "args", "start"],
    "Queue": ["new", "bounded", "put"],
    "RLock": ["new", "lock"],
    "Semaphore": ["new", "bounded", "permit"],
    "Shared": ["new", "get", "set"],
    "SharedArray": ["from_slice", "zeroed", "lock"],
    "Trace": ["end"],
}

# What a type's methods end with.
LAST = {"Process": "start_by_fork", "Queue": "put_async"}

EXAMPLE = "rust-example-rendered"
ITEM = re.compile(r"(?:attr|enum|fn|macro|struct|trait|type|union)\.(\w+)\.html")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python tools/rustdoc")
    usual = Path(__file__).parents[2] / "target/doc/procession"
    parser.add_argument("folder", nargs="?", type=Path, default=usual)
    folder = parser.parse_args().folder
    pages = {
        match[1]: page
        for page in sorted(folder.glob("*.html"))
        if (match := ITEM.fullmatch(page.name))
    }
    found = [fault for name, page in pages.items() for fault in faults(name, page)]
    found += [f"{name} has no page in {folder}" for name in FIRST.keys() - pages.keys()]
    for fault in found:
        print(fault, file=sys.stderr)
    print(f"rustdoc: {len(pages)} pages, {len(found)} faults")
    return 1 if found else 0


def faults(name: str, page: Path) -> Iterator[str]:
    """Yields a line for each thing that the page of an item lacks."""
    text, _, _ = page.read_text().partition('id="trait-implementations"')
    text, _, _ = text.partition('id="deref-methods')
    about, _, implementations = text.partition('id="implementations-list"')
    if EXAMPLE not in about:
        yield f"{page.name}: it has no example"
    parts = re.split(r'<section id="method\.(\w+)(?:-\d+)?"', implementations)
    methods = list(zip(parts[1::2], parts[2::2], strict=True))
    for method, part in methods:
        if EXAMPLE not in part:
            yield f"{page.name}: {method} has no example"
    order = [method for method, _ in methods]
    first = FIRST.get(name, [])
    if order[: len(first)] != first:
        yield f"{page.name}: it begins with {order[: len(first)]}, and not with {first}"
    if name in LAST and order[-1:] != [LAST[name]]:
        yield f"{page.name}: it ends with {order[-1:]}, and not with {LAST[name]}"


if __name__ == "__main__":
    sys.exit(main())
