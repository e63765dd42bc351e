"""Scenarios in which two processes act in turn."""

from multiprocessing.context import BaseContext
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Condition, Event
from time import perf_counter

ROUND_TRIPS = 5_000
WARM = 100


def event_pingpong(context: BaseContext) -> float:
    """Returns the seconds of a turn of each: one sets an event, the other answers by a second one."""
    ping, pong = context.Event(), context.Event()
    child = context.Process(target=_answer_events, args=(ping, pong))
    child.start()
    _events(ping, pong, WARM)
    begin = perf_counter()
    _events(ping, pong, ROUND_TRIPS)
    seconds = perf_counter() - begin
    child.join()
    assert child.exitcode == 0
    return seconds / ROUND_TRIPS


def condition_pingpong(context: BaseContext) -> float:
    """Returns the seconds of a turn of each: whose turn it is, is a number behind a condition."""
    condition, turn = context.Condition(), context.Value("i", 0, lock=False)
    child = context.Process(
        target=_take_turns, args=(condition, turn, 1, WARM + ROUND_TRIPS)
    )
    child.start()
    _take_turns(condition, turn, 0, WARM)
    begin = perf_counter()
    _take_turns(condition, turn, 0, ROUND_TRIPS)
    with condition:
        condition.wait_for(lambda: turn.value == 0)
    seconds = perf_counter() - begin
    child.join()
    assert child.exitcode == 0
    return seconds / ROUND_TRIPS


def _events(ping: Event, pong: Event, times: int) -> None:
    for _ in range(times):
        ping.set()
        pong.wait()
        pong.clear()


def _answer_events(ping: Event, pong: Event) -> None:
    for _ in range(WARM + ROUND_TRIPS):
        ping.wait()
        ping.clear()
        pong.set()


def _take_turns(
    condition: Condition, turn: "Synchronized[int]", mine: int, times: int
) -> None:
    for _ in range(times):
        with condition:
            while turn.value != mine:
                condition.wait()
            turn.value = 1 - mine
            condition.notify()
