"""Functions that run in children.

They stand apart from the tests so that a child that imports them under spawn or
forkserver need not import pytest.
"""
