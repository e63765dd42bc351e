"""Measures one scenario once and prints its figure as JSON.

Usage: python [-m procession] measure.py MODULE.FUNCTION START_METHOD

An ordinary program on ``multiprocessing``: which library that is, is decided by how it is run.
"""

import json
import multiprocessing
import sys
from importlib import import_module

if __name__ == "__main__":
    module, _, function = sys.argv[1].partition(".")
    scenario = getattr(import_module(f"scenarios.{module}"), function)
    value = scenario(multiprocessing.get_context(sys.argv[2]))
    print(json.dumps({"value": value, "library": multiprocessing.__name__}))
