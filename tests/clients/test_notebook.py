"""Jupyter notebooks and IPython: what a cell defines runs in processes."""

import json
import os
import sys
import textwrap

import pytest
import script

PACKAGE = "ipykernel"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.procession_only("what a notebook defines does not cross there"),
]

# Executes a notebook whose cells are its argument, and prints what each has shown.
EXECUTE = """
    import json, sys
    import nbformat
    from nbclient import NotebookClient

    cells = [nbformat.v4.new_code_cell(cell) for cell in json.loads(sys.argv[1])]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    print(json.dumps([
        [
            (output["name"], output["text"])
            if "name" in output
            else (output["output_type"], sorted(output["data"]))
            for output in cell.outputs
        ]
        for cell in notebook.cells
    ]))
"""

CELLS = [
    """
    import procession

    mp = procession.get_context("METHOD")
    FACTOR = 10

    class Point:
        def __init__(self, x):
            self.x = x

    def work(number):
        return number * FACTOR
    """,
    """
    pool = mp.Pool(2)
    print(pool.map(work, range(3)))
    print(pool.map(lambda number: -work(number), range(3)))
    print(type(pool.apply(Point, (1,))) is Point)
    """,
    """
    def later(point):
        return Point(work(point.x) + 1)

    def work(number):
        return number * 100

    print(pool.apply(later, (Point(2),)).x)
    pool.close()
    pool.join()
    """,
    """
    def answer(answers):
        answers.put(Point(work(7)))

    answers = mp.Queue()
    process = mp.Process(target=answer, args=(answers,))
    process.start()
    point = answers.get()
    process.join()
    print(type(point) is Point, point.x, process.exitcode)
    """,
]

SHOWN = [
    [],
    [["stdout", "[0, 10, 20]\n[0, -10, -20]\nTrue\n"]],
    [["stdout", "201\n"]],
    [["stdout", "True 700 0\n"]],
]


@pytest.fixture
def home(tmp_path):
    """Returns an environment in which nobody's settings are read, or written."""
    folders = ("HOME", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")
    return {**os.environ, **dict.fromkeys(folders, str(tmp_path))}


@pytest.fixture
def cells(method):
    pytest.importorskip("cloudpickle")
    return [textwrap.dedent(cell).replace("METHOD", method) for cell in CELLS]


def test_cells_of_a_notebook_run_in_processes_without_a_warning(
    cells, home, tmp_path
) -> None:
    pytest.importorskip("nbclient")
    command = [sys.executable, "-c", textwrap.dedent(EXECUTE), json.dumps(cells)]
    code, out, err = script.run(command, cwd=tmp_path, env=home)
    assert code == 0, err
    assert json.loads(out) == SHOWN


BAR = """
    import sys
    import procession

    if not WIDGETS:
        sys.modules["ipywidgets"] = None

    with procession.get_context("fork").Pool(2) as pool:
        assert pool.map(abs, range(10), progress=True) == list(range(10))
"""


@pytest.mark.parametrize("widgets", [True, False])
def test_bar_in_a_notebook_is_a_widget_or_a_text_without_a_warning(
    home, tmp_path, widgets
) -> None:
    for package in ("nbclient", "tqdm", "ipywidgets"):
        pytest.importorskip(package)
    cells = [textwrap.dedent(BAR).replace("WIDGETS", str(widgets))]
    command = [sys.executable, "-c", textwrap.dedent(EXECUTE), json.dumps(cells)]
    code, out, err = script.run(command, cwd=tmp_path, env=home)
    assert code == 0, err
    ((*shown,),) = json.loads(out)
    if widgets:
        ((kind, types),) = shown
        assert kind == "display_data"
        assert "application/vnd.jupyter.widget-view+json" in types
    else:
        assert {name for name, _ in shown} == {"stderr"}
        text = "".join(text for _, text in shown)
        assert "10/10" in text
        assert "arning" not in text


def test_what_ipython_is_given_runs_in_processes(cells, home, tmp_path) -> None:
    command = [sys.executable, "-m", "IPython", "-c", "\n".join(cells)]
    code, out, err = script.run(command, cwd=tmp_path, env=home)
    shown = "".join(text for cell in SHOWN for _stream, text in cell)
    assert (code, out) == (0, shown), err
