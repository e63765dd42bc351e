"""What a family does as metrics: `ps --openmetrics` and `procession.openmetrics`."""

import json
import os
import subprocess
import sys
import time

import procession
import pytest
from library import PATIENCE
from targets import view as targets

parser = pytest.importorskip("prometheus_client.openmetrics.parser")

pytestmark = pytest.mark.procession_only("it has no metrics")

QUOTED = 'a "name" of \\ two\nlines'


def ps(*arguments: object) -> str:
    """Returns what `ps` tells of the family of this process."""
    command = [sys.executable, "-m", "procession", "ps", str(os.getpid())]
    done = subprocess.run(
        [*command, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def family() -> dict:
    (family,) = json.loads(ps("--json"))["families"]
    return family


def shape(family: dict) -> list:
    """Returns what changes when a process starts or ends, spare ones included."""
    pids = [member["pid"] for member in family["members"]]
    return [pids, family["shared_bytes"], family["blocks"], family["queues"]]


def metrics_between_two_looks(child: int) -> tuple[dict, dict, dict]:
    """Returns metrics, and what `ps` told before and after: the same processes.

    The process `child` is blocked each time. Its wait ends and begins again now and then.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        before, metrics, after = family(), parsed(ps("--openmetrics")), family()
        told = [state_of(before, child), state_of(after, child)]
        told += [
            state
            for (pid, state), value in samples(
                metrics, "process_state", "pid", "state"
            ).items()
            if (pid, value) == (str(child), 1)
        ]
        if shape(before) == shape(after) and set(told) == {"blocked"}:
            return before, metrics, after
        assert time.monotonic() < deadline, (shape(before), shape(after), told)


def state_of(family: dict, pid: int) -> str | None:
    """Returns the state of a process; None if `ps` has not told of it."""
    states = {member["pid"]: member["state"] for member in family["members"]}
    return states.get(pid)


def parsed(text: str) -> dict:
    """Returns the metrics by their names; the parser refuses what is not OpenMetrics."""
    metrics = {
        metric.name: metric for metric in parser.text_string_to_metric_families(text)
    }
    for metric in metrics.values():
        assert metric.documentation
        assert metric.name.endswith(metric.unit)
    return metrics


def samples(metrics: dict, name: str, *labels: str) -> dict:
    """Returns the values of a metric by those labels."""
    metric = metrics[f"procession_{name}"]
    return {
        tuple(sample.labels[label] for label in labels): sample.value
        for sample in metric.samples
    }


@pytest.fixture
def at_work(mp):
    """Has two workers run a task each, with three more at hand, and queues in use."""
    told, gate = mp.Semaphore(0), mp.Semaphore(0)
    bounded, unbounded = mp.Queue(7), mp.Queue()
    bounded.put_many([1, 2, 3])
    assert bounded.get() == 1
    child = mp.Process(target=targets.get_one, args=(unbounded, told), name=QUOTED)
    child.start()
    assert told.acquire(timeout=PATIENCE)
    with mp.Pool(2) as pool:
        results = [
            pool.apply_async(targets.tell_and_wait, (told, gate)) for _ in range(5)
        ]
        for _ in range(2):
            assert told.acquire(timeout=PATIENCE)
        yield child
        for _ in results:
            gate.release()
        assert all(result.get(PATIENCE) for result in results)
    unbounded.put("the end")
    child.join(PATIENCE)
    assert child.exitcode == 0
    child.close()


def test_metrics_are_those_that_ps_tells(at_work) -> None:
    before, metrics, after = metrics_between_two_looks(at_work.pid)
    assert {
        sample.labels["family"] for each in metrics.values() for sample in each.samples
    } == {before["id"]}

    ages = samples(metrics, "process_age_seconds", "pid", "name")
    cpu = samples(metrics, "process_cpu_seconds", "pid", "name")
    threads = samples(metrics, "process_threads", "pid", "name")
    resident = samples(metrics, "process_resident_memory_bytes", "pid", "name")
    states = samples(metrics, "process_state", "pid", "name", "state")
    assert len(ages) == len(before["members"])
    for first, second in zip(before["members"], after["members"], strict=True):
        who = str(first["pid"]), first["name"]
        assert first["age"] < ages[who] < second["age"]
        assert first["cpu"] <= cpu[who] <= second["cpu"]
        assert resident[who] > 0
        assert states[*who, "running"] + states[*who, "blocked"] == 1
        if first["pid"] == at_work.pid:
            assert first["name"] == QUOTED
            assert first["resident"] == resident[who]
            assert first["threads"] == threads[who]
            assert states[*who, "blocked"] == 1

    own = "owner", "pool"
    for pool in before["pools"]:
        who = str(pool["owner"]), str(pool["number"])
        workers = pool["workers"]
        busy = [worker for worker in workers if worker["running"] is not None]
        queued = sum(worker["queued"] for worker in workers)
        assert samples(metrics, "pool_workers", *own)[who] == len(workers)
        assert samples(metrics, "pool_busy_workers", *own)[who] == len(busy)
        assert samples(metrics, "pool_queued_tasks", *own)[who] == queued
        for name, key in ("worker_deaths", "deaths"), ("task_retries", "retries"):
            assert samples(metrics, f"pool_{name}", *own)[who] == pool[key]
        begun = samples(metrics, "worker_tasks_begun", *own, "worker", "pid")
        age = samples(metrics, "worker_task_age_seconds", "pid")
        for worker in workers:
            place = str(worker["index"]), str(worker["pid"])
            assert begun[*who, *place] == worker["begun"] == 1
            assert age[place[1:]] > worker["running"]
    assert sum(samples(metrics, "pool_busy_workers", *own).values()) == 2

    for name, key in ("items", "items"), ("limit", "limit"), ("put", "put"):
        assert samples(metrics, f"queue_{name}", "queue") == {
            (str(queue["serial"]),): queue[key]
            for queue in before["queues"]
            if queue[key] is not None
        }
    blocked = samples(metrics, "queue_blocked_processes", "queue")
    assert sum(blocked.values()) == sum(
        len(each["blocked"]) for each in after["queues"]
    )
    for name in "bytes", "blocks":
        assert samples(metrics, f"shared_memory_{name}") == {
            (): before[f"shared_{name}" if name == "bytes" else name]
        }


def test_program_tells_the_metrics_of_its_own_family(mp) -> None:
    queue = mp.Queue(3)
    queue.put("item")
    own = parsed(procession.openmetrics())
    named = parsed(procession.openmetrics(os.getpid()))
    for metrics in own, named:
        assert (str(os.getpid()),) in samples(metrics, "process_threads", "pid")
        assert 3 in samples(metrics, "queue_limit", "queue").values()
    assert queue.get(timeout=PATIENCE) == "item"


def test_process_without_a_family_has_no_samples() -> None:
    program = "import procession; print(procession.openmetrics(), end='')"
    told = subprocess.check_output([sys.executable, "-c", program], text=True)
    assert all(not metric.samples for metric in parsed(told).values())


def test_metrics_of_what_has_no_family_are_refused() -> None:
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        with pytest.raises(ValueError, match=f"{stranger.pid} belongs to no family"):
            procession.openmetrics(stranger.pid)
    finally:
        stranger.kill()
        stranger.wait()
