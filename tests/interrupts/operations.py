"""What is interrupted: each operation, and what must hold after it.

An operation is made anew for each point. What it did before the signal arrived may have
come about or not, but nothing in between: the objects go on working, or say that they
have ended.
"""

import queue
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from procession import _procession

PATIENCE = 20

OPERATIONS: dict[str, type["Operation"]] = {}


class Operation:
    """Something that is done with the objects of a context.

    Args:
        mp: The context.
    """

    # Whether it is the same under each start method.
    is_plain = False

    # Whether it starts processes; else it has the same points under each start method.
    starts = True

    def __init_subclass__(cls) -> None:
        if not cls.__name__.startswith("_"):
            OPERATIONS[cls.__name__.lower()] = cls

    def __init__(self, mp: Any) -> None:
        self.mp = mp
        self.prepare()

    def prepare(self) -> None:
        """Makes what is there before."""

    def act(self) -> None:
        """Does what is interrupted."""

    def check(self, *, interrupted: bool) -> None:
        """Finds the objects at work, or ended."""


def nothing() -> None:
    """Returns at once."""


def double(number: int) -> int:
    """Returns twice a number."""
    return 2 * number


def wait_for(event: Any) -> None:
    """Waits for an event."""
    event.wait(PATIENCE)


def initialize(value: object) -> None:
    """Takes what workers are given."""


class Value:
    """An object whose pickling, both ways, is done by code of Python."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> tuple[type["Value"], tuple[int]]:
        return Value, (self.number,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Value) and other.number == self.number

    def __hash__(self) -> int:
        return hash(self.number)


class Values:
    """Values that come one by one, and can be counted."""

    def __len__(self) -> int:
        return 5

    def __iter__(self) -> Iterator[Value]:
        for number in range(5):
            yield Value(number)


def same(value: object) -> object:
    """Returns what it is given."""
    return value


def fail(value: object) -> None:
    """Fails with what it is given."""
    raise ValueError(value)


class Start(Operation):
    """A process is started."""

    def prepare(self) -> None:
        self.event = self.mp.Event()
        self.process = self.mp.Process(target=wait_for, args=(self.event,))

    def act(self) -> None:
        self.process.start()

    def check(self, *, interrupted: bool) -> None:
        if self.process.ident is None:
            assert interrupted
            assert self.process not in self.mp.active_children()
            self.process.start()
        assert self.process in self.mp.active_children()
        assert self.process.is_alive()
        self.event.set()
        self.process.join(PATIENCE)
        assert self.process.exitcode == 0


class Join(Start):
    """A process is waited for."""

    def prepare(self) -> None:
        super().prepare()
        self.process.start()
        self.event.set()

    def act(self) -> None:
        self.process.join()
        self.process.exitcode  # noqa: B018
        self.process.close()

    def check(self, *, interrupted: bool) -> None:
        if not self.process._closed:
            assert interrupted
            self.process.join(PATIENCE)
            assert self.process.exitcode == 0


class Terminate(Start):
    """A process is ended."""

    def prepare(self) -> None:
        super().prepare()
        self.process.start()

    def act(self) -> None:
        self.process.terminate()
        self.process.join()

    def check(self, *, interrupted: bool) -> None:
        self.process.terminate()
        self.process.join(PATIENCE)
        assert self.process.exitcode == -15


class Pool(Operation):
    """A pool is made."""

    pool: Any = None

    def act(self) -> None:
        self.pool = self.mp.Pool(2, initialize, (self.mp.Lock(),))

    def check(self, *, interrupted: bool) -> None:
        if self.pool is None:
            assert interrupted
            return
        assert self.pool.map(double, [1, 2, 3]) == [2, 4, 6]
        self.pool.terminate()
        self.pool.join()


class PoolWith(Pool):
    """A pool is made, used and ended."""

    def act(self) -> None:
        with self.mp.Pool(2) as pool:
            self.pool = pool
            self.values = pool.map(double, range(5))

    def check(self, *, interrupted: bool) -> None:
        if self.pool is not None:
            self.pool.terminate()
            self.pool.join()


class Actor(Operation):
    """An actor is made, used and stopped."""

    actor: Any = None

    def act(self) -> None:
        with self.mp.Actor(list) as actor:
            self.actor = actor
            actor.append(1)
            later = actor.append.call_async(2)
            later.get()

    def check(self, *, interrupted: bool) -> None:
        if self.actor is not None:
            self.actor.terminate()
            assert not self.actor.is_alive()


class ActorAtWork(Operation):
    """An actor is used."""

    starts = False

    def prepare(self) -> None:
        self.actor = self.mp.Actor(list)
        self.actor.append(0)

    def act(self) -> None:
        self.actor.append(1)
        self.actor.call_async("append", 2).get()

    def check(self, *, interrupted: bool) -> None:
        # Each call was made, or was not; they are in their order.
        held = self.actor.copy()
        assert held == [0, 1, 2][: len(held)]
        self.actor.stop()


class _WithPool(Operation):
    """A pool is used."""

    starts = False

    def prepare(self) -> None:
        self.pool = self.mp.Pool(2)
        self.pool.map(double, range(4))

    def check(self, *, interrupted: bool) -> None:
        assert self.pool.map(double, range(9)) == list(range(0, 18, 2))
        assert self.pool.apply(double, (2,)) == 4
        # Nothing is owed to the call that was interrupted: so this comes to its end.
        self.pool.close()
        self.pool.join()


class Map(_WithPool):
    """Inputs are mapped."""

    def act(self) -> None:
        assert self.pool.map(double, range(40)) == list(range(0, 80, 2))


class MapOne(_WithPool):
    """Inputs are mapped one by one."""

    def act(self) -> None:
        assert self.pool.map(double, [1, 2, 3], chunksize=1) == [2, 4, 6]


class MapAsync(_WithPool):
    """Inputs are mapped, with a callback."""

    def act(self) -> None:
        came: list[object] = []
        result = self.pool.map_async(double, iter([1, 2, 3]), callback=came.append)
        assert result.get(PATIENCE) == [2, 4, 6]
        result.wait()
        assert came


class Starmap(_WithPool):
    """Arguments are mapped."""

    def act(self) -> None:
        assert self.pool.starmap(max, [(1, 2), (4, 3)], 2) == [2, 4]


class Apply(_WithPool):
    """A function is called."""

    def act(self) -> None:
        assert self.pool.apply(double, (2,), {}) == 4


class ApplyAsync(_WithPool):
    """A function is called, with a callback."""

    def act(self) -> None:
        came: list[object] = []
        result = self.pool.apply_async(double, (2,), callback=came.append)
        assert result.get(PATIENCE) == 4
        assert came == [4]


class Imap(_WithPool):
    """Results are taken one by one, of inputs that are there."""

    def act(self) -> None:
        assert list(self.pool.imap(double, range(9), 2)) == list(range(0, 18, 2))


class ImapUnordered(_WithPool):
    """Results are taken as they come, of inputs that come."""

    def act(self) -> None:
        inputs = (number for number in range(9))
        assert sorted(self.pool.imap_unordered(double, inputs)) == [*range(0, 18, 2)]


class MapValues(_WithPool):
    """Inputs and results are pickled by code of Python."""

    def act(self) -> None:
        values = [Value(number) for number in range(5)]
        assert self.pool.map(same, Values()) == values
        assert list(self.pool.imap(same, values)) == values
        assert self.pool.apply(same, (values,), retries=1) == values


class ApplyValue(_WithPool):
    """A task fails, and its error is pickled by code of Python."""

    def act(self) -> None:
        came: list[BaseException] = []
        result = self.pool.apply_async(fail, (Value(1),), error_callback=came.append)
        try:
            result.get(PATIENCE)
        except ValueError as error:
            assert error.args == (Value(1),)
        assert len(came) == 1


class PoolResize(_WithPool):
    """A pool grows, and shrinks."""

    starts = True

    def act(self) -> None:
        self.pool.resize(3)
        self.pool.resize(1)
        assert len(self.pool.workers()) == 1


class PoolClose(_WithPool):
    """A pool is closed and joined."""

    def act(self) -> None:
        self.pool.close()
        self.pool.join()

    def check(self, *, interrupted: bool) -> None:
        self.pool.close()
        self.pool.join()


class PoolTerminate(_WithPool):
    """A pool is ended."""

    def act(self) -> None:
        self.pool.terminate()
        self.pool.join()

    def check(self, *, interrupted: bool) -> None:
        self.pool.terminate()
        self.pool.join()


class ExecutorSubmit(Operation):
    """A call is submitted, and its result is waited for."""

    starts = False
    future: Any = None

    def prepare(self) -> None:
        from procession.futures import ProcessPoolExecutor

        self.executor = ProcessPoolExecutor(2, self.mp)
        # All its workers.
        assert list(self.executor.map(double, range(4))) == [0, 2, 4, 6]

    def act(self) -> None:
        self.future = self.executor.submit(double, 2)
        assert self.future.result() == 4

    def check(self, *, interrupted: bool) -> None:
        if self.future is not None:
            # Whatever was interrupted, it comes to an end.
            assert self.future.result(PATIENCE) == 4
        assert self.executor.submit(double, 3).result(PATIENCE) == 6
        assert list(self.executor.map(double, range(3))) == [0, 2, 4]
        self.executor.shutdown()


class ExecutorMap(ExecutorSubmit):
    """A function is mapped."""

    def act(self) -> None:
        results = self.executor.map(double, range(9), chunksize=2)
        assert list(results) == list(range(0, 18, 2))


class ExecutorCancel(ExecutorSubmit):
    """What waits for its turn is cancelled."""

    def act(self) -> None:
        futures = [self.executor.submit(double, 2) for _ in range(3)]
        for future in futures:
            future.cancel()
        assert all(future.cancelled() or future.result() == 4 for future in futures)


class ExecutorEnd(ExecutorSubmit):
    """An executor does what it has to, and ends."""

    def act(self) -> None:
        self.future = self.executor.submit(double, 2)
        self.executor.shutdown()
        assert self.future.result(0) == 4

    def check(self, *, interrupted: bool) -> None:
        self.executor.shutdown()
        if self.future is not None:
            assert self.future.result(PATIENCE) == 4


class Manager(Operation):
    """A manager is made."""

    manager: Any = None

    def act(self) -> None:
        self.manager = self.mp.Manager()

    def check(self, *, interrupted: bool) -> None:
        if self.manager is None:
            assert interrupted
            return
        assert list(self.manager.list([1, 2])) == [1, 2]
        self.manager.shutdown()


class ManagerEnd(Manager):
    """A manager is ended."""

    def prepare(self) -> None:
        self.manager = self.mp.Manager()

    def act(self) -> None:
        self.manager.shutdown()

    def check(self, *, interrupted: bool) -> None:
        self.manager.shutdown()


class _Plain(Operation):
    """What is the same under each start method."""

    is_plain = True


class Put(_Plain):
    """Items are put into a queue."""

    def prepare(self) -> None:
        self.queue = self.mp.Queue()

    def act(self) -> None:
        self.queue.put("small")
        self.queue.put(b"large" * 40_000)
        self.queue.put("bounded", True, PATIENCE)

    def check(self, *, interrupted: bool) -> None:
        found = []
        while True:
            try:
                found.append(self.queue.get(timeout=0))
            except queue.Empty:
                break
        assert found == ["small", b"large" * 40_000, "bounded"][: len(found)]
        assert interrupted or len(found) == 3
        self.queue.put(1)
        assert self.queue.get(timeout=PATIENCE) == 1
        assert self.queue.empty()


class Get(_Plain):
    """Items are got out of a queue."""

    def prepare(self) -> None:
        self.queue = self.mp.Queue()
        self.items = [1, b"large" * 40_000, [self.mp.Lock()], 2]
        for item in self.items:
            self.queue.put(item)

    def act(self) -> None:
        for _ in self.items:
            self.queue.get(True, PATIENCE)

    def check(self, *, interrupted: bool) -> None:
        self.queue.put("last")
        while self.queue.get(timeout=PATIENCE) != "last":
            assert interrupted
        assert self.queue.empty()


class Joinable(_Plain):
    """Items are put, got and done."""

    def prepare(self) -> None:
        self.queue = self.mp.JoinableQueue()

    def act(self) -> None:
        self.queue.put(1)
        self.queue.put(2)
        assert self.queue.get(timeout=PATIENCE) == 1
        self.queue.task_done()
        assert self.queue.get(timeout=PATIENCE) == 2
        self.queue.task_done()
        self.queue.join()

    def check(self, *, interrupted: bool) -> None:
        if not interrupted:
            self.queue.join()
        # An item that was put is owed, whether the call that put it returned or not.
        while not self.queue.empty():
            self.queue.get(timeout=PATIENCE)
            self.queue.task_done()
        self.queue.put(3)
        assert self.queue.get(timeout=PATIENCE) == 3
        self.queue.task_done()


class PutValue(_Plain):
    """Items are pickled by code of Python."""

    def prepare(self) -> None:
        self.queue = self.mp.Queue()
        self.here, self.there = self.mp.Pipe()

    def act(self) -> None:
        self.queue.put(Value(1))
        assert self.queue.get() == Value(1)
        self.here.send([Value(2), self.mp.Lock()])
        assert self.there.recv()[0] == Value(2)

    def check(self, *, interrupted: bool) -> None:
        while not self.queue.empty():
            assert interrupted
            self.queue.get()
        self.queue.put(Value(3))
        assert self.queue.get() == Value(3)
        while self.there.poll():
            assert interrupted
            self.there.recv()
        self.here.send(1)
        assert self.there.recv() == 1
        self.here.close()
        self.there.close()


class Simple(_Plain):
    """Items go through a simple queue."""

    def prepare(self) -> None:
        self.queue = self.mp.SimpleQueue()

    def act(self) -> None:
        self.queue.put(1)
        assert self.queue.get() == 1

    def check(self, *, interrupted: bool) -> None:
        while not self.queue.empty():
            assert interrupted
            self.queue.get()
        self.queue.put(2)
        assert self.queue.get() == 2


class Send(_Plain):
    """Messages go through a pipe."""

    def prepare(self) -> None:
        self.here, self.there = self.mp.Pipe()

    def act(self) -> None:
        self.here.send("small")
        self.here.send(b"large" * 40_000)
        assert self.there.poll(PATIENCE)
        assert self.there.recv() == "small"
        assert self.there.recv() == b"large" * 40_000
        self.there.send_bytes(b"bytes")
        assert self.here.recv_bytes() == b"bytes"

    def check(self, *, interrupted: bool) -> None:
        for end in (self.here, self.there):
            while end.poll(0):
                assert interrupted
                end.recv_bytes()
        self.here.send(1)
        assert self.there.recv() == 1
        self.there.send(2)
        assert self.here.recv() == 2
        self.here.close()
        self.there.close()


def holding(lock, call) -> None:
    """Calls a function in a `with` statement.

    From CPython 3.14 on the interpreter may call a handler between the steps of that statement,
    when the lock has been taken and is not yet sure to be released. That is its own affair, so
    native code takes the lock there.
    """
    if sys.version_info >= (3, 14):
        _procession.under_lock(lock, call)
        return
    with lock:
        call()


class Locks(_Plain):
    """Locks are taken and given back."""

    def prepare(self) -> None:
        self.locks = [
            self.mp.Lock(),
            self.mp.RLock(),
            self.mp.Semaphore(1),
            self.mp.BoundedSemaphore(1),
            self.mp.Condition(),
        ]

    def act(self) -> None:
        for lock in self.locks:
            holding(lock, nothing)

    def check(self, *, interrupted: bool) -> None:
        for lock in self.locks:
            taken: list[bool] = []

            def take(lock=lock, taken=taken) -> None:
                taken.append(lock.acquire(timeout=1))
                lock.release()

            # Another thread, as this one could take what it has.
            thread = threading.Thread(target=take)
            thread.start()
            thread.join()
            assert taken == [True]


class Wait(_Plain):
    """Conditions, events and barriers are waited for."""

    def prepare(self) -> None:
        self.condition = self.mp.Condition()
        self.event = self.mp.Event()
        self.barrier = self.mp.Barrier(1)

    def act(self) -> None:
        holding(self.condition, self.wait_for_condition)
        self.event.wait(0.001)
        self.event.set()
        self.event.wait()
        self.barrier.wait()

    def wait_for_condition(self) -> None:
        self.condition.notify_all()
        self.condition.wait(0.001)
        self.condition.wait_for(lambda: True, 1)

    def check(self, *, interrupted: bool) -> None:
        if self.barrier.broken:
            assert interrupted
            self.barrier.reset()
        assert self.barrier.wait(PATIENCE) == 0
        self.event.set()
        assert self.event.wait(PATIENCE)
        self.event.clear()
        woken: list[bool] = []

        def wait() -> None:
            with self.condition:
                woken.append(self.condition.wait(PATIENCE))

        thread = threading.Thread(target=wait)
        thread.start()
        while thread.is_alive():
            with self.condition:
                self.condition.notify_all()
            time.sleep(0.001)  # It is about to wait: nothing tells when.
        assert woken == [True]


class SharedValues(_Plain):
    """A value and an array are read and written, each time under their locks."""

    def prepare(self) -> None:
        self.value = self.mp.Value("i", 1)
        self.array = self.mp.Array("i", range(4))

    def act(self) -> None:
        self.value.value += 1
        self.array[0] = self.array[3]
        self.array[1:3] = [5, 6]
        assert self.array[:] == [3, 5, 6, 3]

    def check(self, *, interrupted: bool) -> None:
        # In another thread: this one would get a lock that it has.
        seen: list[int] = []
        thread = threading.Thread(
            target=lambda: seen.extend((self.value.value, *self.array[:]))
        )
        thread.start()
        thread.join(PATIENCE)
        assert seen and seen[0] in (1, 2)


class ThreadMap(_Plain):
    """Inputs are mapped by threads of this process."""

    def prepare(self) -> None:
        from procession.pool import ThreadPool

        self.pool = ThreadPool(2)

    def act(self) -> None:
        assert self.pool.map(double, range(9)) == list(range(0, 18, 2))

    def check(self, *, interrupted: bool) -> None:
        assert self.pool.map(double, range(3)) == [0, 2, 4]
        self.pool.terminate()
        self.pool.join()


class Several(_Plain):
    """Several things are waited for at once."""

    def prepare(self) -> None:
        self.here, self.there = self.mp.Pipe()
        self.there.send(1)
        self.queue = self.mp.SimpleQueue()

    def act(self) -> None:
        from procession.connection import wait

        assert wait([self.here, self.queue._reader], PATIENCE) == [self.here]

    def check(self, *, interrupted: bool) -> None:
        from procession.connection import wait

        self.queue.put(1)
        assert wait([self.queue._reader], PATIENCE)
        assert self.queue.get() == 1
        assert self.here.recv() == 1
        self.here.close()
        self.there.close()
