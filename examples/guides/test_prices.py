"""Tests of a program that uses processes, for pytest."""

import os

import procession
import pytest


def price_with_tax(price: int) -> float:
    if price < 0:
        raise ValueError(f"no price: {price}")
    return price * 1.25


@pytest.fixture(params=["fork", "spawn", "forkserver"])
def pool(request):
    """Gives each test a pool of its own, under each start method; no worker outlives the test."""
    with procession.get_context(request.param).Pool(2) as pool:
        yield pool


def test_prices(pool) -> None:
    assert pool.map(price_with_tax, [4, 8]) == [5.0, 10.0]


def test_error_of_a_worker_is_the_error_of_the_call(pool) -> None:
    with pytest.raises(ValueError, match="no price: -1"):
        pool.map(price_with_tax, [4, -1])


def test_crash_of_a_worker_is_told(pool) -> None:
    with pytest.raises(procession.WorkerDied) as caught:
        pool.apply(os._exit, (7,))
    assert caught.value.exitcode == 7
    assert pool.apply(price_with_tax, (4,)) == 5.0
