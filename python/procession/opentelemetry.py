"""What a family of processes does, as instruments of OpenTelemetry.

It needs `opentelemetry-api`: `pip install 'procession[opentelemetry]'`. The names, and what each tells, are
those of `procession.openmetrics` (docs/metrics.md).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import _procession
from ._attributes import public

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

__all__ = ["instrument"]

# What OpenTelemetry calls the units of OpenMetrics.
UNITS = {None: "", "bytes": "By", "seconds": "s"}


def instrument(
    meter_provider: MeterProvider | None = None, pid: int | None = None
) -> None:
    """Makes an observable instrument of each metric of a family of processes.

    They have the names of docs/metrics.md (a counter's without `_total`), and its labels as
    attributes. Each time that a reader collects them, the family is looked at once; what is looked
    at does not notice. Call it once for a provider, which keeps the instruments for good. A process
    that was forked from this one reports nothing through them, as this one tells of the whole family.

    Args:
        meter_provider: The provider of the instruments; by default the global one of
            OpenTelemetry.
        pid: A process of the family; by default it is the family of this process. Before
            this process has one, and once the family has ended, nothing is reported.

    Raises:
        ModuleNotFoundError: `opentelemetry-api` is not installed.
        NotImplementedError: The family is of another version.
        OSError: The process is another user's, or there is none.
        ValueError: It belongs to no family.

    Example:
        >>> import procession.opentelemetry
        >>> from opentelemetry.sdk.metrics import MeterProvider
        >>> from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        >>> reader = InMemoryMetricReader()
        >>> procession.opentelemetry.instrument(MeterProvider([reader]))
        >>> queue = procession.Queue(7)
        >>> [scope] = reader.get_metrics_data().resource_metrics[0].scope_metrics
        >>> "procession_queue_limit" in [metric.name for metric in scope.metrics]
        True
    """
    try:
        from opentelemetry import metrics
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "opentelemetry":
            raise
        raise ModuleNotFoundError(
            "opentelemetry-api is not installed: pip install 'procession[opentelemetry]'",
            name=error.name,
        ) from error

    look = _procession.metrics if pid is None else _procession.Watcher(pid).metrics
    looks = _Looks(look, metrics.Observation)
    meter = metrics.get_meter("procession", _procession.VERSION, meter_provider)
    for name, kind, unit, help_, _ in look():
        create = {
            "counter": meter.create_observable_counter,
            "gauge": meter.create_observable_gauge,
        }[kind]
        create(name, [looks.callback(name)], UNITS[unit], help_)


class _Looks:
    """Looks at a family once for all instruments that are collected together."""

    def __init__(
        self,
        look: Callable[[], list[_procession._Metric]],
        observation: type[Observation],
    ) -> None:
        self._look = look
        self._observation = observation
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._unread: dict[str, list[tuple[dict[str, str], float]]] = {}

    def callback(self, name: str) -> Callable[[CallbackOptions], list[Observation]]:
        """Returns what the instrument of that name is read by."""

        def read(_: Any) -> list[Observation]:
            # In a forked child with a copy of the provider, its lock and ours may be
            # taken for ever.
            if os.getpid() != self._owner:
                return []
            samples = self._take(name)
            return [self._observation(value, labels) for labels, value in samples]

        return read

    def _take(self, name: str) -> list[tuple[dict[str, str], float]]:
        """Returns what the last look has told of a metric, once; looks again if it was returned before.

        A collection asks for each instrument once.
        """
        with self._lock:
            if name not in self._unread:
                self._unread = {metric[0]: metric[-1] for metric in self._look()}
            return self._unread.pop(name)


def __dir__() -> list[str]:
    return public(globals())
