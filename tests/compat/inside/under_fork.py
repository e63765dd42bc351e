"""The interpreter's own tests of `multiprocessing`, under the start method fork.

A module of its own, because children that are not forked import it by its name.
"""

from test import _test_multiprocessing as _tests

# What the fork server imports ahead: this module, where CPython has its own.
_tests.PRELOAD[:] = ["__main__", __name__]
_tests.install_tests_in_module_dict(globals(), "fork")
