"""PyInstaller, whose programs have no interpreter that could be told what to import."""

import os
import subprocess
import sys

import pytest
import script

PACKAGE = "PyInstaller"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.procession_only("its own hook takes the place of freeze_support"),
]

PROGRAM = """
import sys

# A child is started with words of its own; it is found out there by both.
import procession
procession.install()
import multiprocessing
if "installed" not in sys.argv:
    import procession as multiprocessing

def work(number):
    return number * number

def tell(queue):
    queue.put(multiprocessing.current_process().name)

if __name__ == "__main__":
    multiprocessing.freeze_support()
    context = multiprocessing.get_context(sys.argv[1])
    queue = context.Queue()
    process = context.Process(target=tell, args=(queue,), name="named")
    process.start()
    print(queue.get())
    process.join()
    with context.Pool(2) as pool:
        print(pool.map(work, range(5)))
    with context.Manager() as manager:
        print(manager.list([1, 2]))
"""


@pytest.fixture(scope="module")
def executable(tmp_path_factory):
    """Builds the program into one file, once for all start methods."""
    folder = tmp_path_factory.mktemp("frozen")
    (folder / "program.py").write_text(PROGRAM)
    build = [sys.executable, "-m", "PyInstaller", "--onefile", "--log-level", "ERROR"]
    # What we use where it is there, and what the program does without: else all of it is
    # looked through for a minute, and unpacked by each process.
    for name in ("IPython", "numpy", "pytest"):
        build += ["--exclude-module", name]
    subprocess.run([*build, "program.py"], check=True, cwd=folder, timeout=200)
    return folder / "dist" / "program"


@pytest.mark.parametrize("installed", [[], ["installed"]])
def test_program_of_one_file_has_children(
    method, executable, tmp_path, installed
) -> None:
    command = [executable, method, *installed]
    code, out, err = script.run(command, cwd=tmp_path, env=os.environ | {"LC_ALL": "C"})
    assert (code, err) == (0, "")
    assert out.splitlines() == ["named", "[0, 1, 4, 9, 16]", "[1, 2]"]
