"""Which curves there are, with the points of each, predicted and, unless only that is asked for, measured."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.context import BaseContext

import crowds
import locks
import machine
import model
import payloads
import queues
import workers
from costs import Costs
from curve import Curve

TASKS = {"tiny": 0.0, "100 us": 100e-6, "1 ms": 1e-3}


@dataclass(frozen=True)
class Plan:
    """How far the curves go, and how often is measured."""

    context: BaseContext
    costs: Costs
    most: int
    quick: bool

    @property
    def rounds(self) -> int:
        """How often each rate is measured."""
        return 1 if self.quick else 3

    def curves(self) -> Iterator[Curve]:
        """Yields each curve when it was measured."""
        processors = machine.processors()
        yield from self.rates(processors, is_measured=True)
        yield from self._payloads()
        yield from self._objects()
        yield from self._members()
        yield from self._lengths()

    def rates(self, processors: int, *, is_measured: bool) -> Iterator[Curve]:
        """Yields the curves that depend on the number of processors."""
        axis = powers(self.most)
        few = powers(min(self.most, 32) if is_measured else self.most)

        def measured(measure: Callable[..., float], *arguments: object) -> float | None:
            """Returns the fastest of several measurements: what disturbs one only makes it slower."""
            if not is_measured:
                return None
            return max(measure(self.context, *arguments) for _ in range(self.rounds))

        for name, seconds in TASKS.items():
            curve = Curve(f"tasks, {name}", "workers", "k/s")
            for count in axis:
                prediction = model.tasks(self.costs, processors, count, seconds)
                # Enough for half a second, as far as is foreseen.
                tasks = max(20, int(prediction.value * (0.05 if self.quick else 0.5)))
                found = measured(workers.rate, count, seconds, tasks)
                curve.add(count, prediction, found)
            yield curve
        curve = Curve("items of a queue, one producer", "consumers", "k/s")
        for count in few:
            prediction = model.items(self.costs, processors, count)
            items = 5_000 if self.quick else 100_000
            curve.add(count, prediction, measured(queues.rate, count, items))
        yield curve
        curve = Curve("takes of one lock", "contenders", "k/s")
        for count in few:
            prediction = model.takes(self.costs, count)
            takes = 20_000 if self.quick else 1_000_000
            curve.add(count, prediction, measured(locks.rate, count, takes))
        yield curve

    def _payloads(self) -> Iterator[Curve]:
        most = 1 << (20 if self.quick else 30)
        sizes = [8 << shift for shift in range(0, 28, 3) if 8 << shift <= most]
        fitting = [size for size in sizes if size <= machine.free_memory() // 4]
        missing = [f"{size:,}" for size in sizes if size not in fitting]
        ways: list[
            tuple[str, Callable[..., float], Callable[..., model.Prediction]]
        ] = [
            ("message of a pipe", payloads.through_pipe, model.message),
            ("array as an argument", payloads.as_argument, model.array),
            ("array as a result", payloads.as_result, model.array),
        ]
        for name, measured, predicted in ways:
            curve = Curve(name, "bytes", "us")
            for size in fitting:
                # Few of what is large, which takes long and varies little.
                times = 3 if size > 1 << 24 or self.quick else 50
                times = 1_000 if size < 1 << 18 and not self.quick else times
                curve.add(
                    size,
                    predicted(self.costs, size),
                    measured(self.context, size, times),
                )
            if missing:
                curve.left_out = f"left out, as a quarter of the free memory is less: {', '.join(missing)}"
            yield curve

    def _objects(self) -> Iterator[Curve]:
        made = Curve("making a lock", "locks alive", "us")
        started = Curve("start by fork", "locks alive", "ms")
        counts = [0, 100, 1_000] if self.quick else [0, 100, 1_000, 10_000, 100_000]
        times = 3 if self.quick else 20
        for count, make, start in crowds.beside_objects(self.context, counts, times):
            made.add(count, model.making(self.costs), make)
            started.add(count, model.start_beside_objects(self.costs, count), start)
        yield made
        yield started

    def _members(self) -> Iterator[Curve]:
        units = {"take of a lock": "us", "start": "ms", "task": "us"}
        curves = [Curve(name, "members", unit) for name, unit in units.items()]
        predictions = model.beside_members(self.costs)
        for count in [1, 4] if self.quick else [1, 4, 16, 64, 256]:
            times = 3 if self.quick else 20
            found = crowds.beside_members(self.context, count, times, self.rounds)
            for curve, measured in zip(curves, found, strict=True):
                curve.add(count, predictions[curve.name], measured)
        yield from curves

    def _lengths(self) -> Iterator[Curve]:
        put = Curve("put, queue of that length", "items", "us")
        got = Curve("get, queue of that length", "items", "us")
        most = 1_000 if self.quick else 1_000_000
        queue = self.context.Queue()
        length = 0
        for count in [10**power for power in range(7) if 10**power <= most]:
            for value in range(count - length):
                queue.put(value)
            length = count
            items = 500 if self.quick else 5_000
            seconds = queues.least_at_length(queue, items, self.rounds)
            put.add(count, model.put_behind(self.costs), seconds[0])
            got.add(count, model.get_before(self.costs), seconds[1])
        yield put
        yield got


def powers(most: int) -> list[int]:
    """Returns the powers of two up to a number."""
    return [1 << shift for shift in range(most.bit_length()) if 1 << shift <= most]
