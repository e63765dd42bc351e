"""Who dies at any moment takes nobody with him: an error or a clean end, never a hang.

`multiprocessing` promises none of this.

Size: one test for each thing that somebody may die with in his hands.
"""

import gc
import os
import pickle
import queue as threads_queue
import select
import signal
import threading
import time

import leftovers
import pytest
import script
from library import MOMENT, PATIENCE, comes_below
from targets import death as targets
from targets import pool as pool_targets
from targets import synchronize

pytestmark = pytest.mark.procession_only("whoever waits for the dead waits for ever")


def kill(process) -> None:
    """Kills a process, and waits until it is dead."""
    process.kill()
    process.join(PATIENCE)
    assert process.exitcode == -signal.SIGKILL


# A worker of a pool.


@pytest.mark.parametrize(
    "signum", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGUSR2]
)
def test_task_of_a_killed_worker_fails_with_who_died_and_of_what(
    lib, mp, signum
) -> None:
    pid = mp.RawValue("i", 0)
    with mp.Pool(2, pool_targets.initialize, (pid,)) as pool:
        result = pool.apply_async(targets.note_pid_and_die, (signum,))
        with pytest.raises(lib.WorkerDied) as caught:
            result.get(PATIENCE)
    died = caught.value
    name = signal.Signals(signum).name
    assert (died.pid, died.exitcode, died.signal) == (pid.value, -signum, name)
    assert (died.task, died.tries) == ("targets.death.note_pid_and_die", 1)
    assert str(died) == (
        f"worker process {pid.value} was killed by {name} while it ran {died.task}"
    )


@pytest.mark.slow
def test_who_waits_is_told_of_a_death_within_ten_milliseconds(lib, mp) -> None:
    moment = mp.RawValue("d", 0)
    with mp.Pool(1, pool_targets.initialize, (moment,)) as pool:

        def delay() -> float:
            with pytest.raises(lib.WorkerDied):
                pool.apply_async(targets.note_time_and_die).get(PATIENCE)
            return time.monotonic() - moment.value

        assert comes_below(delay, 0.010)


@pytest.mark.slow
def test_pool_whose_workers_are_busy_is_terminated_within_50_milliseconds(mp) -> None:
    def delay() -> float:
        started = mp.Semaphore(0)
        with mp.Pool(2, pool_targets.initialize, (started,)) as pool:
            pool.map_async(targets.work_for_ever, range(2), 1)
            for _ in range(2):
                assert started.acquire(timeout=PATIENCE)
            before = time.monotonic()
            pool.terminate()
            return time.monotonic() - before

    assert comes_below(delay, 0.050)


def test_task_that_exits_fails_with_the_exit_code(lib, mp) -> None:
    with mp.Pool(1) as pool:
        with pytest.raises(lib.WorkerDied) as caught:
            pool.apply_async(os._exit, (3,)).get(PATIENCE)
        assert (caught.value.exitcode, caught.value.signal) == (3, None)
        assert pool.apply(pool_targets.square, (3,)) == 9


def test_only_the_task_that_ran_on_the_dead_worker_fails(lib, mp) -> None:
    with mp.Pool(2) as pool:
        results = [
            pool.apply_async(targets.die_if, (number, 20)) for number in range(60)
        ]
        for number, result in enumerate(results):
            if number == 20:
                with pytest.raises(lib.WorkerDied):
                    result.get(PATIENCE)
            else:
                assert result.get(PATIENCE) == number * number


def test_tasks_queued_on_a_dead_worker_run_on_its_successor(lib, mp) -> None:
    started, never = mp.Semaphore(0), mp.Event()
    with mp.Pool(1, pool_targets.initialize, (started, never)) as pool:
        pid = pool.apply(pool_targets.pid)
        blocked = pool.apply_async(pool_targets.wait_for_given)
        queued = [pool.apply_async(pool_targets.pid) for _ in range(10)]
        assert started.acquire(timeout=PATIENCE)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(lib.WorkerDied):
            blocked.get(PATIENCE)
        assert pid not in {result.get(PATIENCE) for result in queued}


def test_worker_that_dies_idle_costs_no_task(mp) -> None:
    with mp.Pool(1) as pool:
        for _ in range(3):
            pid = pool.apply(pool_targets.pid)
            os.kill(pid, signal.SIGKILL)
            assert pool.apply_async(pool_targets.pid).get(PATIENCE) != pid


@pytest.mark.parametrize("chunksize", [1, 5, None])
def test_map_with_a_dying_task_fails_and_the_next_one_does_not(
    lib, mp, chunksize
) -> None:
    with mp.Pool(2) as pool:
        deadly = [(number, 7) for number in range(20)]
        with pytest.raises(lib.WorkerDied):
            pool.starmap_async(targets.die_if, deadly, chunksize).get(PATIENCE)
        harmless = pool.map_async(pool_targets.square, range(20), chunksize)
        assert harmless.get(PATIENCE) == [number * number for number in range(20)]


def test_imap_tells_of_a_death_in_its_place_and_goes_on(lib, mp) -> None:
    with mp.Pool(2) as pool:
        results = pool.imap(targets.die, [])
        assert list(results) == []
        results = pool.imap(pool_targets.square, range(3))
        assert [results.next(PATIENCE) for _ in range(3)] == [0, 1, 4]
        results = pool.imap(os._exit, [4, 5])
        for code in (4, 5):
            with pytest.raises(lib.WorkerDied) as caught:
                results.next(PATIENCE)
            assert caught.value.exitcode == code
        with pytest.raises(StopIteration):
            results.next(PATIENCE)


def test_error_callback_is_told_of_a_death(lib, mp) -> None:
    told = threads_queue.Queue()
    with mp.Pool(1) as pool:
        pool.apply_async(targets.die, error_callback=told.put)
        assert isinstance(told.get(timeout=PATIENCE), lib.WorkerDied)


def test_pool_whose_workers_all_die_at_once_goes_on(mp) -> None:
    with mp.Pool(2, pool_targets.initialize, (mp.Barrier(2), None)) as pool:
        workers = pool.map(pool_targets.initialized_number, range(2), chunksize=1)
        results = [pool.apply_async(pool_targets.square, (n,)) for n in range(100)]
        for pid, _ in workers:
            os.kill(pid, signal.SIGKILL)
        more = pool.map_async(pool_targets.square, range(10))
        for result in results:
            result.wait(PATIENCE)
            assert result.ready()
        more.wait(PATIENCE)
        assert more.ready()
        last = pool.map_async(pool_targets.square, range(10))
        assert last.get(PATIENCE) == [n * n for n in range(10)]


@pytest.mark.parametrize("end", ["close", "terminate"])
def test_pool_with_a_dead_worker_ends(lib, mp, end) -> None:
    pool = mp.Pool(2)
    result = pool.apply_async(targets.die)
    getattr(pool, end)()
    pool.join()
    if end == "close":
        with pytest.raises(lib.WorkerDied):
            result.get(0)


# The owner of a lock.


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_one_of_those_who_wait_is_told_that_the_owner_died(mp, start, kind) -> None:
    lock, sign, results = getattr(mp, kind)(), mp.Semaphore(0), mp.SimpleQueue()
    owner = start(targets.hold, lock, sign)
    assert sign.acquire(timeout=PATIENCE)
    for _ in range(3):
        start(targets.acquire, lock, sign, results)
    for _ in range(3):
        assert sign.acquire(timeout=PATIENCE)
    kill(owner)
    told = sorted(results.get() for _ in range(3))
    assert told == ["OwnerDied", "acquired", "acquired"]
    assert lock.acquire(timeout=PATIENCE) is True
    lock.release()


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_who_comes_after_the_death_of_the_owner_is_told(lib, mp, start, kind) -> None:
    lock, sign = getattr(mp, kind)(), mp.Semaphore(0)
    owner = start(targets.hold, lock, sign)
    assert sign.acquire(timeout=PATIENCE)
    kill(owner)
    with pytest.raises(lib.OwnerDied):
        lock.acquire(timeout=PATIENCE)
    with lock:
        assert lock.acquire(block=False) is (kind == "RLock")
        if kind == "RLock":
            lock.release()


def test_context_manager_tells_that_the_owner_died(lib, mp, start) -> None:
    lock, sign = mp.Lock(), mp.Semaphore(0)
    owner = start(targets.hold, lock, sign)
    assert sign.acquire(timeout=PATIENCE)
    kill(owner)
    entered = False
    with pytest.raises(lib.OwnerDied), lock:
        entered = True
    assert entered is False
    with lock:
        pass


def test_death_of_who_waits_for_a_lock_is_nobodys_business(mp, start) -> None:
    lock, sign, results = mp.Lock(), mp.Semaphore(0), mp.SimpleQueue()
    with lock:
        waiters = [start(targets.acquire, lock, sign, results) for _ in range(2)]
        for _ in range(2):
            assert sign.acquire(timeout=PATIENCE)
        kill(waiters[0])
    assert results.get() == "acquired"
    assert lock.acquire(timeout=PATIENCE) is True
    lock.release()


# Other things to wait for.


@pytest.mark.parametrize("kind", ["Semaphore", "BoundedSemaphore"])
def test_what_the_dead_took_of_a_semaphore_comes_back(mp, start, kind) -> None:
    semaphore, sign = getattr(mp, kind)(2), mp.Semaphore(0)
    holders = [start(targets.hold, semaphore, sign) for _ in range(2)]
    for _ in range(2):
        assert sign.acquire(timeout=PATIENCE)
    assert semaphore.acquire(timeout=MOMENT) is False
    kill(holders[0])
    assert semaphore.acquire(timeout=PATIENCE) is True
    assert semaphore.acquire(timeout=MOMENT) is False
    kill(holders[1])
    assert semaphore.acquire(timeout=PATIENCE) is True
    semaphore.release()
    semaphore.release()
    assert semaphore.get_value() == 2


def test_dead_sleeper_does_not_swallow_a_notification(mp, start) -> None:
    condition, sleeping, woken = mp.Condition(), mp.Semaphore(0), mp.Semaphore(0)
    sleepers = []
    for _ in range(2):
        sleepers.append(
            start(synchronize.wait_on_condition, condition, sleeping, woken)
        )
        assert sleeping.acquire(timeout=PATIENCE)
        with condition:
            pass  # It has the lock no more, so it sleeps: the first comes first.
    kill(sleepers[0])
    with condition:
        condition.notify()
    assert woken.acquire(timeout=PATIENCE) is True


def test_owner_of_a_condition_may_die(lib, mp, start) -> None:
    condition, sign = mp.Condition(), mp.Semaphore(0)
    owner = start(targets.hold, condition, sign)
    assert sign.acquire(timeout=PATIENCE)
    kill(owner)
    with pytest.raises(lib.OwnerDied):
        condition.acquire()
    with condition:
        condition.notify_all()


def test_who_waits_on_a_condition_is_told_that_the_owner_died(lib, mp, start) -> None:
    condition, sign = mp.Condition(), mp.Semaphore(0)

    def kill_when_it_holds() -> None:
        assert sign.acquire(timeout=PATIENCE)
        kill(owner)

    killer = threading.Thread(target=kill_when_it_holds)
    with pytest.raises(lib.OwnerDied), condition:
        owner = start(targets.notify_and_hold, condition, sign)
        killer.start()
        condition.wait(PATIENCE)
    killer.join()
    with condition:
        condition.notify_all()


def test_items_are_done_though_somebody_died_saying_so(mp, start) -> None:
    queue, sign = mp.JoinableQueue(), mp.Semaphore(0)
    queue.put("item")
    for end in (lambda: (queue.get(), queue.task_done()), queue.join):
        owner = start(targets.hold, queue._cond, sign)
        assert sign.acquire(timeout=PATIENCE)
        kill(owner)
        end()


def test_who_joins_a_queue_does_not_wait_for_the_dead(mp, start) -> None:
    queue, sign = mp.JoinableQueue(), mp.Semaphore(0)
    queue.put("item")
    worker = start(targets.say_done_and_hold, queue, sign)

    def kill_when_it_is_done() -> None:
        assert sign.acquire(timeout=PATIENCE)
        kill(worker)

    killer = threading.Thread(target=kill_when_it_is_done)
    killer.start()
    queue.join()
    killer.join()


def test_death_of_who_waits_for_an_event_is_nobodys_business(mp, start) -> None:
    event, ready, results = mp.Event(), mp.Semaphore(0), mp.SimpleQueue()
    waiters = [
        start(synchronize.wait_for_event, event, ready, results) for _ in range(2)
    ]
    for _ in range(2):
        assert ready.acquire(timeout=PATIENCE)
    kill(waiters[0])
    event.set()
    assert results.get() is True


# Who writes into a queue, and who reads.


def drain(queue) -> list:
    """Returns what is in a queue that nobody writes to."""
    items = []
    while True:
        try:
            items.append(queue.get(timeout=0))
        except threads_queue.Empty:
            return items


@pytest.mark.slow
@pytest.mark.parametrize("size", [10, 3_000, 200_000])
@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue"])
def test_writer_killed_in_mid_message_loses_that_message_only(
    mp, start, kind, size
) -> None:
    queue = getattr(mp, kind)()
    for _ in range(8):
        writer = start(targets.put_for_ever, queue, size)
        items = [queue.get(timeout=PATIENCE) for _ in range(5)]
        kill(writer)
        items += drain(queue)
        assert items == [targets.message(n, size) for n in range(len(items))]
        assert queue.qsize() == 0


@pytest.mark.slow
def test_readers_killed_in_mid_message_leave_the_rest_whole(mp, start) -> None:
    queue, sign = mp.Queue(), mp.Semaphore(0)
    for number in range(3_000):
        queue.put(targets.message(number, 2_000))
    for _ in range(5):
        reader = start(targets.get_for_ever, queue, sign)
        assert sign.acquire(timeout=PATIENCE)
        kill(reader)
    queue.put("last")
    *items, last = drain(queue)
    assert last == "last"
    numbers = [number for number, _ in items]
    assert numbers == sorted(set(numbers))
    assert items == [targets.message(number, 2_000) for number in numbers]


def test_reader_killed_while_it_waits_takes_no_item(mp, start) -> None:
    queue, sign, results = mp.Queue(), mp.Semaphore(0), mp.SimpleQueue()
    readers = [start(targets.get_one, queue, sign, results) for _ in range(2)]
    for _ in range(2):
        assert sign.acquire(timeout=PATIENCE)
    kill(readers[0])
    queue.put("for the one that lives")
    assert results.get() == "for the one that lives"


def test_writer_killed_while_it_waits_for_room_takes_none(mp, start) -> None:
    queue, sign = mp.Queue(1), mp.Semaphore(0)
    queue.put("first")
    writer = start(targets.put_one, queue, "of the dead", sign)
    assert sign.acquire(timeout=PATIENCE)
    kill(writer)
    assert queue.get(timeout=PATIENCE) == "first"
    queue.put("second", timeout=PATIENCE)
    assert drain(queue) == ["second"]


def test_get_with_timeout_keeps_to_it_though_the_writer_died(mp, start) -> None:
    queue = mp.Queue()
    writer = start(targets.put_for_ever, queue, 1_000_000)
    queue.get(timeout=PATIENCE)
    kill(writer)
    drain(queue)
    with pytest.raises(threads_queue.Empty):
        queue.get(timeout=MOMENT)


def test_death_of_the_other_side_ends_a_pipe(mp, start) -> None:
    here, there = mp.Pipe()
    sign = mp.Semaphore(0)
    with here:
        child = start(targets.hold_connection, there, sign)
        there.close()
        assert sign.acquire(timeout=PATIENCE)
        child.kill()
        with pytest.raises((EOFError, ConnectionResetError)):
            here.recv()


# Handles on their way.


@pytest.mark.methods("spawn", "forkserver")
def test_what_a_process_was_started_with_is_freed_though_it_never_looked(
    mp, start
) -> None:
    before = leftovers.objects()
    deadly = targets.DeadlyToUnpickle()
    given = mp.Lock(), mp.Queue(), mp.Condition(), mp.Event()
    process = start(targets.hold, deadly, *given)
    process.join(PATIENCE)
    assert process.exitcode == -signal.SIGKILL
    assert leftovers.objects() > before
    del given
    assert leftovers.objects() == before


@pytest.mark.methods("spawn")
def test_what_could_not_be_pickled_holds_nothing(mp) -> None:
    before = leftovers.objects()
    queue, lock = mp.Queue(), mp.Lock()
    process = mp.Process(target=targets.hold, args=(lock, lambda: None))
    with pytest.raises((pickle.PicklingError, AttributeError)):
        process.start()
    with pytest.raises((pickle.PicklingError, AttributeError)):
        queue.put((lock, lambda: None))
    del process, queue, lock
    gc.collect()  # What was raised refers to them.
    assert leftovers.objects() == before


# A process with all that it has started.


@pytest.mark.parametrize("way", ["terminate", "kill"])
def test_tree_ends_together(mp, start, way) -> None:
    pids = mp.Queue()
    child = start(targets.have_descendants, 2, pids)
    line = [pids.get(timeout=PATIENCE) for _ in range(4)]
    watches = [os.pidfd_open(pid) for pid in line]
    try:
        getattr(child, way)(tree=True)
        child.join(PATIENCE)
        signum = signal.SIGTERM if way == "terminate" else signal.SIGKILL
        assert child.exitcode == -signum
        for watch in watches:
            assert select.select([watch], [], [], PATIENCE)[0]
    finally:
        for watch in watches:
            os.close(watch)


def test_terminate_alone_leaves_the_rest_of_the_tree(mp, start) -> None:
    pids = mp.Queue()
    child = start(targets.have_descendants, 0, pids)
    watches = [os.pidfd_open(pids.get(timeout=PATIENCE)) for _ in range(2)]
    child.terminate()
    child.join(PATIENCE)
    try:
        assert select.select([watches[1]], [], [], 0)[0] == []
        signal.pidfd_send_signal(watches[1], signal.SIGKILL)
        assert select.select([watches[1]], [], [], PATIENCE)[0]
    finally:
        for watch in watches:
            os.close(watch)


# The parent.


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_nobody_outlives_a_parent_that_is_killed(program, signum) -> None:
    text = """
        import multiprocessing
        import threading
        import time

        def work(started):
            started.release()
            while True:
                pass

        def wait(started, never):
            started.release()
            never.wait()

        def hold_the_interpreter(started):
            started.release()
            sum(range(10**15))  # Without a look at signals, or at other threads.

        def sleep(started):
            started.release()
            time.sleep(600)

        def initialize(started):
            globals()["given"] = started

        def work_in_pool(_):
            work(given)

        if __name__ == "__main__":
            started, never = multiprocessing.Semaphore(0), multiprocessing.Event()
            pool = multiprocessing.Pool(2, initialize, (started,))
            result = pool.map_async(work_in_pool, range(10), 1)
            idle = multiprocessing.Pool(1)
            processes = [
                multiprocessing.Process(target=work, args=(started,), daemon=True),
                multiprocessing.Process(target=wait, args=(started, never), daemon=True),
                multiprocessing.Process(
                    target=hold_the_interpreter, args=(started,), daemon=True
                ),
                multiprocessing.Process(target=sleep, args=(started,), daemon=True),
            ]
            manager = multiprocessing.Manager()
            shared = manager.dict(answer=42)
            for process in processes:
                process.start()
            for _ in range(2 + len(processes)):
                started.acquire()
            print("all run", flush=True)
            threading.Event().wait()
    """
    with script.Script(program.command(text)) as parent:
        assert parent.line() == "all run"
        assert len(parent.members()) >= 9
        os.kill(parent.process.pid, signum)
        parent.process.wait(PATIENCE)
        parent.must_be_empty()


@pytest.mark.slow
def test_daemon_of_a_killed_child_does_not_outlive_it(program) -> None:
    text = """
        import multiprocessing
        import os
        import signal

        def wait(started, never):
            started.set()
            never.wait()

        def start_daemon(started, never):
            args = (started, never)
            multiprocessing.Process(target=wait, args=args, daemon=True).start()
            never.wait()

        if __name__ == "__main__":
            started, never = multiprocessing.Event(), multiprocessing.Event()
            child = multiprocessing.Process(target=start_daemon, args=(started, never))
            child.start()
            started.wait()
            child.kill()
            child.join()
            print("the child is dead")
    """
    code, out, err = script.run(program.command(text))
    assert (code, out, err) == (0, "the child is dead\n", "")


def test_lock_in_a_message_goes_with_the_reader_that_dies_of_it(mp, start) -> None:
    # What is left of the arena is looked after by a fixture.
    queue = mp.Queue()
    for _ in range(5):
        queue.put((targets.DeadlyToUnpickle(), mp.Lock(), mp.Queue()))
        reader = start(targets.get, queue)
        reader.join(PATIENCE)
        assert reader.exitcode == -signal.SIGKILL
    assert queue.empty()


def test_locks_in_messages_that_nobody_reads_go_with_their_queue(mp) -> None:
    queues = [mp.Queue(), mp.SimpleQueue()]
    for queue in queues:
        for _ in range(100):
            queue.put(mp.Lock())
        lock = queue.get()
        assert lock.acquire(timeout=0)


def test_message_that_does_not_unpickle_takes_its_locks_along(mp) -> None:
    queue = mp.Queue()
    queue.put((targets.FailsToUnpickle(), mp.Lock()))
    with pytest.raises(ZeroDivisionError):
        queue.get(timeout=PATIENCE)
