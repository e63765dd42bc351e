"""The notebook of the guide shows what it says that it shows, run in a real kernel."""

import sys
import textwrap
from pathlib import Path

import pytest
import script

PACKAGE = "ipykernel"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.procession_only("what a notebook defines does not cross there"),
]

NOTEBOOK = Path(__file__).parents[2] / "examples/guides/notebook.ipynb"

# Executes a notebook, and prints of each cell what it has shown, if that is not what it showed before.
EXECUTE = """
    import copy, sys
    import nbformat
    from nbclient import NotebookClient

    told = nbformat.read(sys.argv[1], as_version=4)
    notebook = copy.deepcopy(told)
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    before = [cell for cell in told.cells if cell.cell_type == "code"]
    for cell, old in zip(cells, before, strict=True):
        if cell.outputs != old.outputs:
            print(cell.source, cell.outputs)
    print(len(cells), "cells")
"""


def test_notebook_shows_what_it_has_shown(tmp_path) -> None:
    pytest.importorskip("nbclient")
    pytest.importorskip("cloudpickle")
    program = tmp_path / "execute.py"
    program.write_text(textwrap.dedent(EXECUTE))
    code, out, err = script.run([sys.executable, program, NOTEBOOK])
    assert code == 0, err
    assert out == "5 cells\n"
