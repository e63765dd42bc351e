"""Runs a program under a start method: `under_start_method.py METHOD SCRIPT [ARG...]`.

The program is run as `__main__` from its file, as Python itself would, so that
children that read it again find it.
"""

import multiprocessing
import runpy
import sys

if __name__ == "__main__":
    _, method, script, *arguments = sys.argv
    sys.argv[:] = [script, *arguments]
    multiprocessing.set_start_method(method)
    runpy.run_path(script, run_name="__main__")
