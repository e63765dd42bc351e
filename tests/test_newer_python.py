"""What newer versions of CPython have brought to `multiprocessing`, under every version."""

import logging
import multiprocessing as standard
import subprocess
import sys
import textwrap
from collections.abc import MutableMapping, MutableSequence, MutableSet
from importlib.util import find_spec

import pytest
from library import PATIENCE, load
from targets import calls

pytestmark = pytest.mark.procession_only("that depends on its version")


def test_process_takes_none_for_keywords(mp, call) -> None:
    process = mp.Process(target=calls.nothing, args=(), kwargs=None)
    process.start()
    process.join(PATIENCE)
    assert process.exitcode == 0
    thread = load("dummy").Process(target=calls.nothing, kwargs=None)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_manager_tells_whether_a_lock_is_taken(mp) -> None:
    with mp.Manager() as manager:
        locks = [manager.Lock()]
        if sys.version_info >= (3, 14):
            # Those of `threading` can tell since then.
            locks += [manager.RLock(), manager.Condition()]
        for lock in locks:
            assert not lock.locked()
            with lock:
                assert lock.locked()
            assert not lock.locked()


def test_proxies_are_the_collections_that_they_stand_for(mp) -> None:
    with mp.Manager() as manager:
        assert isinstance(manager.list(), MutableSequence)
        assert isinstance(manager.dict(), MutableMapping)
        assert isinstance(manager.set(), MutableSet)
        assert not isinstance(manager.Queue(), MutableSet)


def test_spawn_leaves_the_default_start_method_to_be_chosen(tmp_path) -> None:
    assert (
        run(
            tmp_path,
            """
        import multiprocessing

        def tell():
            print(multiprocessing.get_start_method(allow_none=True))

        if __name__ == "__main__":
            for method in ("spawn", "forkserver"):
                process = multiprocessing.get_context(method).Process(target=tell)
                process.start()
                process.join()
                print(multiprocessing.get_start_method(allow_none=True))
            multiprocessing.set_start_method("fork")
            print(multiprocessing.get_start_method())
    """,
        )
        == "spawn\nNone\nforkserver\nNone\nfork\n"
    )


def test_context_without_a_default_has_that_of_the_interpreter() -> None:
    context = load("context").DefaultContext()
    assert context.get_start_method(allow_none=True) is None
    assert context.get_start_method() == standard.get_all_start_methods()[0]


PRELOAD = """
    import multiprocessing

    if __name__ == "__main__":
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["no_such_module", "wave"], on_error={!r})
        try:
            process = context.Process(target=print, args=("started",))
            process.start()
            process.join()
        except ConnectionError as error:
            print(*error.__notes__)
"""


def test_module_that_cannot_be_preloaded_is_ignored_or_warned_of(tmp_path) -> None:
    ignored = run_whole(tmp_path, PRELOAD.format("ignore"), "-W", "always")
    assert (ignored.stdout, ignored.stderr) == ("started\n", "")
    warned = run_whole(tmp_path, PRELOAD.format("warn"), "-W", "always")
    assert warned.stdout == "started\n"
    assert "ImportWarning: Failed to preload module 'no_such_module'" in warned.stderr


def test_module_that_must_be_preloaded_and_cannot_breaks_the_server(tmp_path) -> None:
    broken = run_whole(tmp_path, PRELOAD.format("fail"))
    assert broken.stdout.startswith("Forkserver process may have crashed")
    assert "ModuleNotFoundError: No module named 'no_such_module'" in broken.stderr


def test_main_module_that_cannot_be_preloaded_is_told_as_it_was_asked_for(lib) -> None:
    forkserver = load("forkserver")
    with pytest.warns(ImportWarning, match="Failed to preload module 'no_such'"):
        forkserver._handle_preload(["no_such"], on_error="warn")
    with pytest.raises(ModuleNotFoundError):
        forkserver._handle_preload(["no_such"], on_error="fail")
    forkserver._handle_preload(["no_such"], on_error="ignore")
    with pytest.raises(
        ValueError, match="on_error must be 'ignore', 'warn', or 'fail'"
    ):
        lib.set_forkserver_preload(["os"], on_error="never")


def test_warnings_of_the_library_are_logged(lib, caplog) -> None:
    util = load("util")
    util.warn("%s", "nobody listens")
    logger = util.get_logger()
    logger.addHandler(caplog.handler)
    try:
        util.warn("%s is wrong", "this")
    finally:
        logger.removeHandler(caplog.handler)
    assert caplog.record_tuples == [
        ("multiprocessing", logging.WARNING, "this is wrong")
    ]


@pytest.mark.parametrize("typecode", ["x", 5, None, int])
def test_typecode_that_is_none_is_a_type_error(lib, typecode) -> None:
    for make in (lib.RawValue, lib.Value):
        with pytest.raises(TypeError, match="bad typecode"):
            make(typecode)
    for make in (lib.RawArray, lib.Array):
        for size in (3, [1, 2]):
            with pytest.raises(TypeError, match="bad typecode"):
                make(typecode, size)


def test_index_of_what_is_not_in_a_list_says_so(lib) -> None:
    items = load("shared_memory").ShareableList([1, "a"])
    try:
        with pytest.raises(
            ValueError, match=r"^ShareableList.index\(x\): x not in list$"
        ):
            items.index(2)
    finally:
        items.shm.close()
        items.shm.unlink()


@pytest.mark.parametrize("simple", [True, False])
def test_tracker_reads_names_of_either_form(lib, simple) -> None:
    tracker = load("resource_tracker")
    one = tracker.ResourceTracker()
    one._use_simple_format = simple
    for name in ("/plain", "/with:colon", "/with\nnewline", "/\udcff"):
        line = one._message("REGISTER", name, "shared_memory")
        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1
        assert tracker._decode_message(line) == ("REGISTER", "shared_memory", name)
    with pytest.raises(ValueError, match="malformed"):
        tracker._decode_message(b'{"cmd": 1}\n')


SUBINTERPRETERS = next(
    (name for name in ("_interpreters", "_xxsubinterpreters") if find_spec(name)), None
)


@pytest.mark.skipif(SUBINTERPRETERS is None, reason="there are no subinterpreters")
@pytest.mark.parametrize("first", ["", "import procession"])
def test_subinterpreter_is_told_why_it_cannot_have_procession(tmp_path, first) -> None:
    out = run(
        tmp_path,
        f"""
        import {SUBINTERPRETERS} as interpreters
        {first}
        number = interpreters.create()
        run = getattr(interpreters, "run_string", None) or interpreters.exec
        try:
            print(run(number, "import procession").msg)
        except interpreters.RunFailedError as error:
            print(error)
        interpreters.destroy(number)
    """,
        installed=False,
    )
    assert "the main interpreter of a process only" in out
    assert "this is a subinterpreter" in out


def run(tmp_path, text: str, *, installed: bool = True) -> str:
    done = run_whole(tmp_path, text, installed=installed)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def run_whole(tmp_path, text: str, *flags: str, installed: bool = True):
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(text))
    runner = ["-m", "procession"] if installed else []
    return subprocess.run(
        [sys.executable, *flags, *runner, str(path)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
