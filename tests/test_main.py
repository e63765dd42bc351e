"""`python -m procession`, and `install`: a program in which multiprocessing is ours.

What a program sees when it is run by Python itself is what it must see here, so the
tests of that run on the standard library too.
"""

import os
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest
import script
from library import load

# Tells by which name each process knows which library.
WHOSE = """
    import multiprocessing
    import multiprocessing.connection
    import multiprocessing.pool as pool_module
    import sys
    from multiprocessing import queues
    from multiprocessing.synchronize import Lock

    def whose():
        import importlib
        modules = [multiprocessing, multiprocessing.connection, pool_module, queues]
        names = {module.__name__.partition(".")[0] for module in modules}
        names.add(Lock.__module__.partition(".")[0])
        for name in ("context", "process", "sharedctypes", "synchronize"):
            module = importlib.import_module("multiprocessing." + name)
            names.add(module.__name__.partition(".")[0])
        return sorted(names)

    def child(answers):
        answers.put(whose())
"""


@pytest.fixture
def run(lib, tmp_path):
    """Returns a function that runs a text as a program in a folder of its own."""

    def run(text: str, *arguments: str, name: str = "program.py"):
        (tmp_path / name).write_text(textwrap.dedent(text))
        command = script.python(lib.__name__, name, *arguments)
        return script.run(command, cwd=tmp_path)

    return run


# What a program sees of itself.


def test_program_sees_what_python_would_show_it(run, tmp_path) -> None:
    code, out, err = run(
        """
        import os, sys
        print(__name__, sys.modules["__main__"].__name__)
        print(os.path.basename(__file__))
        print(sys.argv)
        print(os.path.samefile(sys.path[0], "."))
        print(__spec__, __package__, __doc__, globals() is vars(sys.modules["__main__"]))
        """,
        "first",
        "--second",
        "-m",
    )
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "__main__ __main__",
        "program.py",
        "['program.py', 'first', '--second', '-m']",
        "True",
        "None None None True",
    ]


def test_program_finds_the_modules_beside_it(run, tmp_path) -> None:
    (tmp_path / "beside.py").write_text("told = 'by the module beside it'")
    assert run("import beside; print(beside.told)")[1] == "by the module beside it\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pass", 0),
        ("import sys; sys.exit(7)", 7),
        ("import sys; sys.exit('why')", 1),
        ("raise ValueError('on purpose')", 1),
    ],
)
def test_exit_code_is_the_programs_own(run, text, expected) -> None:
    assert run(text)[0] == expected


def test_traceback_shows_the_program_and_no_more(run) -> None:
    _code, _out, err = run("""
        def fail():
            raise ValueError("on purpose")

        fail()
    """)
    assert 'program.py", line 5, in <module>' in err
    assert err.endswith("ValueError: on purpose\n")


TELL_AND_FAIL = """
import sys
print(globals().get("__file__"), sys.argv, sys.path[0], __spec__, __loader__)
def fail():
    raise {error}
fail()
"""


@pytest.mark.procession_only("it is what is compared with")
@pytest.mark.parametrize(
    "error", ["ValueError('on purpose')", "SystemExit('why')", "KeyboardInterrupt"]
)
@pytest.mark.parametrize(
    "form", [["program.py"], ["./program.py"], ["-c"], ["-"], ["-m", "program"]]
)
def test_each_form_tells_and_fails_as_with_python_alone(tmp_path, form, error) -> None:
    text = TELL_AND_FAIL.format(error=error)
    (tmp_path / "program.py").write_text(text)
    if form == ["-c"]:
        form = ["-c", text]

    def told(*runner: str) -> tuple[int, str, str]:
        command = [sys.executable, *runner, *form, "argument"]
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            input=text,
            cwd=tmp_path,
            text=True,
        )
        # Where loaders lie in memory is no difference.
        out = re.sub(" at 0x[0-9a-f]+", "", done.stdout)
        return done.returncode, out, done.stderr

    assert told("-m", "procession") == told()


@pytest.mark.parametrize(
    "form", [["-c", "a b"], ["-cprint(1)"], ["-c"], ["-m"], ["absent.py"], ["-x"]]
)
def test_what_cannot_be_run_ends_with_an_error_or_is_run(lib, tmp_path, form) -> None:
    command = script.python(lib.__name__, *form)
    code, out, err = script.run(command, cwd=tmp_path)
    assert (code, out) == ((0, "1\n") if "print" in form[0] else (code, ""))
    assert (code == 0) == (err == "")
    assert "__main__.py" not in err


def test_module_is_run_by_its_name(lib, tmp_path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "module.py").write_text(
        "import sys\n"
        "print(__name__, __package__, __spec__.name, sys.argv[1:])\n"
        "print(sys.argv[0] == __file__)\n"
    )
    command = script.python(lib.__name__, "-m", "package.module", "first", "-x")
    code, out, err = script.run(command, cwd=tmp_path)
    assert (code, err) == (0, "")
    assert out == "__main__ package package.module ['first', '-x']\nTrue\n"


def test_package_is_run_by_its_main_module(lib, tmp_path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__main__.py").write_text("print(__name__, __package__)")
    command = script.python(lib.__name__, "-m", "package")
    assert script.run(command, cwd=tmp_path)[1] == "__main__ package\n"


def test_module_run_by_its_name_has_children(lib, tmp_path, method) -> None:
    (tmp_path / "module.py").write_text(
        textwrap.dedent("""
        import multiprocessing
        import sys

        def child(answers):
            answers.put(__name__)

        if __name__ == "__main__":
            multiprocessing.set_start_method(sys.argv[1])
            answers = multiprocessing.SimpleQueue()
            process = multiprocessing.Process(target=child, args=(answers,))
            process.start()
            print(answers.get())
            process.join()
        """)
    )
    command = script.python(lib.__name__, "-m", "module", method)
    code, out, err = script.run(command, cwd=tmp_path)
    assert (code, err) == (0, "")
    assert out == ("__main__\n" if method == "fork" else "__mp_main__\n")


def test_main_module_is_read_again_by_fresh_children_only(run, method) -> None:
    code, out, err = run(
        """
        import multiprocessing
        import sys

        print("read as", __name__, flush=True)

        def child():
            print("child", flush=True)

        if __name__ == "__main__":
            multiprocessing.set_start_method(sys.argv[1])
            process = multiprocessing.Process(target=child)
            process.start()
            process.join()
        """,
        method,
    )
    assert (code, err) == (0, "")
    again = [] if method == "fork" else ["read as __mp_main__"]
    assert out.splitlines() == ["read as __main__", *again, "child"]


@pytest.mark.methods("spawn", "forkserver")
def test_start_without_the_main_guard_is_an_error_and_no_storm(run, method) -> None:
    code, out, err = run(
        """
        import multiprocessing
        import sys

        print("read", flush=True)
        multiprocessing.set_start_method(sys.argv[1], force=True)
        process = multiprocessing.Process(target=print)
        process.start()
        process.join()
        print(process.exitcode)
        """,
        method,
    )
    assert code == 0
    assert out.endswith("1\n")
    assert 2 <= out.count("read") <= 3, "read here, in the child, and maybe its server"
    assert "RuntimeError" in err
    assert "if __name__ == '__main__':" in err


# Who is behind the name.


def test_program_and_its_children_have_one_library_by_all_names(
    lib, run, method
) -> None:
    code, out, err = run(
        WHOSE
        + """
    if __name__ == "__main__":
        multiprocessing.set_start_method(sys.argv[1])
        answers = multiprocessing.SimpleQueue()
        process = multiprocessing.Process(target=child, args=(answers,))
        process.start()
        print(whose(), answers.get())
        process.join()
        with multiprocessing.Pool(1) as pool:
            print(pool.apply(whose))
    """,
        method,
    )
    assert (code, err) == (0, "")
    name = lib.__name__
    assert out == f"['{name}'] ['{name}']\n['{name}']\n"


@pytest.mark.procession_only("there is nothing to install")
def test_install_does_the_same_from_inside(lib, tmp_path, method) -> None:
    (tmp_path / "program.py").write_text(
        textwrap.dedent(
            """
    if __name__ == "__main__":
        import procession
        procession.install()
        procession.install()
    """
            + WHOSE
            + """
    if __name__ == "__main__":
        multiprocessing.set_start_method(sys.argv[1])
        answers = multiprocessing.SimpleQueue()
        process = multiprocessing.Process(target=child, args=(answers,))
        process.start()
        print(whose(), answers.get())
        process.join()
    """
        )
    )
    command = [sys.executable, "program.py", method]
    code, out, err = script.run(command, cwd=tmp_path)
    assert (code, err) == (0, "")
    assert out == "['procession'] ['procession']\n"


@pytest.mark.procession_only("there is nothing to install")
def test_install_is_too_late_when_multiprocessing_is_in_use(lib, tmp_path) -> None:
    text = """if True:
        import multiprocessing, procession
        lock = multiprocessing.Lock()
        try:
            procession.install()
        except RuntimeError as error:
            print(error)
    """
    code, out, err = script.run([sys.executable, "-c", text])
    assert (code, err) == (0, "")
    assert "procession.install()" in out


@pytest.mark.procession_only("it is the library's own command")
def test_program_imports_no_other_multiprocessing(lib, run) -> None:
    code, out, _err = run("""
        import multiprocessing
        import multiprocessing.pool
        import sys

        if __name__ == "__main__":
            with multiprocessing.Pool(1) as pool:
                pool.map(len, ["a"])
            files = [getattr(module, "__file__", None) for module in sys.modules.values()]
            theirs = [name for name in files if name and "/multiprocessing/" in name]
            print(theirs)
    """)
    assert (code, out) == (0, "[]\n")


def test_drop_in_by_import_as(lib, tmp_path) -> None:
    (tmp_path / "program.py").write_text(
        textwrap.dedent(f"""
        import {lib.__name__} as multiprocessing

        def child(queue):
            queue.put(multiprocessing.current_process().name)

        if __name__ == "__main__":
            queue = multiprocessing.Queue()
            process = multiprocessing.Process(target=child, args=(queue,), name="told")
            process.start()
            print(queue.get())
            process.join()
        """)
    )
    code, out, err = script.run([sys.executable, "program.py"], cwd=tmp_path)
    assert (code, out, err) == (0, "told\n", "")


# What the command tells of itself.


@pytest.mark.procession_only("it is the library's own command")
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_names_each_form_of_a_program(lib, tmp_path, option) -> None:
    command = [sys.executable, "-m", "procession", option]
    code, out, err = script.run(command, cwd=tmp_path)
    assert (code, err) == (0, "")
    for form in ("SCRIPT", "-m MODULE", "-c COMMAND", "- [ARG...]"):
        assert f"python -m procession {form}" in out


@pytest.mark.procession_only("the standard library has no version of its own")
@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version_is_that_of_the_package(lib, tmp_path, option) -> None:
    manifest = tomllib.loads((Path(__file__).parents[1] / "Cargo.toml").read_text())
    version = manifest["workspace"]["package"]["version"]
    assert lib.__version__ == version
    command = [sys.executable, "-m", "procession", option]
    assert script.run(command, cwd=tmp_path) == (0, f"procession {version}\n", "")


# Wrong use of the command.


@pytest.mark.procession_only("it is the library's own command")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "usage"),
        (["no_such_program.py"], "no_such_program.py"),
        (["-m"], "usage"),
        (["-m", "no_such_module"], "no_such_module"),
        (["--no-such-option"], "--no-such-option"),
    ],
)
def test_command_that_makes_no_sense_says_why(lib, tmp_path, arguments, told) -> None:
    command = [sys.executable, "-m", "procession", *arguments]
    code, out, err = script.run(command, cwd=tmp_path)
    assert code != 0
    assert told in out + err
    assert "Traceback" not in err


def test_import_is_quick_and_starts_nothing(lib) -> None:
    text = f"import {lib.__name__}, os; print(len(os.listdir('/proc/self/task')))"
    out = subprocess.check_output([sys.executable, "-c", text], text=True)
    assert out == "1\n"


def test_modules_of_the_library_can_be_imported_each_by_itself(lib) -> None:
    for name in ("connection", "context", "pool", "process", "queues", "synchronize"):
        text = f"import {lib.__name__}.{name}"
        subprocess.run([sys.executable, "-c", text], check=True, env=dict(os.environ))
        assert load(name).__name__ == f"{lib.__name__}.{name}"
