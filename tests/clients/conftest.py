"""What the tests of real programs share: a package to run, or a reason to skip."""

from importlib.util import find_spec

import pytest


@pytest.fixture(autouse=True)
def package(request):
    """Skips the tests of a module whose `PACKAGE` is not installed."""
    name = getattr(request.module, "PACKAGE", None)
    if name is not None and find_spec(name) is None:
        pytest.skip(f"{name} is not installed: pip install --group clients")


@pytest.fixture
def prints(program):
    """Returns a function that runs a program, which must succeed, and what it prints."""

    def prints(text: str, *arguments: str) -> list[str]:
        code, out, err = program(text, *arguments)
        assert (code, err) == (0, ""), err
        return out.splitlines()

    return prints
