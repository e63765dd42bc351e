"""The forms that a main module comes in, and what children of each find of it."""

import ast
import os
import subprocess
import sys
import textwrap
import zipfile

import library
import pytest
import script

pytestmark = pytest.mark.slow

# Its functions are found by children that read the main module again.
READ_AGAIN = """
    import beside, multiprocessing, sys

    def work(number):
        return number * beside.FACTOR, __name__

    if __name__ == "__main__":
        multiprocessing.set_start_method(sys.argv[1])
        with multiprocessing.Pool(2) as pool:
            print(pool.map(work, [1, 2, 3]))
"""

# Its work is not guarded: children must not read it again.
NOT_READ_AGAIN = """
    import beside, multiprocessing, sys

    multiprocessing.set_start_method(sys.argv[1])
    with multiprocessing.Pool(2) as pool:
        print(pool.map(beside.work, [1, 2, 3]))
"""

BESIDE = """
    FACTOR = 10

    def work(number):
        return number * FACTOR, sys.modules["__main__"].__name__

    import sys
"""


@pytest.fixture
def files(tmp_path):
    """Returns a function that writes a file of a program, and returns its path."""

    def files(name: str, text: str):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(textwrap.dedent(text))
        return path

    return files


def name_in(method: str, fresh: str) -> str:
    """Returns what a child calls the main module: in forked ones it is the parent's."""
    return "__main__" if method == "fork" else fresh


def told(lib, tmp_path, method: str, *form: str) -> list[tuple[int, str]]:
    """Runs a program in one of its forms; returns what its children have told."""
    command = script.python(lib.__name__, *form, method)
    code, out, err = script.run(command, cwd=tmp_path)
    assert (code, err) == (0, "")
    return ast.literal_eval(out)


def test_script_is_read_again(lib, method, files, tmp_path) -> None:
    files("beside.py", BESIDE)
    path = files("program.py", READ_AGAIN)
    for form in (str(path), path.name, os.path.join(".", path.name)):
        name = name_in(method, "__mp_main__")
        expected = [(10, name), (20, name), (30, name)]
        assert told(lib, tmp_path, method, form) == expected


def test_script_without_the_ending_of_a_module_is_read_again(
    lib, method, files, tmp_path
) -> None:
    files("beside.py", BESIDE)
    files("program", READ_AGAIN)
    name = name_in(method, "__mp_main__")
    assert told(lib, tmp_path, method, "program") == [
        (10, name),
        (20, name),
        (30, name),
    ]


def test_module_is_read_again(lib, method, files, tmp_path) -> None:
    files("beside.py", BESIDE)
    files("package/__init__.py", "")
    files("package/program.py", READ_AGAIN)
    name = name_in(method, "__mp_main__")
    assert told(lib, tmp_path, method, "-m", "package.program") == [
        (10, name),
        (20, name),
        (30, name),
    ]


def test_main_module_of_a_package_is_not_read_again(
    lib, method, files, tmp_path
) -> None:
    files("beside.py", BESIDE)
    files("package/__init__.py", "")
    files("package/__main__.py", NOT_READ_AGAIN)
    assert [number for number, _ in told(lib, tmp_path, method, "-m", "package")] == [
        10,
        20,
        30,
    ]


def test_main_module_of_a_folder_is_not_read_again(
    lib, method, files, tmp_path
) -> None:
    files("folder/beside.py", BESIDE)
    files("folder/__main__.py", NOT_READ_AGAIN)
    assert [number for number, _ in told(lib, tmp_path, method, "folder")] == [
        10,
        20,
        30,
    ]


def test_main_module_of_an_archive_is_not_read_again(lib, method, tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("beside.py", textwrap.dedent(BESIDE))
        archive.writestr("__main__.py", textwrap.dedent(NOT_READ_AGAIN))
    assert [number for number, _ in told(lib, tmp_path, method, "archive.zip")] == [
        10,
        20,
        30,
    ]


def test_compiled_script_is_read_again(lib, method, files, tmp_path) -> None:
    import py_compile

    files("beside.py", BESIDE)
    path = files("program.py", READ_AGAIN)
    compiled = tmp_path / "compiled.pyc"
    py_compile.compile(str(path), str(compiled))
    path.unlink()
    command = [sys.executable, *ours(lib), compiled.name, method]
    code, out, err = script.run(command, cwd=tmp_path)
    assert (code, err) == (0, "")
    name = name_in(method, "__mp_main__")
    assert ast.literal_eval(out) == [(10, name), (20, name), (30, name)]


def ours(lib) -> list[str]:
    """Returns what runs a program on a library."""
    return [] if lib.__name__ == "multiprocessing" else ["-m", lib.__name__]


# Without a file.

TYPED = """
    import {library}
    {install}
    import beside, multiprocessing
    multiprocessing.set_start_method({method!r})
    child = multiprocessing.Process(target=print, args=("from the child",))
    child.start(); child.join()
    child = multiprocessing.Process(target=beside.tell, args=("beside it",))
    child.start(); child.join()
    pool = multiprocessing.Pool(2)
    print(pool.map(abs, [-1, 2]))
    pool.close(); pool.join()
"""

TELL = """
    def tell(what):
        print(what, flush=True)
"""


@pytest.mark.procession_only("it looks for a file called <stdin>")
@pytest.mark.parametrize("how", [["-"], ["-i", "-q"], ["-c"]])
def test_program_without_a_file_has_children(lib, method, files, tmp_path, how) -> None:
    files("beside.py", TELL)
    library = lib.__name__
    install = "procession.install()" if library == "procession" else ""
    text = textwrap.dedent(TYPED).format(
        library=library, install=install, method=method
    )
    if how == ["-c"]:
        how, text = [*how, text], ""
    # Not a session of its own: an interactive interpreter would want a terminal.
    done = subprocess.run(
        [sys.executable, *how],
        input=text,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=script.PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.replace(">>> ", "").splitlines()) == sorted(
        ["from the child", "beside it", "[1, 2]"]
    )
    assert "Error" not in done.stderr


@pytest.mark.procession_only("it asks for the attribute")
def test_main_module_without_a_spec_is_no_obstacle(
    lib, method, files, tmp_path
) -> None:
    # As in IPython, which makes a main module of its own.
    files("beside.py", TELL)
    files(
        "program.py",
        """
        import sys, types
        main = types.ModuleType("__main__")
        del main.__spec__
        sys.modules["__main__"] = main
        code = '''
        import beside, multiprocessing
        multiprocessing.set_start_method(sys.argv[1])
        child = multiprocessing.Process(target=beside.tell, args=("from the child",))
        child.start()
        child.join()
        print(child.exitcode)
        '''
        main.sys = sys
        exec(code, main.__dict__)
        """,
    )
    command = script.python(lib.__name__, "program.py", method)
    code, out, err = script.run(command, cwd=tmp_path)
    assert (code, out, err) == (0, "from the child\n0\n", "")


def test_launcher_of_ipython_is_not_read_again(lib, method, files, tmp_path) -> None:
    files("beside.py", TELL)
    files(
        "ipython",
        """
        import beside, multiprocessing, sys
        multiprocessing.set_start_method(sys.argv[1])
        child = multiprocessing.Process(target=beside.tell, args=("from the child",))
        child.start()
        child.join()
        """,
    )
    command = script.python(lib.__name__, "ipython", method)
    code, out, err = script.run(command, cwd=tmp_path)
    assert (code, out, err) == (0, "from the child\n", "")


# What children inherit.


@pytest.mark.procession_only("before CPython 3.13 it forgets -X")
def test_child_inherits_what_its_parent_has_set(lib, method, files, tmp_path) -> None:
    files("deep/beside.py", "NAME = 'found'")
    files(
        "program.py",
        """
        import logging, multiprocessing, os, sys

        def tell(answers):
            import beside
            process = multiprocessing.current_process()
            answers.put({
                "argv": sys.argv[1:],
                "cwd": os.getcwd(),
                "beside": beside.NAME,
                "method": multiprocessing.get_start_method(),
                "key": bytes(process.authkey),
                "level": multiprocessing.get_logger().getEffectiveLevel(),
                "name": process.name,
                "daemon": process.daemon,
                "flags": (sys.flags.no_user_site, sys.flags.optimize),
                "x": sys._xoptions.get("set"),
                "warnings": "error::ResourceWarning" in sys.warnoptions,
            })

        if __name__ == "__main__":
            multiprocessing.set_start_method(sys.argv[1])
            sys.argv.append("added")
            os.chdir("deep")
            sys.path.insert(0, os.getcwd())
            multiprocessing.current_process().authkey = b"a key"
            multiprocessing.get_logger().setLevel(logging.ERROR)
            answers = multiprocessing.SimpleQueue()
            child = multiprocessing.Process(
                target=tell, args=(answers,), name="child", daemon=True
            )
            child.start()
            print(answers.get())
            child.join()
        """,
    )
    options = ["-s", "-O", "-X", "set=this", "-W", "error::ResourceWarning"]
    command = [sys.executable, *options, *ours(lib), "program.py", method]
    code, out, err = script.run(command, cwd=tmp_path)
    assert (code, err) == (0, "")
    assert ast.literal_eval(out) == {
        "argv": [method, "added"],
        "cwd": str(tmp_path / "deep"),
        "beside": "found",
        "method": method,
        "key": b"a key",
        "level": 40,
        "name": "child",
        "daemon": True,
        "flags": (1, 1),
        "x": "this",
        "warnings": True,
    }


@pytest.mark.methods("spawn", "forkserver")
def test_fresh_child_has_no_descriptor_that_it_was_not_given(
    lib, method, files, tmp_path
) -> None:
    files(
        "program.py",
        """
        import multiprocessing, os, sys

        def tell(answers, number):
            try:
                os.fstat(number)
                answers.put("it is open")
            except OSError:
                answers.put("it is closed")

        if __name__ == "__main__":
            multiprocessing.set_start_method(sys.argv[1])
            reader, writer = os.pipe()
            # A number that nothing else gets.
            number = 1000
            os.dup2(reader, number, inheritable=True)
            answers = multiprocessing.SimpleQueue()
            for _ in range(4):
                child = multiprocessing.Process(target=tell, args=(answers, number))
                child.start()
                print(answers.get())
                child.join()
        """,
    )
    command = script.python(lib.__name__, "program.py", method)
    code, out, err = script.run(command, cwd=tmp_path)
    assert (code, out, err) == (0, "it is closed\n" * 4, "")


@pytest.mark.procession_only("there is more to being frozen there")
@pytest.mark.methods("spawn")
def test_frozen_program_runs_its_children(lib, method, files, tmp_path) -> None:
    # A frozen program is its own interpreter: here a script that looks like one.
    launcher = files(
        "frozen",
        f"""\
        #!{sys.executable}
        import sys
        sys.frozen, sys.executable = True, __file__
        import {lib.__name__} as multiprocessing
        multiprocessing.set_executable(__file__)

        def work(answers):
            answers.put("from the child")

        if __name__ == "__main__":
            multiprocessing.freeze_support()
            multiprocessing.set_start_method("spawn")
            answers = multiprocessing.SimpleQueue()
            child = multiprocessing.Process(target=work, args=(answers,))
            child.start()
            print(answers.get())
            child.join()
            print(child.exitcode)
        """,
    )
    launcher.chmod(0o755)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    code, out, err = script.run([launcher], cwd=tmp_path, env=env)
    assert (code, out, err) == (0, "from the child\n0\n", "")


# What stands for a frozen executable: it has no interpreter that takes `-c`.
FROZEN = """\
#!{python}
import sys

sys.frozen, sys.executable = True, {path!r}
sys.path.append({root!r})

import procession as multiprocessing

def work(number):
    return number * number, len(sys.argv)

if __name__ == "__main__":
    multiprocessing.freeze_support()
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        print(pool.map(work, range(3)))
"""


@pytest.mark.procession_only("an executable of its kind has a hook for that")
def test_frozen_executable_has_children(lib, method, tmp_path) -> None:
    path = tmp_path / "program"
    root = os.path.dirname(os.path.dirname(lib.__file__))
    path.write_text(FROZEN.format(python=sys.executable, path=str(path), root=root))
    path.chmod(0o700)
    code, out, err = script.run([path, method], cwd=tmp_path)
    assert (code, err) == (0, "")
    assert out == "[(0, 2), (1, 2), (4, 2)]\n"


# What children of a program without a guard do again.
UNGUARDED = {
    "pool": """
        with multiprocessing.Pool(2) as pool:
            print(pool.map(abs, range(4)))
    """,
    "process": """
        process = multiprocessing.Process(target=print)
        process.start()
        process.join()
        sys.exit(process.exitcode)
    """,
    "manager": "multiprocessing.Manager()",
}


@pytest.mark.methods("spawn", "forkserver")
@pytest.mark.procession_only("it goes on for ever, or does not say why")
@pytest.mark.parametrize("what", UNGUARDED)
def test_last_line_of_a_program_without_a_guard_says_why(program, what) -> None:
    text = "import multiprocessing, sys\n" + textwrap.dedent(UNGUARDED[what])
    code, out, err = program(text)
    assert (code, out) == (1, "")
    last = err.splitlines()[-1]
    advice = "belongs behind `if __name__ == '__main__':`"
    assert advice in last
    # Each of two workers may tell it, and the pool twice: as the cause, and as its own.
    assert err.count(advice) <= 4, err


@pytest.mark.methods("spawn", "forkserver")
@pytest.mark.procession_only("it says only that it was set already")
def test_start_method_that_is_set_outside_the_guard_says_where_it_belongs(
    lib, method, tmp_path
) -> None:
    path = tmp_path / "program.py"
    path.write_text(
        textwrap.dedent(f"""
            import multiprocessing
            multiprocessing.set_start_method({method!r})
            if __name__ == "__main__":
                try:
                    multiprocessing.Pool(1).map(abs, [1])
                except RuntimeError as error:
                    print(error)
        """)
    )
    _code, out, _err = script.run(script.python(library.name, path))
    assert "context has already been set: this child runs the main module" in out
    assert "belongs behind `if __name__ == '__main__':`" in out


@pytest.mark.methods("spawn", "forkserver")
@pytest.mark.procession_only("it starts workers for ever")
def test_pool_whose_workers_cannot_import_the_program_says_why(program) -> None:
    code, out, err = program("""
        import multiprocessing

        if __name__ == "__mp_main__":
            raise ZeroDivisionError("only in children")

        with multiprocessing.Pool(2) as pool:
            try:
                pool.map(abs, [1])
            except ZeroDivisionError as error:
                print(error, type(error.__cause__).__name__)
    """)
    assert (code, out) == (0, "only in children RemoteTraceback\n"), err


# Its functions are used, and its work is guarded, or not.
USED = """
    import multiprocessing, sys

    class Number:
        def __init__(self, value):
            self.value = value

    def work(number):
        return Number(number.value * 10)

    def main():
        multiprocessing.set_start_method(sys.argv[1], force=True)
        with multiprocessing.Pool(2) as pool:
            numbers = pool.map(work, map(Number, [1, 2, 3]))
            print([number.value for number in numbers])
        process = multiprocessing.Process(target=work, args=(Number(1),))
        process.start()
        process.join()
        print(process.exitcode)

    GUARD
        main()
"""


@pytest.mark.procession_only("a child does not find them")
@pytest.mark.parametrize("form", ["archive.pyz", "folder", "package"])
def test_functions_of_a_main_module_that_is_not_read_again_are_found(
    lib, method, files, tmp_path, form
) -> None:
    text = textwrap.dedent(USED).replace("GUARD", "if __name__ == '__main__':")
    if form == "archive.pyz":
        with zipfile.ZipFile(tmp_path / form, "w") as archive:
            archive.writestr("__main__.py", text)
    else:
        files(f"{form}/__main__.py", text)
    command = ["-m", form] if form == "package" else [form]
    command = script.python(lib.__name__, *command, method)
    code, out, err = script.run(command, cwd=tmp_path)
    assert (code, out, err) == (0, "[10, 20, 30]\n0\n", "")


@pytest.mark.methods("spawn", "forkserver")
@pytest.mark.procession_only("a child does not find them")
def test_functions_of_an_unguarded_archive_end_with_an_error(
    lib, method, tmp_path
) -> None:
    text = textwrap.dedent(USED).replace("GUARD", "if True:")
    with zipfile.ZipFile(tmp_path / "archive.pyz", "w") as archive:
        archive.writestr("__main__.py", text)
    command = script.python(lib.__name__, "archive.pyz", method)
    code, _out, err = script.run(command, cwd=tmp_path)
    assert code == 1
    assert "belongs behind" in err.splitlines()[-1]
