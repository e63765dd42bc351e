"""Handlers of signals that raise: at some of the points where they may, in each operation.

`make interrupts` tries them all.
"""

import sys
from pathlib import Path

import library
import pytest

sys.path.insert(0, str(Path(__file__).parent / "interrupts"))

from operations import OPERATIONS
from runner import faults, faults_at_exit

# How many points of each operation are tried here.
MOST = 10

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(library.name != "procession", reason="multiprocessing fails"),
]


NOT_PLAIN = {name: kind for name, kind in OPERATIONS.items() if not kind.is_plain}


@pytest.mark.parametrize("name", [n for n, o in NOT_PLAIN.items() if o.starts])
def test_interrupted_operation_is_done_or_undone(method, name) -> None:
    tried, wrong = faults(method, name, MOST)
    assert wrong == []
    assert tried > 0


@pytest.mark.parametrize("name", [n for n, o in NOT_PLAIN.items() if not o.starts])
def test_interrupted_operation_that_starts_nobody_is_done_or_undone(name) -> None:
    # Three times as many as under each method, where they would be the same ones.
    tried, wrong = faults("fork", name, 3 * MOST)
    assert wrong == []
    assert tried > 0


@pytest.mark.parametrize("name", [n for n, o in OPERATIONS.items() if o.is_plain])
def test_interrupted_object_goes_on_working(name) -> None:
    tried, wrong = faults("fork", name, MOST)
    assert wrong == []
    assert tried > 0


def test_interrupted_end_of_a_program_is_an_end(method) -> None:
    tried, wrong = faults_at_exit(method, MOST)
    assert wrong == []
    assert tried > 0
