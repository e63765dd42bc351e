"""Docstrings: every public name has an example, and every example does what it says."""

import doctest
import importlib
import inspect
import re
import sys
from pathlib import Path

import procession
import pytest
import script

# The modules that users import from, besides the package itself.
MODULES = [
    "actor",
    "connection",
    "distributed",
    "futures",
    "managers",
    "opentelemetry",
    "pool",
    "queues",
    "shared_memory",
    "sharedctypes",
    "synchronize",
    "testing",
]

# Classes of which users get objects, without calling them by name.
GOT = [
    "_log_relay.LogRelay",
    "managers.Namespace",
    "pool.ApplyResult",
    "pool.IMapIterator",
    "pool.IMapUnorderedIterator",
    "pool.MapResult",
    "process.BaseProcess",
    "sharedctypes.Synchronized",
    "sharedctypes.SynchronizedArray",
    "sharedctypes.SynchronizedString",
]

# What `multiprocessing` has for its own use, and what does nothing here.
INTERNAL = {
    "_log_relay.LogRelay.for_children",
    "_procession.Lock.handle",
    "_procession.Lock.kind",
    "_procession.Lock.maxvalue",
    "_procession.RLock.handle",
    "_procession.RLock.kind",
    "_procession.RLock.maxvalue",
    "_procession.Semaphore.handle",
    "_procession.Semaphore.kind",
    "_procession.Semaphore.maxvalue",
    "managers.BaseManager.get_server",
    "managers.BaseProxy",
    "managers.Token",
    "pool.ThreadPool.Process",
    "queues.Queue.cancel_join_thread",
    "queues.Queue.join_thread",
}


def public_names() -> list[str]:
    """Returns the dotted names, without the package's, of all that users call by name."""
    names = list(procession.__all__)
    for module in MODULES:
        names += [
            f"{module}.{name}"
            for name in importlib.import_module(f"procession.{module}").__all__
        ]
    return [name for name in [*names, *GOT] if name not in INTERNAL and is_ours(name)]


def find(name: str):
    """Returns the object of a dotted name."""
    found = procession
    *modules, last = name.split(".")
    for part in modules:
        found = importlib.import_module(f"{found.__name__}.{part}")
    return getattr(found, last)


def is_ours(name: str) -> bool:
    """Tells whether it is not the standard library's, as `queue.Empty` is."""
    return getattr(find(name), "__module__", "procession").startswith("procession")


def bases(name: str) -> list[type]:
    """Returns the public class of a name, and those of its bases that are ours."""
    cls = find(name)
    if not inspect.isclass(cls) or issubclass(cls, BaseException):
        return []
    return [base for base in cls.__mro__ if base.__module__.startswith("procession")]


def members(name: str) -> dict[str, str]:
    """Returns the docstrings of what the package has put into a public class."""
    found: dict[str, str] = {}
    for base in bases(name):
        home = f"{base.__module__.removeprefix('procession.')}.{base.__name__}"
        for member, value in vars(base).items():
            if (
                # The tests of an engine are no calls.
                not member.startswith(("_", "test_"))
                and not inspect.isclass(value)
                and f"{home}.{member}" not in INTERNAL
            ):
                found.setdefault(member, inspect.getdoc(getattr(base, member)) or "")
    return found


def examples(text: str) -> list[str]:
    """Returns what the examples of a docstring would have one type."""
    return [example.source for example in doctest.DocTestParser().get_examples(text)]


NAMES = public_names()

# How many names have their examples run by one interpreter, the start of which takes
# longer than most examples.
TOGETHER = 8


def groups() -> dict[str, list[str]]:
    """Returns the names in groups, each of one module and called by its first name."""
    modules: dict[str, list[str]] = {}
    for name in NAMES:
        modules.setdefault(name.rpartition(".")[0], []).append(name)
    return {
        names[first]: names[first : first + TOGETHER]
        for names in modules.values()
        for first in range(0, len(names), TOGETHER)
    }


@pytest.mark.parametrize("name", NAMES)
def test_public_name_has_an_example(name) -> None:
    assert examples(inspect.getdoc(find(name)) or ""), name


@pytest.mark.parametrize("name", [name for name in NAMES if members(name)])
def test_each_member_is_told_of_and_used_in_an_example(name) -> None:
    """In an example of its own, or in that of its class or of another member."""
    texts = [*map(inspect.getdoc, bases(name)), *members(name).values()]
    used = "\n".join(line for text in texts for line in examples(text or ""))
    without = [
        member
        for member, text in members(name).items()
        if not text or not re.search(rf"\.{member}\b", used)
    ]
    assert without == []


@pytest.mark.slow
@pytest.mark.parametrize("group", groups().values(), ids=groups())
def test_examples_do_what_they_say(group, method) -> None:
    pytest.importorskip("cloudpickle")
    if group[0].startswith("opentelemetry."):
        pytest.importorskip("opentelemetry.sdk")
    names = [
        f"procession.{each}"
        for name in group
        for each in (name, *(f"{name}.{member}" for member in members(name)))
    ]
    program = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        f"from targets.docstrings import run_all; run_all({method!r}, {names!r})"
    )
    assert script.run([sys.executable, "-c", program]) == (0, "", "")


def test_help_on_pool_tells_of_each_argument() -> None:
    text = inspect.getdoc(procession.Pool)
    arguments = inspect.signature(procession.Pool).parameters
    assert [name for name in arguments if f"{name}:" not in text] == []


# Makes one object of each class, and shows what completion offers of it.
COMPLETE = """
import procession, rlcompleter, sys
from procession import connection, futures, managers, shared_memory
from procession.pool import ThreadPool

def offered(thing):
    completer = rlcompleter.Completer({"thing": thing})
    found = []
    while (name := completer.complete("thing.", len(found))) is not None:
        found.append(name)
    return found

def show(thing):
    first = offered(thing)[0].removeprefix("thing.")
    private = [n for n in dir(thing) if n.startswith("_") and not n.startswith("__")]
    print(type(thing).__name__, first.startswith("_"), private)

here, there = procession.Pipe()
memory = shared_memory.SharedMemory(create=True, size=1)
memory.unlink()
with procession.Pool(1) as pool, ThreadPool(1) as threads, procession.Manager() as manager:
    with futures.ProcessPoolExecutor(1) as executor, connection.Listener() as listener:
        for thing in [
            pool, threads, manager, executor, listener, here, memory,
            executor.submit(abs, 1), executor.with_options(), pool.map_async(abs, [1]),
            pool.apply_async(abs, (1,)), pool.imap(abs, [1]), manager.list(),
            procession.Process(), procession.current_process(), procession.get_context(),
            procession.get_context("spawn"), procession.Queue(), procession.JoinableQueue(),
            procession.SimpleQueue(), procession.Lock(), procession.RLock(),
            procession.Semaphore(), procession.BoundedSemaphore(), procession.Condition(),
            procession.Event(), procession.Barrier(1), procession.Value("i"),
            procession.Array("i", 1), procession, connection, futures, managers,
            sys.modules["procession.pool"], sys.modules["procession.queues"],
        ]:
            show(thing)
"""


@pytest.mark.slow
def test_completion_offers_public_names_and_no_private_ones() -> None:
    code, out, err = script.run([sys.executable, "-c", COMPLETE])
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert len(lines) == 35
    assert [line for line in lines if not line.endswith(" False []")] == []


@pytest.mark.parametrize("name", MODULES)
def test_dir_of_a_module_has_all_that_is_public_and_no_private_names(name) -> None:
    module = importlib.import_module(f"procession.{name}")
    offered = {each for each in dir(module) if not each.startswith("__")}
    assert set(module.__all__) <= offered
    assert [each for each in offered if each.startswith("_")] == []


def test_a_class_of_a_user_hides_nothing() -> None:
    class Counting(procession.Process):
        def __init__(self) -> None:
            super().__init__()
            self._count = 0

    assert "_count" in dir(Counting())


def test_dir_of_the_package_has_all_that_is_public_and_nothing_else() -> None:
    offered = {name for name in dir(procession) if not name.startswith("__")}
    assert set(procession.__all__) <= offered
    assert [name for name in offered if name.startswith("_")] == []
    assert "sys" not in offered
