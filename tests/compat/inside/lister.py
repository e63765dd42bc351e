"""Prints which tests there are: for each module its classes, with start method and tests.

Usage: lister.py MODULE...
"""

import importlib
import json
import sys
import unittest


def classes(module) -> dict:
    """Returns the test classes of a module by their names."""
    return {
        name: {"method": getattr(each, "start_method", None), "tests": tests}
        for name, each in sorted(vars(module).items())
        if isinstance(each, type)
        and issubclass(each, unittest.TestCase)
        and each.__module__ == module.__name__
        and (tests := unittest.defaultTestLoader.getTestCaseNames(each))
    }


if __name__ == "__main__":
    found = {name: classes(importlib.import_module(name)) for name in sys.argv[1:]}
    json.dump(found, sys.stdout)
