"""The engine of a pool whose workers are on other nodes.

It is what a `Pool` and an executor have in the place of the native pool: it deals tasks to
the node agents, and hands what comes back to the results. One thread deals, another hands
over; the links have threads of their own. Tasks of a node that is lost fail, or are dealt
anew, here and nowhere else; so do tasks whose worker has died.

Size: what is known of tasks and agents changes under one lock.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import json
import os
import queue
import threading
import time
import warnings

from .. import _install, _outcome, util
from .._errors import ProcessError, WorkerDied
from .._procession import ApplyResult, IMapIterator, IMapUnorderedIterator, MapResult
from .._worker_life import name_of
from . import _pickling, _wire
from ._calls import Call, Feeder, Outcome, Task
from ._errors import EngineMismatch, EngineUnavailable, NodeLost
from .backend import TaskEnvelope
from .node import mismatch_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from .._progress import Progress
    from .._terms import OnError, Terms
    from .backend import AgentLink, Answer, Backend, Parts, Place

    # The order in which tasks are dealt: by priority, number of the call, place in the
    # call.
    Order = tuple[int, int, int]

__all__ = ["Coordinator"]

# Seconds of work that a worker has ahead of it, if its tasks take less than the second; if
# they take less than the third it has one task ahead; if less than the fourth, all workers of
# an agent have one together. Of longer ones they have none: a message is nothing beside such a
# task, and one that waits here may be the last, which another agent has a free worker for.
_AHEAD, _LONG, _VERY_LONG, _LONGEST = 0.002, 0.005, 0.1, 0.5

# How many tasks each worker has ahead at the most, and how many bytes go at once.
_MOST_AHEAD, _MOST_BYTES = 256, 4 << 20

# The place of tasks that are yet to be made: behind those that are tried again.
_LAST = 1 << 62

# How often in a row an agent may be lost before it has done a task.
_MOST_LOST = 5

# Seconds that agents have to start and to end, and to end when nobody hears of them.
_TO_START, _TO_END, _TO_KILL = 120.0, 5.0, 0.1

# Seconds that an agent has to start once another is ready, and how often as long as others.
_TO_FOLLOW, _TIMES_AS_LONG = 10.0, 3


class Coordinator:
    """Deals the tasks of one pool to node agents.

    Args:
        backend: The engine.
        workers: How many workers there are on all nodes together.
        lease: After how many seconds without a word an agent ends, and one is lost.
        setup: What agents are given besides, for `NodeAgent`.
        errors: Makes the error of a task that has no reply, as for the native pool.
        held: What is alive as long as agents may be started.
    """

    def __init__(
        self,
        backend: Backend,
        workers: int,
        lease: float,
        setup: dict[str, Any],
        errors: Callable[[str, Any], Any] | None = None,
        held: object = None,
    ) -> None:
        self._held = held
        self.cache: dict[int, Any] = {}
        self._pid = os.getpid()
        self._backend = backend
        self._lease = lease
        self._setup = setup
        self._errors = errors or (lambda loss, error: error)
        # Re-entrant, as a finalizer may take it while this thread has it.
        self._changed = threading.Condition(threading.RLock())
        # Under the lock: what is to be dealt, by priority and age, the calls that have
        # something to do, and the agents.
        self._line: list[tuple[Order, Task | Call]] = []
        self._resting: dict[int, tuple[Order, Call]] = {}
        self._calls: dict[int, Call] = {}
        self._agents: list[_Agent] = []
        self._numbers = itertools.count(1)
        self._state = "RUN"
        self._end: Callable[[], BaseException] | None = None
        self._broken: str | None = None
        self._mismatches: dict[str, str] = {}
        self._questions: dict[int, _Question] = {}
        self._outcomes: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._shares = _shares(backend.places(), workers)
        # Lost nodes whose places no other agent has taken.
        self._vacant: list[_Agent] = []

    # What a pool calls.

    def start(self) -> None:
        """Starts the agents, and waits until they are ready.

        Raises:
            EngineUnavailable: One cannot be started.
            EngineMismatch: One has another Python or procession, or lacks a module.
        """
        if not self._shares:
            raise EngineUnavailable("the cluster has no node")
        try:
            for place, slots in self._shares:
                self._agents.append(self._new_agent(place, slots))
            with self._changed:
                while len(self._late()) < len(self._starting()):
                    self._changed.wait(min(self._lease / 6, 1))
                    self._renew(self._agents)
                agents, late = [*self._agents], self._late()
                is_any_ready = any(each.state == "ready" for each in agents)
            _raise_refusals(agents)
            if not is_any_ready:
                _raise_losses(agents)
            for agent in late:
                agent.lost(_late_by(agent))
            _warn_of_lost(agents)
            _warn_of_missing(agents)
            self._backend.watch(self._note_place)
        except BaseException:
            for agent in self._agents:
                agent.link_down()
            for agent in self._agents:
                agent.close(_TO_END)
            self._state = "TERMINATE"
            raise
        for run in (self._deal, self._hand_over):
            thread = threading.Thread(
                target=run, name="procession-coordinator", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def _starting(self) -> list[_Agent]:
        return [each for each in self._agents if each.state == "starting"]

    def _late(self) -> list[_Agent]:
        """Returns the agents that have taken too long to start."""
        starting = self._starting()
        if not starting:
            return []
        now = time.monotonic()
        took = [each.took_to_start for each in self._agents if each.took_to_start]
        limit = _TO_START
        if took:
            limit = min(limit, max(_TO_FOLLOW, _TIMES_AS_LONG * max(took)))
        return [each for each in starting if now - each.began >= limit]

    def apply(
        self, pool: Any, func: Any, args: Any, kwds: Any, terms: Terms | None = None
    ) -> Any:
        """Calls a function in a worker and waits for what it returns."""
        # The caller waits, so its large buffers stay as they are until they were sent.
        body = _call_body(func, args, kwds, borrows=True)
        return self._begin_apply(pool, func, body, None, None, terms).get()

    def apply_async(
        self,
        pool: Any,
        func: Any,
        args: Any,
        kwds: Any,
        callback: Any = None,
        error_callback: Any = None,
        terms: Terms | None = None,
    ) -> ApplyResult[Any]:
        """Has a function called in a worker; returns the result to come."""
        body = _call_body(func, args, kwds)
        return self._begin_apply(pool, func, body, callback, error_callback, terms)

    def _begin_apply(
        self,
        pool: Any,
        func: Any,
        body: Parts | Exception,
        callback: Any,
        error_callback: Any,
        terms: Terms | None,
    ) -> ApplyResult[Any]:
        if isinstance(body, TypeError):
            raise body
        result: ApplyResult[Any] = ApplyResult(
            pool, callback, error_callback, owner=self
        )
        self._begin_one(result, func, body, terms)
        return result

    def submit(
        self,
        pool: Any,
        future: Any,
        func: Any,
        args: Any,
        kwds: Any,
        terms: Terms | None = None,
    ) -> ApplyResult[Any]:
        """Has a function called in a worker; `future._settle` is told what came of it.

        Raises:
            OSError: It takes no more tasks.
        """
        if self._state != "RUN":
            raise OSError("the pool takes no more tasks")
        body = _call_body(func, args, kwds)
        result: ApplyResult[Any] = ApplyResult(
            pool, None, None, owner=self, listener=future
        )
        self._begin_one(result, func, body, terms)
        return result

    def _begin_one(
        self, result: Any, func: Any, body: Parts | Exception, terms: Terms | None
    ) -> None:
        call = Call(result, func, terms)
        call.open = 1
        task = Task(call, 0)
        self.cache[result._job] = result
        if isinstance(body, Exception):
            error = body
            self._enter(call)
            self._outcomes.put(Outcome(task, "error", lambda: error))
            return
        task.fill(body)
        self._enter(call, task)

    def map(
        self,
        pool: Any,
        func: Any,
        items: Any,
        chunksize: int,
        star: bool,
        terms: Terms | None = None,
        progress: Progress | None = None,
    ) -> list[Any]:
        """Calls a function with each of the items and waits for the results."""
        values: list[Any] = self.map_async(
            pool, func, items, chunksize, star, None, None, terms, progress
        ).get()
        return values

    def map_async(
        self,
        pool: Any,
        func: Any,
        items: Any,
        chunksize: int,
        star: bool,
        callback: Any = None,
        error_callback: Any = None,
        terms: Terms | None = None,
        progress: Progress | None = None,
    ) -> MapResult[Any]:
        """Has a function called with each of the items; returns the result to come."""
        on_error = _on_error_of(terms)
        job = _job_of(func, chunksize, star, on_error)
        result: MapResult[Any] = MapResult(
            pool,
            chunksize,
            len(items),
            callback,
            error_callback,
            progress,
            owner=self,
            on_error=on_error,
        )
        if not result.ready():
            self.cache[result._job] = result
            # It is read while the caller goes on.
            inputs = items if isinstance(items, range) else tuple(items)
            self._begin_many(Call(result, func, terms, inputs, chunksize), job)
        return result

    def _begin_many(self, call: Call, job: Parts | Exception) -> bool:
        """Takes a map in, or fails it if its function cannot be sent."""
        if not isinstance(job, Exception):
            call.job = job
            self._enter(call)
            return True
        with self._changed:
            self._enter(call)
            self._drop(call, "error", lambda _: job, True)
        return False

    def imap(
        self,
        pool: Any,
        func: Any,
        iterable: Any,
        chunksize: int,
        ordered: bool,
        terms: Terms | None = None,
        star: bool = False,
        unbounded: bool = False,
        progress: Progress | None = None,
    ) -> tuple[IMapIterator[Any], Feeder | None]:
        """Has a function called with what an iterable yields."""
        inputs = iter(iterable)
        on_error = _on_error_of(terms)
        job = _job_of(func, chunksize, star, on_error)
        kind = IMapIterator if ordered else IMapUnorderedIterator
        results: IMapIterator[Any] = kind(
            pool,
            progress,
            owner=self,
            on_error=on_error,
            chunksize=chunksize,
            workers=None if unbounded else self._size(),
        )
        self.cache[results._job] = results
        if isinstance(iterable, list | tuple | range):
            at_hand = iterable if isinstance(iterable, range) else tuple(iterable)
            if at_hand:
                call = Call(results, func, terms, at_hand, chunksize)
                self._begin_many(call, job)
            else:
                results._set_length(0)
            return results, None
        call = Call(results, func, terms, (), chunksize)
        call.is_fed = True
        if self._begin_many(call, job):
            return results, Feeder(self, call, inputs, chunksize)
        return results, None

    def _size(self) -> int:
        return sum(slots for _, slots in self._shares)

    def populate(self, pool: Any) -> None:
        """Has as many workers as the pool says; those that have ended are replaced anyway."""
        if pool._processes != self._size():
            self.resize(pool._processes)

    def resize(self, workers: int) -> None:
        """Changes the number of workers on the nodes that have some; tasks go on."""
        with self._changed:
            agents = [each for each in self._agents if each.state == "ready"]
            shares = _shares([each.place for each in agents], workers)
            slots = {place.name: count for place, count in shares}
            self._shares = shares or self._shares
            for agent in agents:
                agent.slots = slots.get(agent.name, 1)
                agent.tell("resize", agent.slots)
            self._changed.notify_all()

    def grow(self, tasks: int) -> None:
        """Does nothing: all workers are there from the beginning."""

    def worker_views(self) -> list[tuple[int, int, int]]:
        """Returns of each worker its number, its process id, and how many tasks it has done."""
        with self._changed:
            agents = [each for each in self._agents if each.state == "ready"]
        views = [view for agent in agents for view in self._ask(agent, "workers") or ()]
        return [(number, pid, done) for number, (_, pid, done) in enumerate(views)]

    def broken(self) -> str | None:
        """Returns why it runs no more tasks, if nobody has asked for its end."""
        return self._broken

    def cancel(self) -> None:
        """Cancels all that has not begun."""
        with self._changed:
            calls = [*self._calls.values()]
        for call in calls:
            self._cancel(call, False)

    def close(self) -> None:
        """Takes no more tasks; the workers end when they have done what they have."""
        if os.getpid() != self._pid:
            return
        with self._changed:
            if self._state == "RUN":
                self._state = "CLOSE"
            self._changed.notify_all()

    def terminate(self) -> None:
        """Ends the workers, busy or not; what they have not done fails."""
        if os.getpid() != self._pid:
            return  # In a forked copy there are no agents.
        with self._changed:
            self._state = "TERMINATE"
            self._changed.notify_all()
        # A finalizer may run in any thread, in the middle of anything.
        is_ours = threading.current_thread() in self._threads
        if is_ours or self._changed._is_owned():  # type: ignore[attr-defined]
            return
        for thread in self._threads:
            thread.join()

    def join(self) -> None:
        """Waits until all workers have ended."""
        if os.getpid() != self._pid:
            return
        for result in [*self.cache.values()]:
            if isinstance(result, IMapIterator):
                # The thread that joins may be the one that is to fetch results.
                result._make_all()
        for thread in self._threads:
            thread.join()

    # What results call.

    def resume(self) -> None:
        """Goes on with calls that had to wait until results were fetched."""
        with self._changed:
            for entry in self._resting.values():
                heapq.heappush(self._line, entry)
            self._resting.clear()
            self._changed.notify_all()

    def cancel_call(self, result: int, kill: bool) -> int:
        """Cancels the tasks of the result at an address; returns how many it was."""
        with self._changed:
            call = self._calls.get(result)
        return 0 if call is None else self._cancel(call, kill)

    def is_running(self, result: int) -> bool:
        """Returns whether a worker runs a task of the result at an address."""
        with self._changed:
            call = self._calls.get(result)
            if call is None:
                return False
            asked = self._out(call)
        return any(self._ask(agent, "running", tasks) for agent, tasks in asked)

    def _out(self, call: Call) -> list[tuple[_Agent, list[int]]]:
        """Returns which tasks of a call the agents have."""
        out = [
            (
                agent,
                [number for number, task in agent.tasks.items() if task.call is call],
            )
            for agent in self._agents
        ]
        return [(agent, numbers) for agent, numbers in out if numbers]

    def _cancel(self, call: Call, kill: bool) -> int:
        with self._changed:
            call.is_cancelled = True
            if call.is_stream:
                call.result._set_cancelled()
            count = self._drop_unmade(call)
            kept = []
            for entry in self._line:
                task = entry[1]
                if isinstance(task, Task) and task.call is call:
                    self._outcomes.put(_cancelled(task))
                    count += 1
                else:
                    kept.append(entry)
            heapq.heapify(kept)
            self._line = kept
            out = self._out(call)
            self._changed.notify_all()
        return count + sum(
            self._ask(agent, "cancel", tasks, kill) or 0 for agent, tasks in out
        )

    def _drop_unmade(self, call: Call) -> int:
        """Cancels the tasks of a call that were not made."""
        if call.is_fed:
            return 0  # The feeder of the call looks whether it goes on.
        return self._drop(call, "cancelled", call.cancelled, True)

    def _drop(
        self, call: Call, kind: str, error: Callable[[int], Any], told: bool
    ) -> int:
        """Fails the tasks of a call that were not made; returns how many it was."""
        first, count = call.made, call.total - call.made
        if call.is_fed:
            call.is_fed, count = False, 1
        call.made = call.total
        # An iterator of results needs one error, and then the end.
        told_of = min(count, 1) if call.is_stream else count
        call.open += told_of
        for index in range(first, first + told_of):
            content = functools.partial(error, index)
            end = index + 1 if call.is_stream else None
            self._outcomes.put(
                Outcome(Task(call, index), kind, content, told=told, length=end)
            )
        return count

    # What a feeder calls.

    def wait_for_room(self, call: Call, made: int) -> bool:
        """Waits until a call may make a task; returns whether it is to make any."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_unwanted(call) or not call.result._is_full(made)
            )
            return not self._is_unwanted(call)

    def _is_unwanted(self, call: Call) -> bool:
        ended = self._state == "TERMINATE" or self._end is not None
        return ended or call.is_cancelled or bool(call.result._is_cancelled())

    def feed(self, call: Call, index: int, inputs: Any) -> None:
        """Takes the inputs of a task."""
        task = Task(call, index)
        with self._changed:
            call.open += 1
        try:
            task.fill(call.pickled(index, inputs))
        except Exception as error:
            failure = error
            self._outcomes.put(Outcome(task, "error", lambda: failure))
            return
        self._put_in_line(task)

    def give_up(self, call: Call, index: int) -> None:
        """Notes that a feeder has stopped, as the rest of its inputs is not wanted."""
        kind, error = "ended", _terminated()
        if self._end is not None:
            error = self._end()
        elif self._state != "TERMINATE":
            kind, error = "cancelled", call.cancelled(index)
        call.result._set(index, (False, self._errors(kind, error)), of_task=False)

    def fed(self, call: Call) -> None:
        """Says that a call makes no more tasks."""
        with self._changed:
            call.is_fed = False
            self._leave(call)

    # The line.

    def _enter(self, call: Call, task: Task | None = None) -> None:
        """Takes a call in, or fails it if there is an end."""
        with self._changed:
            call.number = next(self._numbers)
            self._calls[id(call.result)] = call
            if task is None and call.made == call.total:
                return
            heapq.heappush(self._line, (_order_of(call), task or call))
            self._changed.notify_all()

    def _put_in_line(self, task: Task) -> None:
        with self._changed:
            heapq.heappush(self._line, (_order_of(task.call, task.index), task))
            self._changed.notify_all()

    def _leave(self, call: Call) -> None:
        """Forgets a call that is over."""
        if not call.is_over() or self._calls.get(id(call.result)) is not call:
            return
        del self._calls[id(call.result)]
        for agent in self._agents:
            if call.number in agent.jobs:
                agent.jobs.discard(call.number)
                agent.tell("forget", [call.number])
        self._changed.notify_all()

    # The thread that deals.

    def _deal(self) -> None:
        """Gives agents what they have room for, until there is an end."""
        try:
            while self._turn():
                pass
            self._finish()
        except BaseException as error:
            self._fail_all(error)
            raise

    def _turn(self) -> bool:
        """Does what there is to do, or waits for it; returns whether there may be more."""
        with self._changed:
            if self._state == "TERMINATE" or self._end is not None:
                return False
            if self._state == "CLOSE" and not self._calls:
                return False
            lost = [each for each in self._agents if each.state == "lost"]
            is_found = self._places is not None or self._is_to_look()
            if not lost and not is_found and not self._can_deal():
                self._changed.wait(self._lease / 6)
        self._tend(lost)
        batches: dict[int, tuple[_Agent, list[Task]]] = {}
        size = 0
        while size < _MOST_BYTES:
            with self._changed:
                agent = self._next_agent(batches)
                task = None if agent is None else self._next_task()
            if agent is None or task is None:
                break
            if self._make(task):
                batches.setdefault(id(agent), (agent, []))[1].append(task)
                size += task.size
        for agent, tasks in batches.values():
            self._send(agent, tasks)
        return True

    def _can_deal(self) -> bool:
        return bool(self._line) and any(each.has_room(0) for each in self._agents)

    def _next_agent(self, batches: dict[int, Any]) -> _Agent | None:
        """Returns the agent that has the least to do, if one has room."""
        best, least = None, 0.0
        for agent in self._agents:
            batch = batches.get(id(agent))
            more = 0 if batch is None else len(batch[1])
            if agent.has_room(more):
                load = (len(agent.tasks) + more) / agent.slots
                if best is None or load < least:
                    best, least = agent, load
        return best

    def _next_task(self) -> Task | None:
        """Returns what is next in line; a map's task is one that is yet to be pickled."""
        while self._line:
            order, each = self._line[0]
            if isinstance(each, Task):
                heapq.heappop(self._line)
                return each
            if each.is_stream and each.result._is_cancelled():
                each.is_cancelled = True
            if each.is_cancelled:
                self._drop_unmade(each)
            if each.made == each.total:
                heapq.heappop(self._line)
            elif each.is_full():
                # The result says by `resume` when it has room.
                heapq.heappop(self._line)
                self._resting[id(each)] = order, each
            else:
                task = Task(each, each.made)
                each.made += 1
                each.open += 1
                if each.is_stream and each.made == each.total:
                    each.result._set_length(each.total)
                return task
        return None

    def _make(self, task: Task) -> bool:
        """Pickles the inputs of a task; returns whether it is to be sent."""
        if not task.body:
            try:
                task.fill(task.call.body(task.index))
            except Exception as error:
                failure = error
                self._outcomes.put(Outcome(task, "error", lambda: failure))
                return False
        task.size = _wire.size_of(task.body)
        if task.call.is_cancelled:
            self._outcomes.put(_cancelled(task))
            return False
        return True

    def _send(self, agent: _Agent, tasks: list[Task]) -> None:
        envelopes = []
        with self._changed:
            if agent.state != "ready":
                for task in tasks:
                    self._put_in_line(task)
                return
            for task in tasks:
                call = task.call
                if call.is_cancelled:
                    self._outcomes.put(_cancelled(task))
                    continue
                task.number = next(self._numbers)
                agent.tasks[task.number] = task
                body = None
                if call.job is not None and call.number not in agent.jobs:
                    agent.jobs.add(call.number)
                    body = call.job
                envelopes.append(
                    TaskEnvelope(
                        task.number,
                        agent.nonce,
                        call.number,
                        body,
                        task.label,
                        call.limits,
                        task.body,
                    )
                )
            if not envelopes:
                return
            agent.puts += 1
        agent.link.put(envelopes, agent.has_put)
        for task in tasks:
            if not task.call.retries:
                task.body = ()  # It is not sent again.

    # The agents.

    def _renew(self, agents: list[_Agent]) -> None:
        """Renews the leases that have run for a while."""
        now = time.monotonic()
        for agent in agents:
            is_alive = agent.state in ("starting", "ready")
            if is_alive and now - agent.renewed >= self._lease / 6:
                agent.renewed = now
                agent.tell("renew")

    def _new_agent(self, place: Place, slots: int) -> _Agent:
        agent = _Agent(self, place, slots, next(self._numbers))
        setup = {
            **self._setup,
            "nonce": agent.nonce,
            "slots": slots,
            "lease": self._lease,
            "installed": _install.is_installed(),
        }
        agent.link = self._backend.agent(place, setup, agent.lost)
        agent.link.take(agent.took)
        return agent

    def _tend(self, lost: list[_Agent]) -> None:
        """Renews leases, and puts others in the place of agents that are lost."""
        now = time.monotonic()
        with self._changed:
            agents = [*self._agents]
        self._renew(agents)
        for agent in agents:
            if agent.state == "ready" and now - agent.heard > self._lease:
                agent.lost(f"has not answered for {self._lease:g} s")
        with self._changed:
            late = self._late()
        for agent in late:
            agent.lost(_late_by(agent))
        for agent in lost:
            agent.close(_TO_KILL)
            self._last_loss = f"{agent.name} {agent.reason}"
            with self._changed:
                self._agents.remove(agent)
                if agent.is_late and any(
                    each.state == "ready" for each in self._agents
                ):
                    # Its place is no use now, and may be later.
                    self._look_from = now + self._lease
                else:
                    self._in_vain = 0 if agent.has_worked else self._in_vain + 1
                if self._in_vain < _MOST_LOST:
                    self._vacant.append(agent)
                    self._found = True
        with self._changed:
            found, self._places = self._places, None
            if self._is_to_look():
                self._found, self._is_looking = False, True
                name = "procession-places"
                threading.Thread(target=self._look, name=name, daemon=True).start()
        if found:
            self._fill(found)
        if not self._agents and (
            not self._vacant
            or now - max(each.lost_at for each in self._vacant) > self._lease
        ):
            reason = f"no node is left: {self._last_loss}{self._no_answer}"
            self._break(reason, EngineUnavailable)

    # How many agents in a row have done nothing; whether there may be places for more.
    _in_vain = 0
    _found = False
    _last_loss = "there was none"

    # Whether the engine is asked for its places, and from when on it may be; what it has
    # answered, or why it did not.
    _is_looking = False
    _look_from = 0.0
    _places: Sequence[Place] | None = None
    _no_answer = ""

    def _is_to_look(self) -> bool:
        is_wanted = self._found and bool(self._vacant) and not self._is_looking
        return is_wanted and time.monotonic() >= self._look_from

    def _look(self) -> None:
        """Asks the engine for its places: in a thread of its own, as that may take long."""
        places, no_answer = None, ""
        try:
            places = self._backend.places()
        except Exception as error:
            no_answer = f", and {error}"
        with self._changed:
            self._places, self._no_answer = places, no_answer
            self._is_looking = False
            if places is None:
                self._found = True
                self._look_from = time.monotonic() + self._lease / 6
            self._changed.notify_all()

    def _note_place(self, place: Place, is_there: bool) -> None:
        """Notes that a place has come, or is gone."""
        with self._changed:
            self._found = self._found or is_there
            self._changed.notify_all()

    def _fill(self, found: Sequence[Place]) -> None:
        """Starts agents in the place of those that are lost, where there are places."""
        places = {place.name: place for place in found}
        taken = {agent.name for agent in self._agents}
        for gone in [*self._vacant]:
            free = [place for name, place in places.items() if name not in taken]
            # The lost agent's own place, if that is still there.
            place = places.get(gone.name) if gone.name not in taken else None
            place = place or next(iter(free), None)
            if place is None:
                return
            try:
                new = self._new_agent(place, gone.slots)
            except EngineUnavailable as error:
                util.info("node %s cannot be used: %s", place.name, error)
                continue
            taken.add(place.name)
            with self._changed:
                self._vacant.remove(gone)
                self._agents.append(new)

    def _break(self, reason: str, kind: Callable[[str], BaseException]) -> None:
        with self._changed:
            if self._end is None:
                self._broken = reason
                self._end = lambda: kind(reason)

    # What links call, each in its thread.

    def take_in(self, agent: _Agent, answers: Sequence[Answer]) -> None:
        """Takes what an agent says."""
        with self._changed:
            agent.heard = time.monotonic()
            for answer in answers:
                task = agent.tasks.pop(answer.task, None)
                if task is not None:
                    self._take_outcome(agent, task, answer)
                elif answer.outcome == "reply":
                    question = self._questions.pop(answer.task, None)
                    if question is not None:
                        question.reply(json.loads(bytes(answer.body[0])))
                else:
                    agent.learn(answer)
            self._changed.notify_all()

    def _take_outcome(self, agent: _Agent, task: Task, answer: Answer) -> None:
        kind, body = answer.outcome, answer.body
        if kind == "value":
            agent.has_worked = True
            agent.note(answer.seconds)
            size = _wire.size_of(body)
            self._outcomes.put(Outcome(task, kind, lambda: _pickling.loads(body), size))
            return
        if kind == "died":
            pid, exitcode, stack, text = json.loads(bytes(body[0]))
            task.tries += 1
            if self._try_again(task):
                return
            tries = task.tries
            if tries > 1:
                text = f"{text}, which was tried {tries} times"
            died = WorkerDied(
                f"{text} on node {agent.name}",
                pid,
                exitcode,
                task.label,
                tries,
                stack,
                agent.name,
            )
            self._outcomes.put(Outcome(task, kind, lambda: died))
            return
        agent.has_worked = True
        if kind == "ended":
            # If the workers of this node cannot be set up, those of others cannot
            # either.
            error = _outcome.unpack_error(_pickling.loads(body))
            self._broken = self._broken or str(error)
            self._end = self._end or (lambda: error)
        if kind == "cancelled":
            self._outcomes.put(_cancelled(task))
            return
        name = agent.name
        self._outcomes.put(Outcome(task, kind, lambda: _error_of(kind, body, name)))

    def _try_again(self, task: Task) -> bool:
        """Puts a task in line again if it may be tried again."""
        if task.tries > task.call.retries or task.call.is_cancelled:
            return False
        if self._state == "TERMINATE":
            return False
        self._put_in_line(task)
        return True

    def lose(self, agent: _Agent) -> None:
        """Fails what a lost agent was given, or puts it in line again."""
        with self._changed:
            if agent.state == "lost" or self._state == "TERMINATE":
                return
            agent.state = "lost"
            agent.lost_at = time.monotonic()
            tasks = [*agent.tasks.values()]
            agent.tasks.clear()
            for task in tasks:
                task.tries += 1
                if not self._try_again(task):
                    self._outcomes.put(Outcome(task, "died", _loss(agent, task)))
            for number, question in [*self._questions.items()]:
                if question.agent is agent:
                    del self._questions[number]
                    question.reply(None)
            self._changed.notify_all()

    def _ask(self, agent: _Agent, what: str, *more: object) -> Any:
        """Asks an agent; returns its reply, or None if it is lost."""
        question = _Question(agent)
        with self._changed:
            # An engine may deliver a `tell` before an earlier `put`.
            given = agent.puts
            self._changed.wait_for(
                lambda: (
                    agent.puts_taken >= given
                    or agent.state != "ready"
                    or self._state == "TERMINATE"
                )
            )
            if agent.state != "ready" or self._state == "TERMINATE":
                return None
            number = next(self._numbers)
            self._questions[number] = question
        agent.tell(what, number, *more)
        return question.wait()

    # The thread that hands over.

    def _hand_over(self) -> None:
        """Hands outcomes to their results, until there is an end."""
        while (outcome := self._outcomes.get()) is not None:
            call = outcome.task.call
            call.arrive(outcome, self._errors)
            with self._changed:
                call.open -= 1
                self._leave(call)

    # The end.

    def _finish(self) -> None:
        """Ends the agents, and fails what is left."""
        if self._state == "CLOSE" and self._end is None:
            self._close_agents()
        with self._changed:
            end = self._end or _terminated
            told = self._state != "TERMINATE"
            agents = [*self._agents]
            for agent in agents:
                self._fail([*agent.tasks.values()], end, told)
                agent.tasks.clear()
            for question in self._questions.values():
                question.reply(None)
            self._questions.clear()
        self._fail_line(end, told)
        for agent in agents:
            agent.link_down()
        for agent in agents:
            agent.close(_TO_END)
        while True:
            with self._changed:
                # A broken pool goes on to fail what it is given.
                done = self._state == "TERMINATE" or (
                    self._state == "CLOSE" and not self._calls
                )
                if not done and not self._line:
                    self._changed.wait()
            self._fail_line(end, told)
            if done:
                break
        self._outcomes.put(None)

    def _close_agents(self) -> None:
        """Lets the workers end after their last tasks."""
        for agent in self._agents:
            agent.tell("close")
        with self._changed:
            while self._state != "TERMINATE" and any(
                each.state == "ready" for each in self._agents
            ):
                self._changed.wait(self._lease / 6)
                self._renew(self._agents)

    def _fail_line(self, end: Callable[[], BaseException], told: bool) -> None:
        with self._changed:
            line = [each for _, each in [*self._line, *self._resting.values()]]
            self._line.clear()
            self._resting.clear()
            for each in line:
                if isinstance(each, Task):
                    self._fail([each], end, told)
                else:
                    self._drop(each, "ended", lambda _: end(), told)

    def _fail(
        self, tasks: list[Task], end: Callable[[], BaseException], told: bool
    ) -> None:
        for task in tasks:
            self._outcomes.put(Outcome(task, "ended", end, told=told))

    def _fail_all(self, error: BaseException) -> None:
        """Ends the pool, because it cannot go on."""
        with self._changed:
            self._broken = self._broken or repr(error)
            self._end = self._end or (lambda: error)
        self._finish()


class _Agent:
    """What the coordinator knows of a node agent."""

    link: AgentLink

    def __init__(
        self, coordinator: Coordinator, place: Place, slots: int, nonce: int
    ) -> None:
        self._coordinator = coordinator
        self.place = place
        self.name = place.name
        self.slots = slots
        self.nonce = nonce
        # "starting", "ready", "closed" or "lost".
        self.state = "starting"
        self.reason = ""
        self.mismatch = ""
        # What the main module has imported and the node does not have.
        self.missing: list[str] = []
        self.refusal: BaseException | None = None
        self.tasks: dict[int, Task] = {}
        self.jobs: set[int] = set()
        # How often it was given tasks, and how often it has said that it has them.
        self.puts = self.puts_taken = 0
        self.has_worked = False
        self.heard = self.renewed = self.lost_at = self.began = time.monotonic()
        # How many seconds it has taken to be ready, and whether it was given up before.
        self.took_to_start = 0.0
        self.is_late = False
        # How long a task takes, as far as is known.
        self._seconds: float | None = None

    def has_room(self, more: int) -> bool:
        """Returns whether it may be given a task besides so many that it will be given."""
        if self.state != "ready" or self.puts > self.puts_taken:
            return False
        return len(self.tasks) + more < self._window()

    def _window(self) -> int:
        seconds = self._seconds
        if seconds is not None and seconds >= _LONGEST:
            return self.slots
        if seconds is None or seconds >= _VERY_LONG:
            return self.slots + 1
        if seconds >= _LONG:
            return 2 * self.slots
        ahead = min(_MOST_AHEAD, int(_AHEAD / max(seconds, 1e-9)) + 1)
        return self.slots * (1 + ahead)

    def note(self, seconds: float) -> None:
        """Notes how long a task has taken."""
        known = self._seconds
        self._seconds = seconds if known is None else known + (seconds - known) / 8

    def learn(self, answer: Answer) -> None:
        """Notes what the agent says of itself."""
        kind, body = answer.outcome, answer.body
        if kind == "hello":
            self.mismatch = mismatch_of(json.loads(bytes(body[0])))
        elif kind == "missing":
            names = ", ".join(json.loads(bytes(body[0])))
            self.mismatch = self.mismatch or f"it has no module {names}"
            self.state = "refused"
        elif kind == "refused":
            if not self.mismatch:
                self.refusal = _outcome.unpack_error(_pickling.loads(body))
            self.state = "refused"
        elif kind == "ready":
            self.state = "ready"
            self.took_to_start = time.monotonic() - self.began
            self.missing = json.loads(bytes(body[0]))
        elif kind == "closed":
            self.state = "closed"

    def took(self, answers: Sequence[Answer]) -> None:
        """Takes answers, and asks for more."""
        self.link.take(self.took)
        self._coordinator.take_in(self, answers)

    def has_put(self, answers: Sequence[Answer]) -> None:
        """Notes that it has what it was given."""
        self.puts_taken += 1
        self._coordinator.take_in(self, answers)

    def lost(self, reason: str) -> None:
        """Notes that it is gone."""
        self.reason = reason
        self._coordinator.lose(self)

    def tell(self, what: str, *more: object) -> None:
        """Sends a message."""
        self.link.tell(json.dumps([what, *more]).encode())

    def link_down(self) -> None:
        """Has it end, without waiting for that."""
        self.link.close(None)

    def close(self, timeout: float) -> None:
        """Has it end, and waits."""
        self.link.close(timeout)


class _Question:
    """A reply that is on its way."""

    def __init__(self, agent: _Agent) -> None:
        self.agent = agent
        self._came = threading.Event()
        self._value: Any = None

    def reply(self, value: Any) -> None:
        self._value = value
        self._came.set()

    def wait(self) -> Any:
        self._came.wait()
        return self._value


def _warn_of_missing(agents: list[_Agent]) -> None:
    for agent in agents:
        if agent.missing:
            warnings.warn(
                f"node {agent.name} has no module {', '.join(agent.missing)}, which the main "
                "module imports: a task that needs it will fail there",
                RuntimeWarning,
                stacklevel=5,
            )


def _late_by(agent: _Agent) -> str:
    """Returns why an agent is lost that has taken too long to start; notes that it has."""
    agent.is_late = True
    return f"was not ready after {time.monotonic() - agent.began:.0f} s"


def _raise_refusals(agents: list[_Agent]) -> None:
    """Raises what an agent has said against being part of the pool."""
    wrong = {each.name: each.mismatch for each in agents if each.mismatch}
    if wrong:
        raise EngineMismatch(wrong)
    for agent in agents:
        if agent.refusal is not None:
            raise agent.refusal


def _raise_losses(agents: list[_Agent]) -> None:
    """Raises why the first agent is not ready, where none is."""
    for agent in agents:
        if agent.state == "lost":
            raise EngineUnavailable(
                f"node {agent.name}: its agent {agent.reason} before it was ready"
            )
    for agent in agents:
        if agent.state == "starting":
            raise EngineUnavailable(f"node {agent.name}: its agent {_late_by(agent)}")


def _warn_of_lost(agents: list[_Agent]) -> None:
    for agent in agents:
        if agent.state == "lost":
            warnings.warn(
                f"node {agent.name}: its agent {agent.reason}, and the pool goes on without it",
                RuntimeWarning,
                stacklevel=5,
            )


def _shares(places: Sequence[Place], workers: int) -> list[tuple[Place, int]]:
    """Returns how many workers each place has: as many as it has room for, or more for all."""
    shares = dict.fromkeys(range(len(places)), 0)
    left = workers
    while left and places:
        room = [i for i, place in enumerate(places) if shares[i] < place.slots]
        for i in room or shares:
            if not left:
                break
            shares[i] += 1
            left -= 1
    return [(places[i], count) for i, count in shares.items() if count]


def _call_body(
    func: Any, args: Any, kwds: Any, borrows: bool = False
) -> Parts | Exception:
    try:
        return _pickling.dumps_held((func, tuple(args), dict(kwds)), borrows)
    except Exception as error:
        error.add_note(f"It is of a call of {name_of(func)}.")
        return error


def _on_error_of(terms: Terms | None) -> OnError:
    """Returns what an error does to a map.

    Raises:
        ValueError: The tasks are to be dealt in a fixed order of workers.
    """
    if terms is None:
        return "continue"
    *_, on_error, in_order = terms
    if in_order:
        raise ValueError(
            "tasks go to whichever node has room for them: on a cluster there is no order_tasks"
        )
    return on_error


def _job_of(func: Any, chunksize: int, star: bool, on_error: str) -> Parts | Exception:
    """Returns what the tasks of a map have in common."""
    try:
        return _pickling.dumps_held((func, chunksize > 1, star, on_error == "collect"))
    except Exception as error:
        error.add_note(f"What cannot be sent is the function {name_of(func)}.")
        return error


def _order_of(call: Call, index: int = _LAST) -> Order:
    """Returns the place in the line of a task, or of those of a call that are to be made."""
    return -call.priority, call.number, index


def _terminated() -> BaseException:
    return ProcessError("the pool was terminated, without this result")


def _cancelled(task: Task) -> Outcome:
    return Outcome(task, "cancelled", lambda: task.call.cancelled(task.index))


def _loss(agent: _Agent, task: Task) -> Callable[[], BaseException]:
    text = f"node {agent.name} {agent.reason} with {task.label}, which may have run"
    if task.tries > 1:
        text = f"{text}, and was tried {task.tries} times"
    return lambda: NodeLost(text, agent.name, task.label, task.tries)


def _error_of(kind: str, body: Parts, node: str) -> BaseException:
    error = _outcome.unpack_error(_pickling.loads(body))
    if kind != "error" or isinstance(error, ImportError):
        error.add_note(f"It was on node {node}.")
    return error
