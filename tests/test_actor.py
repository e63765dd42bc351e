"""Objects that live in a process of their own."""

import asyncio
import os
import pickle
import signal

import pytest
import script
from library import PATIENCE
from script import Script
from targets import actors as targets

pytestmark = pytest.mark.procession_only("it has no actors")

Counter = targets.Counter


@pytest.fixture
def actor(mp):
    """Returns a function that makes an actor, which does not survive the test."""
    made = []

    def actor(cls=Counter, *args, **options):
        made.append(mp.Actor(cls, *args, **options))
        return made[-1]

    yield actor
    while made:
        made.pop().terminate()


# Calls.


def test_object_keeps_what_it_has_from_call_to_call(mp) -> None:
    with mp.Actor(Counter, (10,)) as counter:
        assert counter.add(5) == 15
        assert counter.call(Counter.add, 1) == counter.call("add", number=0) == 16
        assert counter.where() == (counter.pid, "Counter")
        assert counter.pid != os.getpid()
        assert counter.is_alive()
    assert not counter.is_alive()


def test_calls_are_done_in_their_order(actor) -> None:
    counter = actor()
    later = [counter.add.call_async(1) for _ in range(200)]
    assert [result.get(PATIENCE) for result in later] == list(range(1, 201))


def test_error_of_a_call_is_raised_here_and_the_object_lives(actor) -> None:
    counter = actor(kwargs={"start": 3})
    with pytest.raises(ValueError, match="on purpose") as caught:
        counter.fail("on purpose")
    assert "in fail" in str(caught.value.__cause__)
    assert counter.add(1) == 4


def test_calls_are_awaited(actor) -> None:
    async def use(counter) -> list:
        first = await counter.add.call_async(1)
        rest = [counter.call_async(Counter.add, 1) for _ in range(5)]
        return [first, *[await result for result in rest]]

    assert asyncio.run(use(actor())) == [1, 2, 3, 4, 5, 6]


def test_waiting_for_a_call_may_have_an_end(lib, mp, actor) -> None:
    started, go = mp.Event(), mp.Event()
    counter = actor()
    result = counter.wait.call_async(started, go)
    with pytest.raises(lib.TimeoutError):
        result.get(timeout=0.01)
    go.set()
    assert result.get(PATIENCE) == "waited"


def test_call_that_has_not_begun_can_be_cancelled(lib, mp, actor) -> None:
    started, go = mp.Event(), mp.Event()
    counter = actor()
    first = counter.wait.call_async(started, go)
    assert started.wait(PATIENCE)
    second = counter.add.call_async(1)
    assert second.cancel()
    with pytest.raises(lib.CancelledError, match=r"actors\.Counter\.add was cancelled"):
        second.get(PATIENCE)
    go.set()
    assert first.get(PATIENCE) == "waited"
    assert counter.add(1) == 1


def test_methods_that_cannot_be_called_are_refused_here(actor) -> None:
    counter = actor()
    with pytest.raises(AttributeError, match="Counter has no method 'ad'"):
        counter.ad(1)
    with pytest.raises(AttributeError, match="'double' of Counter is no method"):
        _ = counter.double
    with pytest.raises(AttributeError, match="'_private'"):
        _ = counter._private
    with pytest.raises(AttributeError, match="'double' cannot be set"):
        counter.double = 4
    with pytest.raises(TypeError, match="a method of Counter or its name is called"):
        counter.call(3)
    # What has the name of one of the actor's own is called by name.
    assert counter.call(Counter.pid) == counter.call("pid") == "mine"


def test_object_that_answers_to_any_name_does(actor) -> None:
    assert actor(targets.Answering).whatever(1, 2) == ("whatever", (1, 2))
    counter = actor(targets.make_counter, (7,))
    assert counter.add(1) == 8
    with pytest.raises(AttributeError, match="'ad'"):
        counter.ad(1)


def test_what_cannot_be_is_refused_when_it_is_made(mp) -> None:
    with pytest.raises(TypeError, match="an actor is made of a class, not of a int"):
        mp.Actor(3)
    with pytest.raises(ValueError, match="restarts must be 0 or more, or None"):
        mp.Actor(Counter, restarts=-1)
    with pytest.raises(TypeError, match="restarts must be a whole number"):
        mp.Actor(Counter, restarts="1")
    with pytest.raises(ValueError, match="timeout must be more than 0"):
        mp.Actor(Counter, timeout=0)
    with pytest.raises(ValueError, match="affinity names no CPU"):
        mp.Actor(Counter, affinity=())


def test_actor_does_not_travel(actor) -> None:
    with pytest.raises(NotImplementedError, match="cannot be passed between processes"):
        pickle.dumps(actor())


def test_object_that_cannot_be_made_is_the_error_of_each_call(actor, capfd) -> None:
    broken = actor(targets.Unmakable)
    for _ in range(2):
        with pytest.raises(LookupError, match="there is nothing to make it of"):
            broken.use()


def test_process_has_what_it_was_given(actor) -> None:
    cpu = min(os.sched_getaffinity(0))
    counter = actor(affinity={cpu}, env={"A_NAME": "a value"}, name="eva")
    assert counter.surroundings("A_NAME") == ([cpu], "a value")
    assert (counter.name, counter.where()[1]) == ("eva", "eva")


def test_actor_may_start_processes(actor) -> None:
    counter = actor()
    assert counter.start_child() != counter.pid


# Death.


def test_dead_actor_is_told_at_the_next_call_and_any_other(lib, actor) -> None:
    counter = actor()
    pid = counter.where()[0]
    os.kill(pid, signal.SIGKILL)
    for _ in range(2):
        with pytest.raises(
            lib.WorkerDied,
            match=rf"actor 'Counter' \(pid {pid}\) was killed by SIGKILL, and is not",
        ) as caught:
            counter.add(1)
        error = caught.value
        assert (error.pid, error.signal, error.task) == (pid, "SIGKILL", None)
    assert not counter.is_alive()
    assert "was killed by SIGKILL" in repr(counter)


def test_who_waits_for_an_actor_that_dies_is_told_at_once(lib, mp, actor) -> None:
    started = mp.Event()
    counter = actor()
    pid = counter.pid
    results = [counter.work_for_ever.call_async(started)]
    results += [counter.add.call_async(1) for _ in range(3)]
    assert started.wait(PATIENCE)
    os.kill(pid, signal.SIGTERM)
    tasks = []
    for result in results:
        with pytest.raises(lib.WorkerDied, match=f"pid {pid}") as caught:
            result.get(PATIENCE)
        assert caught.value.signal == "SIGTERM"
        tasks.append(caught.value.task)
    assert tasks == ["targets.actors.Counter.work_for_ever", None, None, None]


def test_exit_of_the_process_is_told_too(lib, actor) -> None:
    counter = actor()
    with pytest.raises(
        lib.WorkerDied, match=r"actor 'Counter' \(pid \d+\) exited with"
    ):
        counter.exit(3)
    with pytest.raises(lib.WorkerDied) as caught:
        counter.add(1)
    assert caught.value.exitcode == 3


def test_actor_that_may_be_restarted_begins_anew(lib, mp, actor) -> None:
    counter = actor(Counter, (10,), restarts=2)
    first = counter.pid
    assert counter.add(1) == 11
    with pytest.raises(lib.WorkerDied, match=r"while it ran .*Counter\.die"):
        counter.die()
    assert counter.add(1) == 11
    assert counter.pid != first
    started = mp.Event()
    running = counter.work_for_ever.call_async(started)
    waiting = counter.add.call_async(5)
    assert started.wait(PATIENCE)
    os.kill(counter.pid, signal.SIGKILL)
    with pytest.raises(lib.WorkerDied):
        running.get(PATIENCE)
    # What had not begun is done by the new one.
    assert waiting.get(PATIENCE) == 15
    with pytest.raises(lib.WorkerDied):
        counter.die()
    with pytest.raises(lib.WorkerDied, match="is not restarted"):
        counter.add(1)


@pytest.mark.parametrize("restarts", [0, 2, None])
def test_actor_that_dies_before_it_has_its_object_says_so(lib, mp, restarts) -> None:
    with mp.Actor(os._exit, (3,), restarts=restarts) as counter:
        results = [counter.call_async("add", 1) for _ in range(2)]
        for result in results:
            with pytest.raises(lib.WorkerDied, match=r"code 3, and is not restarted$"):
                result.get(PATIENCE)


def test_actor_may_be_restarted_without_end(lib, actor) -> None:
    counter = actor(restarts=None)
    for _ in range(5):
        with pytest.raises(lib.WorkerDied):
            counter.die()
        assert counter.add(1) == 1


def test_call_that_takes_too_long_is_killed_with_its_process(lib, mp, actor) -> None:
    counter = actor(timeout=1, restarts=1)
    assert counter.add(1) == 1
    with pytest.raises(lib.TaskTimeout, match=r"Counter\.work_for_ever took longer"):
        counter.work_for_ever(mp.Event())
    assert counter.add(1) == 1
    patient = counter.with_options(timeout=None)
    assert patient.pid == counter.pid
    result = patient.work_for_ever.call_async(mp.Event())
    with pytest.raises(lib.TimeoutError):
        result.get(0.3)
    result.cancel(kill=True)
    with pytest.raises(lib.WorkerDied, match="is not restarted"):
        counter.add(1)


def test_call_that_needs_too_much_memory_fails_alone(lib, actor) -> None:
    with open("/proc/self/status") as status:
        mine = int(status.read().partition("VmData:")[2].split()[0]) << 10
    counter = actor(memory_limit=mine + (200 << 20))
    with pytest.raises(lib.MemoryLimitExceeded):
        counter.fill(8192)
    assert counter.add(1) == 1


def test_crash_has_its_stack(method) -> None:
    text = f"""
import procession
from procession import WorkerDied

class Crashing:
    def crash(self):
        import ctypes
        ctypes.string_at(8)

if __name__ == "__main__":
    with procession.get_context({method!r}).Actor(Crashing) as actor:
        try:
            actor.crash()
        except WorkerDied as error:
            print(error.signal, "in crash" in error.stack)
"""
    code, out, err = script.run(script.python("procession", "-c", text))
    assert (code, out) == (0, "SIGSEGV True\n"), err


# The end.


def test_stopped_actor_has_done_its_calls_and_dropped_its_object(lib, mp) -> None:
    ended = mp.SimpleQueue()
    counter = mp.Actor(Counter, (0, ended))
    results = [counter.add.call_async(1) for _ in range(20)]
    counter.stop()
    assert results[-1].get(0) == 20
    assert ended.get() == 20
    assert not counter.is_alive()
    with pytest.raises(ValueError, match="the actor 'Counter' was stopped"):
        counter.add(1)
    counter.stop()
    counter.terminate()


def test_stop_that_takes_too_long_ends_the_process(lib, mp) -> None:
    started = mp.Event()
    counter = mp.Actor(Counter)
    running = counter.work_for_ever.call_async(started)
    waiting = counter.add.call_async(1)
    assert started.wait(PATIENCE)
    counter.stop(timeout=0.01)
    assert not counter.is_alive()
    for result in (running, waiting):
        with pytest.raises(
            lib.ProcessError, match="stopped before this call had ended"
        ):
            result.get(PATIENCE)


def test_block_that_raises_ends_the_process_at_once(lib, mp) -> None:
    started = mp.Event()
    with pytest.raises(KeyError), mp.Actor(Counter) as counter:
        running = counter.work_for_ever.call_async(started)
        assert started.wait(PATIENCE)
        raise KeyError("on purpose")
    assert not counter.is_alive()
    with pytest.raises(lib.ProcessError):
        running.get(PATIENCE)


def test_actor_that_nobody_has_does_its_calls_and_ends(mp) -> None:
    # That nobody is left is looked at after each test.
    result = mp.Actor(Counter).add.call_async(1)
    assert result.get(PATIENCE) == 1


def test_actor_ends_with_its_parent(method) -> None:
    text = f"""
import os, procession, signal, sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
from targets.actors import Counter

if __name__ == "__main__":
    mp = procession.get_context({method!r})
    started = mp.Event()
    counter = mp.Actor(Counter)
    running = counter.work_for_ever.call_async(started)
    started.wait()
    print(counter.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    with Script(script.python("procession", "-c", text)) as parent:
        code, out, _ = parent.finish()
    assert code == -signal.SIGKILL
    assert out.strip().isdigit()


def test_program_that_ends_takes_its_actors_with_it(method) -> None:
    text = f"""
import procession, sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
from targets.actors import Counter

if __name__ == "__main__":
    counter = procession.get_context({method!r}).Actor(Counter)
    print(counter.add(1))
"""
    code, out, err = script.run(script.python("procession", "-c", text))
    assert (code, out, err) == (0, "1\n", "")
