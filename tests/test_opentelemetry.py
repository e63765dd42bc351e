"""Metrics as instruments of OpenTelemetry: `procession.opentelemetry`."""

import os
import subprocess
import sys

import procession
import procession.opentelemetry
import pytest
import script
from library import PATIENCE
from targets import view as targets

sdk = pytest.importorskip("opentelemetry.sdk.metrics")
export = pytest.importorskip("opentelemetry.sdk.metrics.export")
parser = pytest.importorskip("prometheus_client.openmetrics.parser")

pytestmark = pytest.mark.procession_only("it has no metrics")

# What is another at each look.
OF_TIME = {"procession_process_age_seconds", "procession_worker_task_age_seconds"}


class Collector:
    """A provider with a reader, and the metrics of a family of processes in it."""

    def __init__(self, pid: int | None = None) -> None:
        self.reader = export.InMemoryMetricReader()
        self.provider = sdk.MeterProvider([self.reader])
        procession.opentelemetry.instrument(self.provider, pid)

    def metrics(self) -> dict:
        """Returns what is collected now, by the names of the instruments."""
        data = self.reader.get_metrics_data()
        scopes = data.resource_metrics[0].scope_metrics if data else []
        return {metric.name: metric for scope in scopes for metric in scope.metrics}

    def values(self) -> dict:
        return {
            (name, frozenset(point.attributes.items())): point.value
            for name, metric in self.metrics().items()
            for point in metric.data.data_points
        }


@pytest.fixture
def collector():
    made = []

    def collect(pid: int | None = None) -> Collector:
        made.append(Collector(pid))
        return made[-1]

    yield collect
    for one in made:
        one.provider.shutdown()


def openmetrics() -> dict:
    """Returns the metrics of this process's family that Prometheus would read, by their names."""
    text = procession.openmetrics()
    return {one.name: one for one in parser.text_string_to_metric_families(text)}


def steady(values: dict) -> dict:
    """Returns those that are the same at two looks in a row."""
    cpu = "procession_process_cpu_seconds"
    resident = "procession_process_resident_memory_bytes"
    changing = {*OF_TIME, cpu, resident, "procession_process_state"}
    return {key: value for key, value in values.items() if key[0] not in changing}


def test_instruments_are_those_of_openmetrics_with_the_same_values(
    mp, collector
) -> None:
    told, gate = mp.Semaphore(0), mp.Semaphore(0)
    queue = mp.Queue(7)
    queue.put_many([1, 2, 3])
    collected = collector()
    with mp.Pool(2) as pool:
        results = [
            pool.apply_async(targets.tell_and_wait, (told, gate)) for _ in range(5)
        ]
        for _ in range(2):
            assert told.acquire(timeout=PATIENCE)
        while True:
            # The same before and after: no spare process has come meanwhile.
            before, metrics, after = openmetrics(), collected.metrics(), openmetrics()
            values = collected.values()
            pairs = [
                {
                    (name, frozenset(sample.labels.items())): sample.value
                    for name, metric in told_by.items()
                    for sample in metric.samples
                }
                for told_by in (before, after)
            ]
            if steady(pairs[0]) == steady(pairs[1]):
                break
        for _ in results:
            gate.release()
        assert all(result.get(PATIENCE) for result in results)
    assert steady(values) == steady(pairs[0])
    assert values.keys() == pairs[0].keys()
    for key in values:
        if key[0] in OF_TIME:
            assert pairs[0][key] < values[key]
    for name, metric in metrics.items():
        told_there = before[name]
        assert metric.description == told_there.documentation
        assert metric.unit == {"": "", "bytes": "By", "seconds": "s"}[told_there.unit]
        assert isinstance(metric.data, export.Sum) == (told_there.type == "counter")


def test_all_values_of_a_collection_are_of_one_look(mp, collector, monkeypatch) -> None:
    looks = []
    native = procession._procession.metrics

    def counted() -> list:
        looks.append(native())
        return looks[-1]

    monkeypatch.setattr(procession._procession, "metrics", counted)
    queue = mp.Queue(7)
    collected = collector()
    looks.clear()
    for items in range(3):
        metrics = collected.metrics()
        assert len(looks) == items + 1
        points = metrics["procession_queue_items"].data.data_points
        assert items in [point.value for point in points]
        queue.put("another")


def test_metrics_of_another_process_are_had_until_its_family_has_ended(
    collector,
) -> None:
    program = (
        "import procession; event = procession.Event(); print(flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as family:
        family.stdout.readline()
        collected = collector(family.pid)
        points = collected.metrics()["procession_process_threads"].data.data_points
        assert [point.attributes["pid"] for point in points] == [str(family.pid)]
        family.communicate("\n", PATIENCE)
    assert collected.values() == {}


def test_a_process_without_a_family_is_refused_by_the_call(collector) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        try:
            with pytest.raises(ValueError, match=f"process {stranger.pid} belongs to"):
                collector(stranger.pid)
        finally:
            stranger.kill()


def test_a_forked_process_reports_nothing_of_its_copy(collector) -> None:
    event = procession.Event()
    collected = collector()
    assert collected.values()
    pid = os.fork()
    if pid == 0:
        os._exit(0 if collected.values() == {} else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert not event.is_set()


WITHOUT = """
import sys
sys.modules["opentelemetry"] = None
import procession.opentelemetry
try:
    procession.opentelemetry.instrument()
except ModuleNotFoundError as error:
    print(error)
"""


def test_that_it_is_not_installed_is_told_with_what_to_do() -> None:
    code, out, err = script.run([sys.executable, "-c", WITHOUT])
    assert (code, err) == (0, "")
    assert "pip install 'procession[opentelemetry]'" in out
