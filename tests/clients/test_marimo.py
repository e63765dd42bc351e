"""marimo's notebooks: what a cell defines runs in processes."""

import json
import os
import sys

import pytest
import script

pytestmark = [
    pytest.mark.slow,
    pytest.mark.procession_only("what a notebook defines does not cross there"),
    # It brings a web server, and newer versions of what others need.
    pytest.mark.installs("marimo"),
]

NOTEBOOK = """
import marimo

app = marimo.App()


@app.cell
def _():
    import procession

    mp = procession.get_context("METHOD")
    FACTOR = 10

    class Point:
        def __init__(self, x):
            self.x = x

    return FACTOR, Point, mp


@app.cell
def _(FACTOR):
    def work(number):
        return number * FACTOR

    return (work,)


@app.cell
def _(Point, mp, work):
    with mp.Pool(2) as pool:
        plain = pool.map(work, range(3))
        negative = pool.map(lambda number: -work(number), range(3))
        moved = pool.apply(lambda point: Point(work(point.x) + 1), (Point(2),))
        pool.close()
        pool.join()
    print(plain, negative, type(moved) is Point, moved.x)
    return


@app.cell
def _(Point, mp, work):
    def answer(answers):
        answers.put(Point(work(7)))

    answers = mp.Queue()
    process = mp.Process(target=answer, args=(answers,))
    process.start()
    point = answers.get()
    process.join()
    print(type(point) is Point, point.x, process.exitcode)
    return
"""

# What its cells show.
SHOWN = ["[0, 10, 20] [0, -10, -20] True 21\n", "True 70 0\n"]


def test_cells_of_a_marimo_notebook_run_in_processes(method, tmp_path) -> None:
    pytest.importorskip("cloudpickle")
    notebook, out = tmp_path / "notebook.py", tmp_path / "shown.ipynb"
    notebook.write_text(NOTEBOOK.replace("METHOD", method))
    # Nobody's settings are read, or written.
    folders = ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME")
    env = {**os.environ, **dict.fromkeys(folders, str(tmp_path))}
    # Its kernel executes the cells.
    command = [sys.executable, "-m", "marimo", "export", "ipynb", str(notebook)]
    options = ["--include-outputs", "--no-sandbox", "-o", str(out)]
    _, _, err = script.run([*command, *options], cwd=tmp_path, env=env)
    assert out.exists(), err
    outputs = [
        output
        for cell in json.loads(out.read_text())["cells"]
        for output in cell.get("outputs", [])
    ]
    assert [each.get("evalue") or "".join(each["text"]) for each in outputs] == SHOWN
