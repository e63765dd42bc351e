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
        name: {"method": method_of(each), "tests": tests}
        for name, each in sorted(vars(module).items())
        if isinstance(each, type)
        and issubclass(each, unittest.TestCase)
        and each.__module__ == module.__name__
        and (tests := unittest.defaultTestLoader.getTestCaseNames(each))
    }


def method_of(cls) -> str | None:
    """Returns the start method that the tests of a class are for, if they say so."""
    for name in ("start_method", "ctx"):
        method = getattr(cls, name, None)
        if isinstance(method, str):
            return method
    return None


if __name__ == "__main__":
    found = {name: classes(importlib.import_module(name)) for name in sys.argv[1:]}
    json.dump(found, sys.stdout)
