"""Tests of what tasks share with the program, for every engine: a part of `BackendTests`."""

from __future__ import annotations

import asyncio
import ctypes
import os
import queue
import threading

import pytest

import procession
from procession._test_needs import PATIENCE, needs, wait_until
from procession._test_tasks import (
    Parcel,
    Size,
    add_to,
    come,
    die_with_items,
    fill_managed,
    get_and_note,
    hold,
    kill_itself_in_the_action,
    kill_the_node_with,
    mark,
    move_items,
    notify,
    put_and_wait_for,
    square,
    wait_at,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["SharingTests"]


class SharingTests:
    """Tests of locks, queues and values, whatever machines use them."""

    @needs("shared")
    def test_items_cross_between_program_and_tasks(self, context: Any) -> None:
        items, moved, go = (
            context.JoinableQueue(),
            context.SimpleQueue(),
            context.Event(),
        )
        with context.Pool(2) as pool:
            counts = [pool.apply_async(move_items, (items, moved)) for _ in range(2)]
            for number in range(40):
                items.put({"number": number})
            for _ in range(2):
                items.put(None)
            items.join(PATIENCE)
            assert sum(count.get(PATIENCE) for count in counts) == 40
            found = [moved.get()["number"] for _ in range(40)]
            assert sorted(found) == [*range(40)] and moved.empty()
            told = pool.apply_async(put_and_wait_for, (moved, "first", go))
            assert moved.get() == "first"
            go.set()
            assert told.get(PATIENCE) is True

    @needs("shared")
    def test_queue_keeps_order_and_bounds(self, context: Any) -> None:
        items = context.Queue(2)
        items.put(1)
        items.put_nowait(2)
        assert items.full() and items.qsize() == 2
        with pytest.raises(queue.Full):
            items.put(3, timeout=0.01)
        with pytest.raises(queue.Full):
            items.put_nowait(3)
        adder = threading.Thread(target=items.put, args=(3,))
        adder.start()  # It waits for room.
        assert [items.get(timeout=PATIENCE) for _ in range(3)] == [1, 2, 3]
        adder.join()
        with pytest.raises(queue.Empty):
            items.get(timeout=0.01)
        with pytest.raises(queue.Empty):
            items.get_nowait()
        many = context.Queue()
        many.put_many("abc")
        assert many.get_many(0) == []
        assert many.get_many(2) == ["a", "b"]
        many.shutdown()
        assert [*many] == ["c"]
        with pytest.raises(procession.queues.ShutDown):
            many.put(1)
        jobs = context.JoinableQueue()
        jobs.put(1)
        with pytest.raises(procession.TimeoutError, match="1 unfinished"):
            jobs.join(timeout=0.01)
        jobs.task_done()
        jobs.join(PATIENCE)
        with pytest.raises(ValueError, match="too many times"):
            jobs.task_done()

    @needs("shared", "cancel")
    def test_item_does_not_go_to_the_dead(self, context: Any) -> None:
        items, waits = context.Queue(), context.Event()
        with context.Pool(1) as pool:
            doomed = pool.apply_async(get_and_note, (items, waits))
            assert waits.wait(PATIENCE)
            assert doomed.cancel(kill=True)
            with pytest.raises(procession.CancelledError):
                doomed.get(PATIENCE)
            assert pool.apply(square, (3,)) == 9
            items.put("safe")
            assert items.get(timeout=PATIENCE) == "safe"

    @needs("shared")
    def test_items_that_nobody_has_got_outlive_a_death(self, context: Any) -> None:
        items = context.Queue()
        items.put_many(range(10))
        with context.Pool(1) as pool, pytest.raises(procession.WorkerDied):
            pool.apply(die_with_items, (items, 3))
        assert [items.get(timeout=PATIENCE) for _ in range(7)] == [*range(3, 10)]
        assert items.empty()

    @needs("shared", "cancel")
    @pytest.mark.parametrize("kind", ["Lock", "RLock"])
    def test_one_is_told_that_the_holder_of_a_lock_died(
        self, context: Any, kind: str
    ) -> None:
        lock, held = getattr(context, kind)(), context.Event()
        with context.Pool(1) as pool:
            holder = pool.apply_async(hold, (lock, held))
            assert held.wait(PATIENCE)
            assert not lock.acquire(timeout=0.01) and not lock.acquire(False)
            outcomes: list[object] = []

            def take() -> None:
                try:
                    outcomes.append(lock.acquire(timeout=PATIENCE))
                    lock.release()
                except procession.OwnerDied:
                    outcomes.append("died")

            threads = [threading.Thread(target=take) for _ in range(3)]
            for thread in threads:
                thread.start()
            assert holder.cancel(kill=True)
            for thread in threads:
                thread.join()
            assert sorted(map(str, outcomes)) == ["True", "True", "died"]
            assert lock.acquire(timeout=PATIENCE)
            lock.release()

    @needs("shared", "nodes")
    def test_lock_of_a_lost_node_is_free_and_one_is_told(self, context: Any) -> None:
        from procession.distributed import NodeLost

        lock = context.Lock()
        with context.Pool(1) as pool:
            with pytest.raises(NodeLost):
                pool.apply(kill_the_node_with, (lock,))
            with pytest.raises(procession.OwnerDied):
                lock.acquire(timeout=PATIENCE)
        assert lock.acquire(timeout=PATIENCE)

    @needs("shared")
    def test_what_is_shared_can_be_awaited(self, context: Any) -> None:
        items, moved = context.JoinableQueue(), context.SimpleQueue()
        lock, go = context.Lock(), context.Event()

        async def main(pool: Any) -> None:
            count = pool.apply_async(move_items, (items, moved))
            for number in range(5):
                async with lock:
                    await items.put_async(number)
            await items.put_async(None)
            await items.join_async()
            assert await count == 5
            assert sorted([await moved.get_async() for _ in range(5)]) == [*range(5)]
            told = pool.apply_async(put_and_wait_for, (moved, "first", go))
            assert await moved.get_async() == "first"
            go.set()
            assert await told is True
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(moved.get_async(), 0.05)
            moved.put("not lost")
            assert await moved.get_async() == "not lost"

        with context.Pool(1) as pool:
            asyncio.run(main(pool))

    @needs("shared", "cancel")
    def test_permits_of_the_dead_come_back(self, context: Any) -> None:
        seats, held = context.BoundedSemaphore(2), context.Event()
        with context.Pool(1) as pool:
            holder = pool.apply_async(hold, (seats, held))
            assert held.wait(PATIENCE)
            assert seats.acquire(timeout=PATIENCE) and not seats.acquire(False)
            assert holder.cancel(kill=True)
            assert seats.acquire(timeout=PATIENCE)
        seats.release()
        seats.release()
        with pytest.raises(ValueError, match="too many times"):
            seats.release()

    @needs("shared")
    def test_locks_are_for_one_at_a_time(self, context: Any) -> None:
        total, row = context.Value("i", 5), context.Array("d", [0, 0])
        with context.Pool(2) as pool:
            pool.starmap(add_to, [(total, row, 50)] * 4, chunksize=1)
        assert total.value == 205
        assert row[:] == [200, 200] and len(row) == 2
        tree = context.RLock()
        assert tree.acquire() and tree.acquire(False)
        tree.release()
        tree.release()
        with pytest.raises(AssertionError):
            tree.release()
        with pytest.raises(ValueError, match="too many times"):
            context.Lock().release()

    @needs("shared")
    def test_values_and_arrays_are_those_of_ctypes(self, context: Any) -> None:
        letters, numbers = context.Array("c", b"carriage"), context.Array("i", 4)
        assert (letters.value, letters.raw, letters[0]) == (
            b"carriage",
            b"carriage",
            b"c",
        )
        letters.value = b"cab"
        assert letters.value == b"cab" and letters.raw == b"cab\0iage"
        numbers[1:3] = [7, 8]
        numbers[-1] = 9
        assert numbers[:] == [0, 7, 8, 9] and [*numbers] == numbers[:]
        with pytest.raises(IndexError):
            numbers[4]
        with pytest.raises(TypeError):
            numbers[0] = "text"
        with pytest.raises(TypeError, match="bad typecode"):
            context.Value("?")
        unguarded = context.Value("d", 1.5, lock=False)
        unguarded.value *= 2
        assert unguarded.value == 3.0

    @needs("shared")
    def test_structures_are_shared_alone_and_in_arrays(self, context: Any) -> None:
        one = context.Value(Parcel, 7, b"Oslo", (b"i", (1.5, 2.5)))
        several = context.Array(Parcel, [(1, b"Bern"), (2, b"Riga")])
        with context.Pool(1) as pool:
            pool.apply(mark, (one, several))
        assert (one.number, one.to) == (8, b"Rome")
        assert (one.size.unit, [*one.size.sides]) == (b"i", [1.5, 5.0])
        assert [each.number for each in several] == [11, 12]
        assert [each.size.unit for each in several[:]] == [b"m", b"m"]
        one.size = Size(b"f", (3, 4))
        several[-1] = Parcel(5, b"Kyiv")
        assert [*one.size.sides] == [3, 4] and len(one.size.sides) == 2
        assert (several[1].to, several[1].size.sides[-1]) == (b"Kyiv", 0)
        with pytest.raises(IndexError):
            one.size.sides[2]
        with pytest.raises(AttributeError):
            _ = one.size.colour
        with pytest.raises(TypeError):
            one.number = "seven"

    @needs("shared", "cancel")
    def test_notifications_pass_over_the_dead(self, context: Any) -> None:
        changed, shelf = context.Condition(), context.Queue()
        with context.Pool(2) as pool:
            doomed = pool.apply_async(wait_at, (changed, shelf))
            shelf.get(timeout=PATIENCE)
            with changed:  # So it waits by now.
                pass
            living = pool.apply_async(wait_at, (changed, shelf))
            shelf.get(timeout=PATIENCE)
            with changed:
                assert changed.wait(0.01) is False
            assert doomed.cancel(kill=True)
            with pytest.raises(procession.CancelledError):
                doomed.get(PATIENCE)
            # Until the death is noticed, the notification is for the waiter behind the
            # dead one.
            pool.apply(notify, (changed,))
            assert living.get(PATIENCE) is True
            with pytest.raises(AssertionError):
                changed.notify()

    @needs("shared")
    def test_all_meet_at_a_barrier(self, context: Any) -> None:
        meeting = context.Barrier(3)
        with context.Pool(2) as pool:
            others = [pool.apply_async(come, (meeting,)) for _ in range(2)]
            places = [meeting.wait(PATIENCE), *(each.get(PATIENCE) for each in others)]
        assert sorted(places) == [0, 1, 2] and meeting.n_waiting == 0
        with pytest.raises(threading.BrokenBarrierError):
            meeting.wait(0.01)
        assert meeting.broken
        meeting.reset()
        assert not meeting.broken and meeting.parties == 3

    @needs("shared")
    def test_barrier_breaks_when_its_action_kills(self, context: Any) -> None:
        meeting = context.Barrier(2, kill_itself_in_the_action)
        broken: list[bool] = []

        def meet() -> None:
            try:
                meeting.wait(PATIENCE)
            except threading.BrokenBarrierError:
                broken.append(True)

        first = threading.Thread(target=meet)
        first.start()
        wait_until(lambda: meeting.n_waiting)
        with context.Pool(1) as pool, pytest.raises(procession.WorkerDied):
            pool.apply(come, (meeting,))
        first.join()
        assert broken == [True]

    @needs("shared")
    def test_objects_of_a_manager_are_reached_by_tasks(self, context: Any) -> None:
        with context.Manager() as manager, context.Pool(1) as pool:
            numbers, inner = manager.dict(), manager.list([manager.list([1, 2])])
            assert pool.apply(fill_managed, (numbers, inner)) == 2
            assert inner[0].copy() == [1, 2, 3]
            assert numbers["node"] != os.getpid()

    @needs("shared", "nodes")
    def test_what_cannot_be_kept_is_refused_at_the_call(self, context: Any) -> None:
        here = procession.get_context("spawn")
        items = context.Queue()
        with pytest.raises(TypeError, match="of this machine"):
            items.put(here.Lock())
        wrongs: list[Callable[[], object]] = [
            lambda: context.Condition(here.Lock()),
            lambda: context.Value("i", lock=here.Lock()),
            lambda: context.Queue("two"),
            lambda: context.Semaphore("two"),
            lambda: items.get(timeout="soon"),
            lambda: context.Barrier(2, "action"),
            lambda: context.Value(ctypes.c_char_p),
            lambda: context.Array(ctypes.POINTER(ctypes.c_int), 3),
        ]
        for wrong in wrongs:
            with pytest.raises(TypeError):
                wrong()
        bads: list[Callable[[], object]] = [
            lambda: context.Semaphore(-1),
            lambda: context.Barrier(0),
            lambda: items.get(timeout=float("nan")),
            lambda: context.Array("i", -1),
        ]
        for bad in bads:
            with pytest.raises(ValueError):
                bad()
        with pytest.raises(NotImplementedError, match=r"\[:\]"):
            context.Array("i", 3).get_obj()
        assert items.empty()
