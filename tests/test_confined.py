"""Processes that are told what they may use: memory, CPUs, and names in their environment."""

import os
import pickle
from pathlib import Path

import pytest
from library import PATIENCE
from targets import confined as targets

pytestmark = pytest.mark.procession_only("a process takes what it takes")


@pytest.fixture
def result_of(mp):
    """Returns a function that runs another in a process, and returns its result."""

    def result_of(function, *args, **options):
        process = mp.Process(target=function, args=args, **options)
        process.start()
        try:
            return process.result(PATIENCE)
        finally:
            process.kill()
            process.join()
            process.close()

    return result_of


@pytest.fixture
def limit() -> int:
    """Returns more bytes than a process has by itself, also one that is forked from here."""
    status = Path("/proc/self/status").read_text()
    kibibytes = int(status.partition("VmData:")[2].split()[0])
    return kibibytes * 1024 + (200 << 20)


def test_environment_is_what_is_here_and_what_is_given(
    method, result_of, monkeypatch
) -> None:
    monkeypatch.setenv("KEPT", "here")
    monkeypatch.setenv("GREETING", "from here")
    given = {"GREETING": "hello", "NEW": "é=\n"}
    _, values, _ = result_of(targets.surroundings, "GREETING", "NEW", "KEPT", env=given)
    assert values[:2] == ["hello", "é=\n"]
    # The fork server has its environment from when it was started.
    assert values[2] == "here" or method == "forkserver"
    assert os.environ["GREETING"] == "from here"
    assert "NEW" not in os.environ
    assert result_of(targets.c_environment, "GREETING", env=given) == "hello"


@pytest.mark.methods("spawn")
def test_interpreter_is_started_with_the_environment(result_of) -> None:
    *_, imported = result_of(targets.surroundings, env={"GREETING": "hello"})
    assert imported == "hello"
    code = "__import__('sys').flags.dont_write_bytecode"
    assert result_of(eval, code, env={"PYTHONDONTWRITEBYTECODE": "1"}) == 1


@pytest.mark.methods("spawn", "forkserver")
def test_arguments_are_read_where_it_is_confined_already(result_of) -> None:
    cpu = min(os.sched_getaffinity(0))
    told = result_of(
        targets.told, targets.Greeting(), env={"GREETING": "hi"}, affinity={cpu}
    )
    assert told == ("hi", [cpu])


def test_process_runs_where_it_may(result_of) -> None:
    mine = os.sched_getaffinity(0)
    for cpus in [{cpu} for cpu in sorted(mine)[:2]] + [mine]:
        assert result_of(targets.surroundings, affinity=cpus)[0] == sorted(cpus)
    assert os.sched_getaffinity(0) == mine


@pytest.mark.parametrize("use", [targets.fill, targets.fill_bit_by_bit])
def test_process_is_refused_more_memory_and_says_so(result_of, limit, use) -> None:
    with pytest.raises(MemoryError) as caught:
        result_of(use, 8192, memory_limit=limit)
    assert f"in {use.__name__}" in str(caught.value.__cause__)
    assert result_of(targets.fill, 10, memory_limit=limit) == 10
    assert result_of(targets.fill, 10, memory_limit=f"{limit} B") == 10


# A copy of this process has pytest write the stack of a crash.
@pytest.mark.methods("spawn", "forkserver")
def test_native_code_that_does_not_look_dies_of_it(lib, result_of, limit) -> None:
    with pytest.raises(lib.WorkerDied) as caught:
        result_of(targets.use_what_was_refused, 8192, memory_limit=limit)
    assert caught.value.signal == "SIGSEGV"


def test_less_memory_than_it_has_already_is_told(result_of) -> None:
    with pytest.raises(
        ValueError, match=r"process '.*' has \d+ bytes of private memory"
    ):
        result_of(targets.fill, 1, memory_limit="1MiB")


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"env": {"A": 1}}, TypeError, "env must be of text"),
        ({"env": {"A=B": "c"}}, ValueError, "'A=B' and 'c' cannot be"),
        ({"env": {"A": "b\0"}}, ValueError, "cannot be the name and value"),
        ({"affinity": set()}, ValueError, "affinity names no CPU"),
        ({"affinity": {4095}}, ValueError, "4095"),
        ({"affinity": {-1}}, ValueError, "-1"),
        ({"memory_limit": 0}, ValueError, "memory_limit must be a positive number"),
        (
            {"memory_limit": "much"},
            ValueError,
            "memory_limit must be a positive number",
        ),
    ],
)
def test_what_cannot_be_is_refused_at_the_call(mp, options, error, text) -> None:
    with pytest.raises(error, match=text):
        mp.Process(target=targets.fill, args=(1,), **options)


def test_subclass_that_knows_nothing_of_it_works(method, result_of) -> None:
    process = getattr(targets, f"Old{method.capitalize()}")(7)
    process.start()
    assert process.result(PATIENCE) == (7, "old")
    process.close()


@pytest.mark.methods("spawn", "forkserver")
def test_process_object_carries_it_when_it_is_pickled(mp) -> None:
    from procession import _spawning

    process = mp.Process(target=targets.fill, env={"A": "b"}, memory_limit=1 << 40)
    # A key of the family goes to children only.
    _spawning.set_spawning_popen(object())
    try:
        copy = pickle.loads(pickle.dumps(process))
    finally:
        _spawning.set_spawning_popen(None)
    assert copy._environment == {"A": "b"}
    assert copy._limits == (1 << 40, None)


@pytest.mark.methods("fork", "spawn")
def test_child_of_a_confined_process_runs_where_that_may(mp, result_of) -> None:
    cpu = min(os.sched_getaffinity(0))
    outer = result_of(
        _surroundings_of_child, mp, affinity={cpu}, env={"GREETING": "hi"}
    )
    assert outer == ([cpu], ["hi"])


def _surroundings_of_child(mp):
    process = mp.Process(target=targets.surroundings, args=("GREETING",))
    process.start()
    return process.result(PATIENCE)[:2]
