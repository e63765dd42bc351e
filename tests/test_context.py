"""Contexts and start methods, and the names that a program finds."""

import multiprocessing as standard
import os
import subprocess
import sys
import textwrap

import pytest
import script
from library import load
from targets import context as targets

# What the documentation of multiprocessing names, without managers and logging.
NAMES = [
    "Array",
    "AuthenticationError",
    "Barrier",
    "BoundedSemaphore",
    "BufferTooShort",
    "Condition",
    "Event",
    "JoinableQueue",
    "Lock",
    "Pipe",
    "Pool",
    "Process",
    "ProcessError",
    "Queue",
    "RLock",
    "RawArray",
    "RawValue",
    "Semaphore",
    "SimpleQueue",
    "TimeoutError",
    "Value",
    "active_children",
    "cpu_count",
    "current_process",
    "freeze_support",
    "get_all_start_methods",
    "get_context",
    "get_start_method",
    "parent_process",
    "set_executable",
    "set_forkserver_preload",
    "set_start_method",
]

MODULES = {
    "connection": "Connection Pipe wait",
    "context": "AuthenticationError BufferTooShort ProcessError TimeoutError",
    "pool": "AsyncResult MaybeEncodingError Pool ThreadPool",
    "process": "BaseProcess active_children current_process parent_process",
    "queues": "JoinableQueue Queue SimpleQueue",
    "sharedctypes": "Array RawArray RawValue Value copy synchronized",
    "synchronize": "Barrier BoundedSemaphore Condition Event Lock RLock Semaphore",
}


@pytest.mark.parametrize("name", NAMES)
def test_name_is_in_the_package_and_in_every_context(lib, name) -> None:
    assert getattr(lib, name) is not None
    assert name in lib.__all__
    if name != "get_all_start_methods":  # A context has no such thing.
        for method in (None, "fork", "spawn", "forkserver"):
            assert getattr(lib.get_context(method), name) is not None


@pytest.mark.parametrize("module", MODULES)
def test_module_has_the_names_of_its_twin(lib, module) -> None:
    for name in MODULES[module].split():
        assert hasattr(load(module), name)


def test_exceptions_have_a_common_base(lib) -> None:
    assert issubclass(lib.ProcessError, Exception)
    for name in ("AuthenticationError", "BufferTooShort", "TimeoutError"):
        assert issubclass(getattr(lib, name), lib.ProcessError)


def test_all_start_methods_are_known(lib) -> None:
    assert set(lib.get_all_start_methods()) == {"fork", "spawn", "forkserver"}
    assert lib.get_all_start_methods() == standard.get_all_start_methods()


def test_context_knows_its_start_method(lib, mp, method) -> None:
    assert mp.get_start_method() == method
    assert lib.get_context(method) is mp
    assert mp.get_context(method) is mp
    assert mp.get_context() is mp


def test_context_is_of_the_class_of_its_method(mp, method) -> None:
    name = {"forkserver": "ForkServer"}.get(method, method.capitalize())
    assert type(mp) is getattr(load("context"), f"{name}Context")
    assert mp.Process is getattr(load("context"), f"{name}Process")


def test_start_method_of_a_context_cannot_be_changed(mp, method) -> None:
    with pytest.raises(ValueError, match="cannot set start method of concrete context"):
        mp.set_start_method("fork")
    assert mp.get_start_method() == method


def test_child_has_the_start_method_of_its_parent(call, method) -> None:
    assert call(targets.start_method) == method


def test_number_of_processors_is_at_least_one(lib) -> None:
    assert 1 <= lib.cpu_count() <= os.cpu_count()


def test_freeze_support_does_nothing_here(lib) -> None:
    assert lib.freeze_support() is None


# What is chosen for a whole program.


def ask(text: str, library: str) -> str:
    """Runs one line of Python with a library as `m`, and returns what it prints."""
    program = f"import {library} as m\n{text}"
    return subprocess.check_output([sys.executable, "-c", program], text=True)


def test_default_start_method_is_that_of_the_interpreter(lib) -> None:
    question = "print(m.get_start_method())"
    assert ask(question, lib.__name__) == ask(question, "multiprocessing")


def test_start_method_is_not_set_until_it_is_needed(lib) -> None:
    question = "print(m.get_start_method(allow_none=True)); m.set_start_method('spawn')"
    assert ask(question, lib.__name__) == "None\n"


def test_start_method_is_set_once(lib) -> None:
    assert ask(
        """
m.set_start_method("spawn")
try:
    m.set_start_method("fork")
except RuntimeError as error:
    print(error)
m.set_start_method("fork", force=True)
print(m.get_start_method(), m.get_context().get_start_method())
m.set_start_method(None, force=True)
print(m.get_start_method(allow_none=True))
        """,
        lib.__name__,
    ) == ("context has already been set\nfork fork\nNone\n")


@pytest.mark.methods("forkserver")
def test_modules_preloaded_by_the_server_are_there_in_its_children(program) -> None:
    code, out, err = program("""
        import multiprocessing
        import sys

        def child():
            print("wave" in sys.modules)

        if __name__ == "__main__":
            multiprocessing.set_forkserver_preload(["wave"])
            process = multiprocessing.Process(target=child)
            process.start()
            process.join()
            print("wave" in sys.modules)
    """)
    assert (code, err) == (0, "")
    assert out == "True\nFalse\n"


@pytest.mark.methods("forkserver")
@pytest.mark.procession_only("there each child imports the module itself")
@pytest.mark.parametrize(
    ("preload", "process", "by_server"),
    [
        (["__main__"], "multiprocessing.Process(target=definitions.work)", True),
        (["__main__"], "definitions.Worker()", True),
        ([], "definitions.Worker()", False),
    ],
)
def test_the_server_has_imported_where_the_first_target_is(
    program, tmp_path, preload, process, by_server
) -> None:
    (tmp_path / "definitions.py").write_text("""
import multiprocessing
import os

imported_by = os.getpid()

def work():
    print(imported_by == os.getppid(), imported_by == os.getpid())

class Worker(multiprocessing.Process):
    def run(self):
        work()
""")
    code, out, err = program(f"""
        import multiprocessing

        if __name__ == "__main__":
            import definitions

            multiprocessing.set_forkserver_preload({preload})
            for _ in range(2):
                process = {process}
                process.start()
                process.join()
    """)
    assert (code, err) == (0, "")
    assert out == f"{by_server} {not by_server}\n" * 2


@pytest.mark.methods("forkserver")
@pytest.mark.procession_only("there the server imports nothing")
def test_a_module_that_fails_in_the_server_is_the_childs_error(
    program, tmp_path
) -> None:
    (tmp_path / "definitions.py").write_text("""
import os

if os.environ["OWNER"] != str(os.getpid()):
    raise RuntimeError("not in a child")

def work():
    pass
""")
    code, out, err = program("""
        import multiprocessing
        import os

        if __name__ == "__main__":
            os.environ["OWNER"] = str(os.getpid())
            import definitions

            process = multiprocessing.Process(target=definitions.work)
            process.start()
            process.join()
            print(process.exitcode)
    """)
    assert (code, out) == (0, "1\n")
    assert err.count("RuntimeError: not in a child") == 1


@pytest.mark.methods("spawn")
def test_spawned_children_run_the_executable_that_was_set(program, tmp_path) -> None:
    executable = tmp_path / "python"
    executable.symlink_to(sys.executable)
    code, out, err = program(
        """
        import multiprocessing
        import sys

        def child():
            print(sys.executable)

        if __name__ == "__main__":
            multiprocessing.set_executable(sys.argv[1])
            process = multiprocessing.Process(target=child)
            process.start()
            process.join()
        """,
        str(executable),
    )
    assert (code, err) == (0, "")
    assert out == f"{executable}\n"


def test_contexts_can_be_used_side_by_side(lib) -> None:
    assert ask(
        """
import operator
for method in ("fork", "spawn", "forkserver"):
    context = m.get_context(method)
    with context.Pool(1) as pool:
        print(method, pool.apply(operator.add, (1, 2)))
        """,
        lib.__name__,
    ) == ("fork 3\nspawn 3\nforkserver 3\n")


SUBMODULES = """
    import importlib, pkgutil
    import {name} as library

    library.{made}
    import multiprocessing as theirs
    theirs.{made}
    for module in pkgutil.iter_modules(theirs.__path__):
        if hasattr(theirs, module.name):
            found = getattr(library, module.name)
            assert found is importlib.import_module(f"{name}.{{module.name}}")
    print(hasattr(library, "connection"), hasattr(library, "no_such"))
"""


@pytest.mark.parametrize("made", ["Queue()", "Pipe()", "Value('i')", "cpu_count()"])
def test_submodules_are_reached_where_the_standard_library_has_them(
    lib, tmp_path, made
) -> None:
    path = tmp_path / "program.py"
    text = SUBMODULES.format(name=lib.__name__, made=made)
    path.write_text(textwrap.dedent(text))
    code, out, err = script.run([sys.executable, path], cwd=tmp_path)
    assert (code, err) == (0, "")
    assert out.endswith("False\n")


@pytest.mark.slow
def test_child_of_a_foreign_context_has_its_start_method(prints) -> None:
    assert prints("""
        import multiprocessing
        from multiprocessing import context, process

        class ForeignProcess(process.BaseProcess):
            _start_method = "foreign"

            @staticmethod
            def _Popen(process_obj):
                return multiprocessing.get_context(METHOD).Process._Popen(process_obj)

        class ForeignContext(context.BaseContext):
            _name = "foreign"
            Process = ForeignProcess

        METHOD = multiprocessing.get_start_method()
        context._concrete_contexts["foreign"] = ForeignContext()

        def tell(queue):
            queue.put(multiprocessing.get_start_method())

        if __name__ == "__main__":
            foreign = multiprocessing.get_context("foreign")
            queue = foreign.Queue()
            child = foreign.Process(target=tell, args=(queue,))
            child.start()
            print(queue.get())
            child.join()
    """) == ["foreign"]


def test_public_names_of_the_package_are_those_that_it_lists(lib) -> None:
    # As CPython's own test looks at it: modules are no names.
    names = {
        name
        for name in vars(lib)
        if not name.startswith("_") and not isinstance(vars(lib)[name], type(sys))
    }
    assert names <= {*lib.__all__, "SUBDEBUG", "SUBWARNING"}
