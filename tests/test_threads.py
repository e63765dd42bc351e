"""Eight threads of one process at each object: nothing is lost, and nobody holds what is another's.

With a GIL they take turns as often as it can be made to; without one they are at it at
the same time.
"""

import os
import sys
import threading
from itertools import chain

import pytest
from library import PATIENCE, load
from targets import calls

pytestmark = pytest.mark.slow

THREADS = 8
ROUNDS = 200


@pytest.fixture(autouse=True)
def turns():
    """Has threads take turns after a few microseconds, not milliseconds."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def at_once(function, *, rounds: int = ROUNDS) -> list:
    """Calls a function in eight threads, with the number of the thread and of the round."""
    ready = threading.Barrier(THREADS)
    results: list[list] = [[] for _ in range(THREADS)]
    errors: list[BaseException] = []

    def work(thread: int) -> None:
        try:
            ready.wait(PATIENCE)
            for number in range(rounds):
                results[thread].append(function(thread, number))
        except BaseException as error:
            errors.append(error)

    # Not those of an executor, whose end a forked child of 3.11 cannot tell from its own.
    threads = [threading.Thread(target=work, args=(i,)) for i in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return list(chain.from_iterable(results))


class Counter:
    """Loses count if two threads are at it at the same time."""

    def __init__(self) -> None:
        self.value = self.inside = 0

    def count(self) -> None:
        self.inside += 1
        assert self.inside == 1
        value = self.value
        os.sched_yield()
        self.value = value + 1
        self.inside -= 1


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore", "BoundedSemaphore"])
def test_locks_exclude_threads(mp, kind) -> None:
    lock, counter = getattr(mp, kind)(), Counter()

    def take(thread, number) -> None:
        if number % 2:
            with lock:
                counter.count()
        else:
            assert lock.acquire(timeout=PATIENCE)
            counter.count()
            lock.release()

    at_once(take)
    assert counter.value == THREADS * ROUNDS
    assert lock._semlock._count() == 0
    assert lock._semlock._get_value() == 1


def test_lock_taken_again_belongs_to_one_thread_however_often(mp) -> None:
    lock, counter = mp.RLock(), Counter()

    def take(thread, number) -> None:
        with lock:
            for _ in range(number % 3):
                lock.acquire()
            assert lock._semlock._is_mine()
            counter.count()
            for _ in range(number % 3):
                lock.release()

    at_once(take)
    assert counter.value == THREADS * ROUNDS


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_condition_excludes_threads_and_wakes_each(mp, kind) -> None:
    condition, counter, turn = mp.Condition(getattr(mp, kind)()), Counter(), [0]

    def take_turn(thread, number) -> None:
        with condition:
            assert condition.wait_for(lambda: turn[0] % THREADS == thread, PATIENCE)
            counter.count()
            turn[0] += 1
            condition.notify_all()

    at_once(take_turn, rounds=50)
    assert counter.value == turn[0] == THREADS * 50


def test_condition_whose_lock_is_contended_is_never_said_not_to_be_owned(mp) -> None:
    condition, counter = mp.Condition(mp.Lock()), Counter()

    def use(thread, number) -> None:
        with condition:
            counter.count()
            condition.notify()
            if number % 10 == 0:
                condition.wait(0.0001)

    at_once(use)
    assert counter.value == THREADS * ROUNDS


def test_semaphore_lets_in_as_many_threads_as_it_has_permits(mp) -> None:
    semaphore, inside = mp.BoundedSemaphore(3), []

    def enter(thread, number) -> None:
        with semaphore:
            inside.append(thread)
            assert len(inside) <= 3
            os.sched_yield()
            inside.remove(thread)

    at_once(enter)
    assert semaphore._semlock._count() == 0
    assert semaphore.get_value() == 3


def test_barrier_lets_threads_go_together(mp) -> None:
    barrier, passed = mp.Barrier(THREADS), []

    def meet(thread, number) -> int:
        passed.append(number)
        index = barrier.wait(PATIENCE)
        assert passed.count(number) == THREADS
        return index

    assert sorted(at_once(meet, rounds=30)) == sorted(list(range(THREADS)) * 30)


@pytest.mark.procession_only("waiting for events and queues")
def test_event_is_heard_by_all_threads(mp) -> None:
    events = [mp.Event() for _ in range(20)]
    set_by = []

    def hear(thread, number) -> None:
        if number % THREADS == thread:
            set_by.append(thread)
            events[number].set()
        assert events[number].wait(PATIENCE)
        assert load("connection").wait([events[number]], PATIENCE)

    at_once(hear, rounds=20)
    assert len(set_by) == 20


@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue", "SimpleQueue"])
def test_queue_loses_and_doubles_nothing(mp, kind) -> None:
    queue = getattr(mp, kind)()
    joinable = hasattr(queue, "task_done")

    def pass_on(thread, number):
        queue.put((thread, number, b"x" * (number % 7 * 700)))
        got = queue.get()
        if joinable:
            queue.task_done()
        return got[:2]

    got = at_once(pass_on)
    assert sorted(got) == [(t, n) for t in range(THREADS) for n in range(ROUNDS)]
    assert queue.empty()
    if joinable:
        queue.join()


@pytest.mark.procession_only("waiting for events and queues")
def test_queue_with_little_room_is_waited_for_by_all(mp) -> None:
    queue = mp.Queue(2)

    def pass_on(thread, number):
        if thread % 2:
            queue.put((thread, number), timeout=PATIENCE)
            return None
        assert load("connection").wait([queue], PATIENCE) == [queue]
        return queue.get(timeout=PATIENCE)

    got = [item for item in at_once(pass_on) if item is not None]
    assert sorted(got) == [(t, n) for t in range(1, THREADS, 2) for n in range(ROUNDS)]


def test_pipes_of_threads_do_not_mix(mp) -> None:
    pipes = [mp.Pipe() for _ in range(THREADS)]

    def send_to_self(thread, number) -> None:
        left, right = pipes[thread]
        item = (thread, number, bytes(number % 5 * 40_000))
        left.send(item)
        assert right.recv() == item

    at_once(send_to_self, rounds=50)
    for end in chain.from_iterable(pipes):
        end.close()


def test_shared_values_count_what_threads_add(mp) -> None:
    value, array = mp.Value("q", 0), mp.Array("i", THREADS)

    def add(thread, number) -> None:
        with value:
            value.value += 1
        array[thread] += 1
        mp.RawArray("b", 100)[number % 100] = 1

    at_once(add)
    assert value.value == THREADS * ROUNDS
    assert array[:] == [ROUNDS] * THREADS


def test_pool_serves_threads_in_every_way(mp) -> None:
    with mp.Pool(2) as pool:

        def call(thread, number) -> None:
            items = range(number, number + 5)
            assert pool.map(abs, items) == list(items)
            assert pool.apply(abs, (-number,)) == number
            assert list(pool.imap(abs, items, 2)) == list(items)
            assert sorted(pool.imap_unordered(abs, items)) == list(items)
            called = []
            result = pool.map_async(abs, items, callback=called.extend)
            assert result.get(PATIENCE) == called == list(items)

        at_once(call, rounds=10)
        pool.close()
        pool.join()


def test_thread_pool_and_its_results_are_shared_by_threads(lib) -> None:
    with load("pool").ThreadPool(3) as pool:
        shared = pool.imap_unordered(abs, range(THREADS * 25))

        def fetch(thread, number) -> int:
            assert pool.map(abs, range(-5, 0)) == [5, 4, 3, 2, 1]
            return next(shared)

        assert sorted(at_once(fetch, rounds=25)) == list(range(THREADS * 25))


@pytest.mark.procession_only("results of processes")
def test_threads_start_processes_and_all_hear_how_one_ended(lib, mp) -> None:
    def start(thread, number) -> None:
        process = mp.Process(target=calls.nothing)
        process.start()
        lib.active_children()
        process.join(PATIENCE)
        assert process.exitcode == 0
        process.close()

    at_once(start, rounds=3)
    process = mp.Process(target=calls.same, args=(49,))
    process.start()
    assert at_once(lambda *_: process.result(PATIENCE), rounds=1) == [49] * THREADS
    process.close()


def test_manager_answers_threads(mp) -> None:
    with mp.Manager() as manager:
        shared, lock, queue = manager.dict(count=0), manager.Lock(), manager.Queue()

        def use(thread, number) -> None:
            with lock:
                shared["count"] += 1
            shared[thread] = number
            queue.put(thread)

        at_once(use, rounds=20)
        assert shared["count"] == THREADS * 20
        assert queue.qsize() == THREADS * 20
        assert {shared[thread] for thread in range(THREADS)} == {19}


def test_shared_memory_of_threads_has_its_own_name(lib) -> None:
    shared_memory = load("shared_memory")

    def make(thread, number) -> None:
        block = shared_memory.SharedMemory(create=True, size=4096)
        block.buf[0] = thread
        again = shared_memory.SharedMemory(block.name)
        assert again.buf[0] == thread
        again.close()
        block.close()
        block.unlink()

    at_once(make, rounds=20)


def test_finalizers_and_after_forkers_of_threads_are_called_once(lib) -> None:
    util, called = load("util"), []

    def finalize(thread, number) -> None:
        finalizer = util.Finalize(
            None, called.append, ((thread, number),), exitpriority=1
        )
        util.register_after_fork(finalizer, lambda _: None)
        finalizer()
        finalizer()

    at_once(finalize)
    assert sorted(called) == [(t, n) for t in range(THREADS) for n in range(ROUNDS)]


@pytest.mark.skipif(
    getattr(sys, "_is_gil_enabled", lambda: True)(),
    reason="this interpreter has a GIL, and it is on",
)
def test_module_leaves_the_gil_off(lib) -> None:
    assert not sys._is_gil_enabled()  # type: ignore[attr-defined]


@pytest.mark.procession_only("an executor of its own")
def test_executor_gets_its_workers_from_whichever_thread_comes_first(mp) -> None:
    ours = load("futures")
    if mp.get_start_method() == "fork":
        pytest.skip("all workers are started with the first task")
    for _ in range(5):
        with ours.ProcessPoolExecutor(THREADS, mp) as executor:

            def call(thread, number, executor=executor):
                return executor.submit(calls.same, (thread, number)).result(PATIENCE)

            got = at_once(call, rounds=5)
        assert sorted(got) == [(t, n) for t in range(THREADS) for n in range(5)]


@pytest.mark.procession_only("it resizes pools")
def test_pool_is_resized_while_others_use_it(mp) -> None:
    with mp.Pool(2) as pool:

        def work(thread, number):
            if thread == 0:
                pool.resize(1 + number % 4)
            return pool.apply(calls.same, ((thread, number),))

        got = at_once(work, rounds=20)
        assert sorted(got) == [(t, n) for t in range(THREADS) for n in range(20)]
        pool.close()
        pool.join()
