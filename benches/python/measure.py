"""Measures one scenario once and prints its figure as JSON.

Usage: python [-m procession] measure.py MODULE.FUNCTION START_METHOD

An ordinary program on ``multiprocessing``: which library that is, is decided by how it is run. A scenario may return
a figure and a note: what was other than usual.
"""

import json
import multiprocessing
import sys
from importlib import import_module

if __name__ == "__main__":
    module, _, function = sys.argv[1].partition(".")
    scenario = getattr(import_module(f"scenarios.{module}"), function)
    found = scenario(multiprocessing.get_context(sys.argv[2]))
    value, note = found if isinstance(found, tuple) else (found, "")
    library = multiprocessing.__name__
    print(json.dumps({"value": value, "note": note, "library": library}))
