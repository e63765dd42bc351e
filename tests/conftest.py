"""What every test gets: a library, a start method, a watchdog, and a look behind.

One body of tests runs under each start method: a test that asks for `mp` runs
once for fork, spawn and forkserver, on the library chosen by `--library`.
"""

import atexit
import faulthandler
import gc
import os
import shutil
import signal
import sys
import tempfile
import textwrap
import types

import leftovers
import process_tree
import pytest
import script
from script import METHODS

# Seconds that a test may take before its stacks are shown and it is failed.
WATCHDOG = 120


def pytest_addoption(parser) -> None:
    group = parser.getgroup("procession")
    group.addoption(
        "--library",
        choices=["procession", "stdlib"],
        default="procession",
        help="run the tests on procession, or on what it replaces to test the tests",
    )
    group.addoption(
        "--start-method",
        choices=METHODS,
        action="append",
        help="run the tests under this start method only; may be given again",
    )


def pytest_configure(config) -> None:
    for line in (
        "slow: takes more than a quarter of a second",
        "methods(name, ...): the start methods for which the test has a meaning",
        "procession_only(why): multiprocessing does not promise this",
    ):
        config.addinivalue_line("markers", line)
    # A pool of the standard library forks from threads; fork of the test process,
    # which has no other threads, is what is tested here.
    config.addinivalue_line(
        "filterwarnings", "ignore:.*multi-threaded, use of fork:DeprecationWarning"
    )
    # Before `library` is imported, here and by the children.
    os.environ["PROCESSION_TESTED_LIBRARY"] = config.getoption("library")
    # What a shell starts in the background ignores interrupts, and would hand that down.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Children read `__main__` again, and pytest's takes long and is of no use.
    sys.modules["__main__"] = types.ModuleType("__main__")
    # So that only what the tests make is found there; short, for socket names.
    temporary = tempfile.mkdtemp(prefix="pt-")
    os.environ["TMPDIR"] = tempfile.tempdir = temporary
    # Registered before, so run after, what multiprocessing itself does at exit.
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)


def pytest_generate_tests(metafunc) -> None:
    if "method" in metafunc.fixturenames:
        fitting = metafunc.definition.get_closest_marker("methods")
        chosen = metafunc.config.getoption("start_method") or METHODS
        methods = (
            [name for name in fitting.args if name in chosen] if fitting else chosen
        )
        metafunc.parametrize("method", methods, scope="module", indirect=True)


def pytest_runtest_setup(item) -> None:
    marker = item.get_closest_marker("procession_only")
    if marker is not None and item.config.getoption("library") == "stdlib":
        pytest.skip(f"multiprocessing does not promise this: {marker.args[0]}")


@pytest.fixture(scope="module", autouse=True)
def what_is_there_is_no_garbage() -> None:
    """Spares who looks for garbage after each test a look at all that pytest has."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module")
def method(request) -> str:
    """Names a start method: a test that asks for it runs under each."""
    return request.param


@pytest.fixture(scope="session")
def lib(tmp_path_factory) -> types.ModuleType:
    """Returns the library under test, warmed up.

    What it starts once for a whole program is there when this returns.
    """
    import library
    from targets import calls

    if library.absent and os.environ.get("CI") == "true":
        pytest.fail(library.absent)
    if library.absent:
        pytest.skip(library.absent)
    for name in METHODS:
        process = library.multiprocessing.get_context(name).Process(
            target=calls.nothing
        )
        process.start()
        process.join()
        assert process.exitcode == 0
    library.multiprocessing.RawValue("i")
    tmp_path_factory.getbasetemp()
    return library.multiprocessing


@pytest.fixture(scope="module")
def mp(lib, method):
    """Returns the context of a start method: a test that asks for it runs under each."""
    return lib.get_context(method)


@pytest.fixture
def context(lib):
    """Returns the context of a cluster of one node, which is on this machine."""
    import procession

    context = procession.get_context("loopback://1")
    yield context
    context.close()


@pytest.fixture(params=["asyncio", "uvloop", "trio"])
def loop(request):
    """Returns a kind of event loop: a test that asks for it runs in each."""
    import loops

    return loops.of(request.param)


@pytest.fixture
def start(mp):
    """Returns a function that starts a process, which does not survive the test."""
    started = []

    def start(target, *args, **kwargs):
        process = mp.Process(target=target, args=args, kwargs=kwargs)
        process.start()
        started.append(process)
        return process

    yield start
    while started:
        put_to_rest(started.pop())


def put_to_rest(process) -> None:
    """Makes sure that a process has ended, and lets go of it."""
    try:
        process.kill()
        process.join()
        process.close()
    except ValueError:
        pass  # The test has closed it.


@pytest.fixture
def call(mp, start):
    """Returns a function that calls another in a child and returns its result."""
    from targets import calls

    def call(function, *args, **kwargs):
        answers = mp.SimpleQueue()
        process = start(calls.call_and_put, answers, function, args, kwargs)
        succeeded, result = answers.get()
        process.join()
        if not succeeded:
            raise result
        return result

    return call


@pytest.fixture(autouse=True)
def nothing_is_left_behind(request):
    """Fails a test that leaves more processes, descriptors or files than it found."""
    if not {"lib", "mp", "method"} & set(request.fixturenames):
        yield  # A test that runs programs looks after them by their sessions.
        return
    import library

    lib = request.getfixturevalue("lib")

    def reap() -> None:
        lib.active_children()
        library.end_spares()

    reap()
    if "pool" in request.fixturenames:
        request.getfixturevalue("pool")  # Shared by the tests of a module.
    if "loop" in request.fixturenames:
        request.getfixturevalue("loop")  # What one opens for good, it has opened.
    before = leftovers.snapshot()
    # One that was a spare until a moment ago may still look like one.
    before["process"] |= {str(child.pid) for child in lib.active_children()}
    yield
    if getattr(request.node, "failed", False):
        leftovers.kill_since(before)
        return  # The frames in the report keep alive what is to be looked for.
    left = leftovers.since(before, reap)
    if left:
        leftovers.kill_since(before)
    assert left == []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    item.failed = getattr(item, "failed", False) or report.failed
    return report


@pytest.fixture(autouse=True)
def watchdog():
    """Fails a test that hangs, after showing all stacks, those of its children too."""
    import library

    def bark(signum, frame) -> None:
        for pid in process_tree.descendants(os.getpid()):
            if process_tree.catches(pid, library.SHOW_STACKS):
                os.kill(pid, library.SHOW_STACKS)
        pytest.fail(f"the test hung for {WATCHDOG} seconds")

    before = signal.signal(signal.SIGALRM, bark)
    # Shows the stacks even where Python itself does not come to run `bark`.
    faulthandler.register(signal.SIGALRM, all_threads=True, chain=True)
    signal.setitimer(signal.ITIMER_REAL, WATCHDOG, WATCHDOG)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    faulthandler.unregister(signal.SIGALRM)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def browser(tmp_path):
    """Returns a headless Chromium, by selenium's driver, or skips the test."""
    import browsers

    with browsers.chromium(tmp_path) as driver:
        yield driver


@pytest.fixture
def program(method, tmp_path):
    """Returns a function that runs the text of a program under the start method.

    It returns the exit code, standard output and standard error, and has made
    sure that nobody was left behind.
    """

    def program(text: str, *arguments: str) -> tuple[int, str, str]:
        return script.run(program.command(text, *arguments), cwd=tmp_path)

    def command(text: str, *arguments: str) -> list:
        path = tmp_path / "program.py"
        path.write_text(textwrap.dedent(text))
        return script.python(library.name, path, *arguments, method=method)

    import library

    program.command = command
    return program


@pytest.fixture
def prints(program):
    """Returns a function that runs a program, which must succeed, and what it prints."""

    def prints(text: str, *arguments: str) -> list[str]:
        code, out, err = program(text, *arguments)
        assert (code, err) == (0, ""), err
        return out.splitlines()

    return prints
