"""What bad input gets: a clear error at the call that caused it, nothing left behind."""

import errno
import os
import pickle
import resource
import sys
import threading

import pytest
from library import PATIENCE, load
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
    "argument", [threading.Lock(), lambda: None, targets.FailingToPickle()]
)
def test_argument_that_does_not_pickle_is_refused_at_the_start(mp, argument) -> None:
    process = mp.Process(target=calls.same, args=(argument,))
    with pytest.raises((*UNPICKLABLE, ValueError), match="pickle"):
        process.start()


@PICKLING
def test_target_that_does_not_pickle_is_refused_at_the_start(mp) -> None:
    process = mp.Process(target=lambda: None)
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
            limit = max(map(int, os.listdir("/proc/self/fd"))) + 1
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, self.before[1]))
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
        (pool_targets.raise_demanding, "targets.pool.Demanding: 1 and 2"),
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
    assert 1 <= started.value <= 2


def test_errors_of_a_connection_are_of_its_module(lib) -> None:
    here, there = lib.Pipe()
    with here, there:
        for wrong in (None, "text", 5):
            with pytest.raises(TypeError):
                here.send_bytes(wrong)
        assert isinstance(here, load("connection").Connection)
