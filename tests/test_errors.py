"""What bad input gets: a clear error at the call that caused it, nothing left behind."""

import errno
import os
import pickle
import re
import resource
import sys
import threading
from queue import Empty, Full

import pytest
from library import MOMENT, PATIENCE, load
from targets import calls
from targets import errors as targets
from targets import pool as pool_targets

# How pickle says that it cannot; which it is depends on the object and the version.
UNPICKLABLE = (AttributeError, TypeError, pickle.PicklingError)

PICKLING = pytest.mark.methods("spawn", "forkserver")


# Processes.


@pytest.mark.procession_only("the child fails, with exit code 1")
@pytest.mark.parametrize("target", [5, "text", object()])
def test_target_that_is_not_callable_is_refused(lib, target) -> None:
    with pytest.raises(TypeError, match="callable"):
        lib.Process(target=target)


def test_group_is_refused(lib) -> None:
    with pytest.raises(AssertionError):
        lib.Process(group="a group")


@pytest.mark.parametrize(
    "options", [{"args": 5}, {"kwargs": 5}, {"args": (), "kwargs": [1]}]
)
def test_arguments_that_are_none_are_refused(lib, options) -> None:
    with pytest.raises(TypeError):
        lib.Process(target=calls.same, **options)


def test_name_that_is_no_text_is_refused(lib) -> None:
    process = lib.Process()
    with pytest.raises(AssertionError):
        process.name = 5


def test_process_is_not_started_twice(start) -> None:
    process = start(calls.nothing)
    with pytest.raises(AssertionError, match="cannot start a process twice"):
        process.start()
    process.join()
    with pytest.raises(AssertionError, match="cannot start a process twice"):
        process.start()


def test_process_that_was_not_started_is_not_joined(mp) -> None:
    with pytest.raises(AssertionError, match="can only join a started process"):
        mp.Process().join()


@pytest.mark.parametrize("use", ["terminate", "kill"])
def test_process_that_was_not_started_is_not_ended(mp, use) -> None:
    with pytest.raises((AssertionError, AttributeError, ValueError)):
        getattr(mp.Process(), use)()


def test_process_that_was_not_started_has_no_sentinel(mp) -> None:
    with pytest.raises(ValueError, match="not started"):
        _ = mp.Process().sentinel


def test_process_that_runs_is_not_closed(mp, start) -> None:
    ready, go = mp.Event(), mp.Event()
    process = start(calls.announce_and_wait, ready, go)
    with pytest.raises(ValueError, match="still running"):
        process.close()
    go.set()
    process.join()
    process.close()


def test_process_that_was_started_does_not_become_a_daemon(mp, start) -> None:
    process = start(calls.nothing)
    with pytest.raises(AssertionError):
        process.daemon = True


@pytest.mark.methods("fork")
def test_child_of_somebody_else_is_not_joined(mp, call, start) -> None:
    ready, go = mp.Event(), mp.Event()
    process = start(calls.announce_and_wait, ready, go)
    assert call(targets.join_stranger, process) == "AssertionError"
    go.set()


def test_process_object_is_not_pickled_outside_a_start(mp) -> None:
    with pytest.raises((RuntimeError, TypeError)):
        pickle.dumps(mp.Process())


@PICKLING
@pytest.mark.parametrize(
    "argument", [threading.Lock(), (_ for _ in ()), targets.FailingToPickle()]
)
def test_argument_that_does_not_pickle_is_refused_at_the_start(mp, argument) -> None:
    process = mp.Process(target=calls.same, args=(argument,))
    with pytest.raises((*UNPICKLABLE, ValueError), match="pickle"):
        process.start()


@PICKLING
def test_target_that_does_not_pickle_is_refused_at_the_start(mp) -> None:
    process = mp.Process(target=threading.Lock().acquire)
    with pytest.raises(UNPICKLABLE, match="pickle"):
        process.start()


@PICKLING
def test_argument_that_does_not_unpickle_fails_the_child(start) -> None:
    process = start(calls.same, targets.NotUnpicklable())
    process.join()
    assert process.exitcode == 1


@PICKLING
def test_module_that_the_child_cannot_import_fails_the_child(start) -> None:
    process = start(targets.function_of_module("only_in_the_parent"))
    process.join()
    assert process.exitcode == 1


@PICKLING
@pytest.mark.procession_only("a process has no result")
def test_result_tells_that_the_child_could_not_import_a_module(start) -> None:
    process = start(targets.function_of_module("only_in_the_parent"))
    with pytest.raises(ModuleNotFoundError, match="only_in_the_parent"):
        process.result(PATIENCE)


# Start methods and contexts.


def test_start_method_that_does_not_exist_is_refused(lib) -> None:
    with pytest.raises(ValueError, match="cannot find context for 'teleport'"):
        lib.get_context("teleport")
    with pytest.raises(ValueError, match="cannot find context for 'teleport'"):
        lib.set_start_method("teleport", force=True)


# What the system refuses.


@pytest.fixture
def no_more_descriptors():
    """Returns a context in which this process cannot open another descriptor."""

    class Full:
        def __enter__(self) -> None:
            self.before = resource.getrlimit(resource.RLIMIT_NOFILE)
            # The numbers below the limit are taken: each open takes the lowest free.
            self.taken = []
            self.limit = max(map(int, os.listdir("/proc/self/fd"))) + 1
            resource.setrlimit(resource.RLIMIT_NOFILE, (self.limit, self.before[1]))
            try:
                while True:
                    self.taken.append(os.dup(0))
            except OSError:
                pass

        def __exit__(self, *exception) -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, self.before)
            for taken in self.taken:
                os.close(taken)

    return Full()


def test_start_without_free_descriptors_is_an_error(mp, no_more_descriptors) -> None:
    process = mp.Process(target=calls.nothing)
    with no_more_descriptors, pytest.raises(OSError) as caught:
        process.start()
    assert caught.value.errno == errno.EMFILE
    another = mp.Process(target=calls.nothing)
    another.start()
    another.join()
    assert another.exitcode == 0


def test_pipe_without_free_descriptors_is_an_error(lib, no_more_descriptors) -> None:
    with no_more_descriptors, pytest.raises(OSError) as caught:
        lib.Pipe()
    assert caught.value.errno == errno.EMFILE


@pytest.mark.procession_only("its message is that of the system")
def test_error_for_lack_of_descriptors_tells_the_limit(
    lib, no_more_descriptors
) -> None:
    queue = lib.Queue()
    with no_more_descriptors, pytest.raises(OSError) as caught:
        queue._reader.fileno()
    limit = no_more_descriptors.limit
    assert f"this process may have {limit} descriptors open" in str(caught.value)
    assert "by which others wake this process" in str(caught.value)


@pytest.mark.methods("fork")
@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_start_beyond_the_limit_of_processes_is_an_error(program) -> None:
    code, out, err = program("""
        import multiprocessing
        import os
        import resource

        def child():
            pass

        if __name__ == "__main__":
            process = multiprocessing.Process(target=child)
            process.start()
            process.join()
            # Somebody else may not read our modules: all are imported by now.
            os.setuid(54321)
            resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
            try:
                multiprocessing.Process(target=child).start()
            except BlockingIOError as error:
                print(type(error).__name__, multiprocessing.active_children())
    """)
    assert (code, err) == (0, "")
    assert out == "BlockingIOError []\n"


@pytest.mark.methods("spawn", "forkserver")
@pytest.mark.procession_only("the child, or its server, exits with code 255")
def test_executable_that_does_not_exist_is_an_error_at_the_start(program) -> None:
    code, out, err = program("""
        import multiprocessing

        def child():
            pass

        if __name__ == "__main__":
            multiprocessing.set_executable("/no/such/python")
            try:
                multiprocessing.Process(target=child).start()
            except FileNotFoundError as error:
                print(error, multiprocessing.active_children())
    """)
    assert (code, err) == (0, "")
    assert "/no/such/python" in out
    assert out.endswith(" []\n")


def test_array_beyond_all_memory_is_an_error(lib) -> None:
    with pytest.raises((MemoryError, OSError, OverflowError)):
        lib.RawArray("B", sys.maxsize // 2)
    assert lib.RawArray("B", 3)[:] == [0, 0, 0]


# Sizes and kinds.


def test_negative_sizes_are_refused(lib) -> None:
    for make in (lib.Array, lib.RawArray):
        with pytest.raises(ValueError):
            make("i", -1)
    for kind in ("Semaphore", "BoundedSemaphore"):
        with pytest.raises((OSError, ValueError)):
            getattr(lib, kind)(-1)


def test_kind_that_is_no_number_is_refused(lib) -> None:
    for make in (lib.Value, lib.RawValue):
        with pytest.raises((AttributeError, TypeError)):
            make("no such code")
    with pytest.raises(TypeError):
        lib.Value("i", "text")
    with pytest.raises(TypeError):
        lib.Array("i", ["text"])


@pytest.mark.parametrize("processes", [0, -1])
def test_pool_needs_a_worker(lib, processes) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        lib.Pool(processes)


@pytest.mark.parametrize("tasks", [0, -1, "text", 1.5])
def test_worker_needs_a_whole_number_of_tasks(lib, tasks) -> None:
    with pytest.raises(ValueError, match="maxtasksperchild must be"):
        lib.Pool(1, maxtasksperchild=tasks)


def test_initializer_that_is_not_callable_is_refused(lib) -> None:
    with pytest.raises(TypeError, match="initializer must be a callable"):
        lib.Pool(1, initializer=5)


# Queues and pools.


@pytest.mark.procession_only("the error is printed by a thread, and the item lost")
@pytest.mark.parametrize("item", [threading.Lock(), targets.FailingToPickle()])
def test_item_that_does_not_pickle_is_refused_by_put(lib, item) -> None:
    queue = lib.Queue()
    with pytest.raises((*UNPICKLABLE, ValueError), match="pickle"):
        queue.put(item)
    assert queue.qsize() == 0
    queue.put("next")
    assert queue.get() == "next"


def test_item_that_does_not_pickle_is_refused_by_a_simple_queue(lib) -> None:
    queue = lib.SimpleQueue()
    with pytest.raises(UNPICKLABLE, match="pickle"):
        queue.put(threading.Lock())
    queue.put("next")
    assert queue.get() == "next"


def test_item_that_does_not_unpickle_fails_its_get_only(lib) -> None:
    queue = lib.Queue()
    queue.put(targets.NotUnpicklable())
    queue.put("next")
    with pytest.raises(ValueError, match="it does not unpickle"):
        queue.get()
    assert queue.get() == "next"


@pytest.mark.procession_only("the worker dies, and nobody is told")
@PICKLING
def test_function_that_workers_cannot_import_fails_its_call_only(mp) -> None:
    function = targets.function_of_module("only_in_the_parent")
    with mp.Pool(1) as pool:
        with pytest.raises(ModuleNotFoundError, match="only_in_the_parent"):
            pool.apply_async(function).get(PATIENCE)
        assert pool.apply(pool_targets.square, (3,)) == 9


@pytest.mark.procession_only("the worker dies, and nobody is told")
def test_argument_that_does_not_unpickle_fails_its_call_only(mp) -> None:
    with mp.Pool(1) as pool:
        with pytest.raises(ValueError, match="it does not unpickle"):
            pool.apply_async(calls.same, (targets.NotUnpicklable(),)).get(PATIENCE)
        assert pool.apply(pool_targets.square, (3,)) == 9


@pytest.mark.procession_only("the worker ends, and nobody is told")
@pytest.mark.parametrize(
    ("function", "arguments", "type_name", "message"),
    [
        (pool_targets.exit_with, (3,), "SystemExit", "3"),
        (pool_targets.interrupt, (), "KeyboardInterrupt", ""),
        (pool_targets.raise_unusual, (), "targets.pool.Unusual", "from below"),
    ],
)
def test_what_is_no_exception_fails_its_call_only(
    lib, mp, function, arguments, type_name, message
) -> None:
    with mp.Pool(1) as pool:
        pid = pool.apply(pool_targets.pid)
        with pytest.raises(lib.RemoteError, match=message or None) as caught:
            pool.apply_async(function, arguments).get(PATIENCE)
        assert caught.value.type_name == type_name
        assert f"in {function.__name__}" in caught.value.traceback
        assert pool.apply(pool_targets.pid) == pid


@pytest.mark.procession_only("some of them kill the pool")
@pytest.mark.parametrize(
    ("function", "told"),
    [
        (pool_targets.raise_unreadable, "targets.pool.Unreadable: not to be read"),
        (pool_targets.return_what_fails_to_pickle, "it does not pickle"),
        (pool_targets.return_what_exits_when_pickled, "as it was pickled"),
        (pool_targets.raise_what_fails_to_tell, "FailsToTell"),
    ],
)
def test_what_does_not_cross_fails_its_call_only(mp, function, told) -> None:
    with mp.Pool(1) as pool:
        pid = pool.apply(pool_targets.pid)
        with pytest.raises(Exception, match=told):
            pool.apply_async(function).get(PATIENCE)
        assert pool.apply(pool_targets.pid) == pid


@pytest.mark.procession_only("new workers are made and fail for ever")
@pytest.mark.parametrize(
    "initializer", [pool_targets.fail_to_initialize, pool_targets.exit_to_initialize]
)
def test_initializer_that_fails_is_an_error_here(lib, mp, initializer) -> None:
    started = mp.Value("i", 0)
    with mp.Pool(2, targets.count_and_call, (started, initializer)) as pool:
        with pytest.raises(Exception, match="no worker can be made"):
            pool.apply_async(pool_targets.square, (3,)).get(PATIENCE)
        with pytest.raises(Exception, match="no worker can be made"):
            pool.map(pool_targets.square, range(3))
    # Past the lock: the other worker may have been ended with it.
    assert 1 <= started.get_obj().value <= 2


def test_errors_of_a_connection_are_of_its_module(lib) -> None:
    here, there = lib.Pipe()
    with here, there:
        for wrong in (None, "text", 5):
            with pytest.raises(TypeError):
                here.send_bytes(wrong)
        assert isinstance(here, load("connection").Connection)


@pytest.mark.procession_only("the pool is dead")
def test_exception_with_arguments_of_its_own_arrives_as_it_was(mp) -> None:
    with mp.Pool(1) as pool:
        with pytest.raises(pool_targets.Demanding, match="1 and 2") as caught:
            pool.apply_async(pool_targets.raise_demanding).get(PATIENCE)
        assert caught.value.parts == (1, 2, 3)
        assert "in raise_demanding" in str(caught.value.__cause__)
        with pytest.raises(ExceptionGroup) as group:
            pool.apply_async(pool_targets.raise_demanding_group).get(PATIENCE)
        first, second = group.value.exceptions
        assert (first.parts, second.args) == ((1, 2, None), ("key",))


@pytest.mark.procession_only("it says that a coroutine cannot be pickled")
def test_async_function_in_a_worker_is_told_what_to_do(mp) -> None:
    note = "of_no_loop is a coroutine function.* by `asyncio.run`"
    with mp.Pool(1) as pool:
        for call in (
            lambda: pool.apply(pool_targets.of_no_loop),
            lambda: pool.map(pool_targets.of_no_loop, range(4), chunksize=2),
        ):
            with pytest.raises(load("pool").MaybeEncodingError) as caught:
                call()
            assert re.search(note, caught.value.__notes__[-1])
    with load("futures").ProcessPoolExecutor(1, mp) as executor:
        error = executor.submit(pool_targets.of_no_loop).exception(PATIENCE)
        assert re.search(note, error.__notes__[-1])


@pytest.mark.procession_only("there is no result")
def test_process_tells_an_exception_with_arguments_of_its_own(start) -> None:
    process = start(pool_targets.raise_demanding)
    with pytest.raises(pool_targets.Demanding) as caught:
        process.result()
    assert caught.value.parts == (1, 2, 3)


NO_ROOM = """
import multiprocessing as mp
import os

os.environ["PROCESSION_ARENA_LIMIT"] = str(1 << 27)

class Large(Exception):
    def __str__(self):
        return "large"

def pid(_):
    return os.getpid()

def large(_):
    return bytes(1 << 28)

def large_in_a_list(_):
    return [1, bytes(1 << 28)]

def large_error(_):
    raise Large(bytes(1 << 28))

if __name__ == "__main__":
    with mp.Pool(1) as pool:
        before = pool.apply(pid, (0,))
        for function in (large, large_in_a_list, large_error):
            try:
                pool.apply(function, (0,))
            except Exception as error:
                print(type(error).__name__, len(str(error)) < 1000)
        print(pool.apply(pid, (0,)) == before)
"""


@pytest.mark.slow
@pytest.mark.procession_only("its shared memory has no such limit")
def test_result_that_there_is_no_room_for_fails_its_task_and_not_the_worker(
    program,
) -> None:
    code, out, err = program(NO_ROOM)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "MaybeEncodingError True",
        "MaybeEncodingError True",
        "MemoryError True",
        "True",
    ]


@pytest.mark.procession_only("its errors have no text")
def test_wait_in_vain_for_a_result_tells_how_long_it_was(mp) -> None:
    with mp.Pool(1) as pool:
        never = mp.Event()
        for call, text in [
            (pool.apply_async(never.wait).get, "the result was not there after"),
            (
                pool.imap(never.wait, (None,)).next,
                "the next result was not there after",
            ),
        ]:
            with pytest.raises(mp.TimeoutError, match=f"^{text} {MOMENT} s: "):
                call(MOMENT)


@pytest.mark.procession_only("its error has no text")
def test_end_of_file_tells_that_the_other_end_is_gone(lib) -> None:
    here, there = lib.Pipe()
    there.close()
    with here, pytest.raises(EOFError, match="no process holds the other end"):
        here.recv()


@pytest.mark.procession_only("its errors have no text")
def test_errors_of_a_queue_with_a_feeder_tell_its_bound_and_the_wait(lib) -> None:
    class Unfed(load("queues").Queue):
        def _start_thread(self) -> None:
            pass

    queue = Unfed(1, ctx=lib.get_context())
    with pytest.raises(Empty, match="^the queue is empty$"):
        queue.get_nowait()
    with pytest.raises(Empty, match=f"^the queue was empty for {MOMENT} s$"):
        queue.get(timeout=MOMENT)
    queue.put("fills it")
    with pytest.raises(Full, match="^the queue is full: 1 items at most$"):
        queue.put("one more", block=False)
    with pytest.raises(
        Full, match=f"^the queue was full for {MOMENT} s: 1 items at most$"
    ):
        queue.put("one more", timeout=MOMENT)


FULL = """
import multiprocessing as mp
import os

os.environ["PROCESSION_ARENA_LIMIT"] = str(4 << 20)

if __name__ == "__main__":
    queue = mp.Queue()
    queue.put(bytes(1 << 20))
    try:
        queue.put(bytes(8 << 20))
    except MemoryError as error:
        print(error)
"""


@pytest.mark.procession_only("its shared memory has no such limit")
def test_full_shared_memory_tells_how_full_of_how_much_and_who_says_so(program) -> None:
    code, out, err = program(FULL)
    assert (code, err) == (0, "")
    found = re.fullmatch(
        r"the family's shared memory is full: (\d+) of 4194304 bytes are in use and "
        r"(\d+) more were asked for; the limit is that of PROCESSION_ARENA_LIMIT: .*\n",
        out,
    )
    assert found
    used, more = map(int, found.groups())
    assert 1 << 20 <= used <= 4 << 20 < 8 << 20 <= more


NO_MEMORY = """
import multiprocessing as mp
import resource

def take_all():
    pages = int(open("/proc/self/statm").read().split()[0])
    limit = pages * resource.getpagesize() + (32 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    taken = []
    while True:
        taken.append(bytearray(1 << 12))

if __name__ == "__main__":
    try:
        with mp.Pool(1, take_all) as pool:
            pool.apply(abs, (1,))
    except MemoryError:
        print("MemoryError")
"""


@pytest.mark.slow
@pytest.mark.procession_only("workers are started for ever")
def test_initializer_that_takes_all_memory_is_told(program) -> None:
    code, out, _err = program(NO_MEMORY)
    assert (code, out) == (0, "MemoryError\n")


@pytest.mark.procession_only("the worker ends, and its task is waited for for ever")
def test_error_that_stands_for_another_has_its_traceback_as_its_cause(mp, lib) -> None:
    with mp.Pool(1) as pool, pytest.raises(lib.RemoteError) as caught:
        pool.apply(sys.exit, (3,))
    assert "SystemExit: 3" in str(caught.value.__cause__)
    assert caught.value.traceback in str(caught.value.__cause__)
    del caught
