"""What the function of a process returns comes home as it was."""

import math
import signal

import pytest
from library import PATIENCE
from targets import calls

pytestmark = pytest.mark.procession_only("it throws away what the function returns")


@pytest.mark.parametrize(
    "value",
    [
        True,
        False,
        0,
        -1,
        2**31 - 1,
        -(2**31),
        2**31,
        -(2**31) - 1,
        10**30,
        0.1,
        -0.0,
        math.inf,
        "text",
        signal.SIGTERM,  # A number, of a class that pickles itself otherwise.
        (True, 1),
    ],
    ids=repr,
)
def test_result_has_its_type_and_value(start, value) -> None:
    result = start(calls.same, value).result(PATIENCE)
    assert type(result) is type(value)
    assert repr(result) == repr(value)
