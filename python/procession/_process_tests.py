"""Tests of processes that are started one by one, for every engine: a part of `BackendTests`."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

import procession
from procession._test_needs import PATIENCE, needs
from procession._test_tasks import (
    hold,
    kill_the_node,
    kill_the_node_if_asked,
    name_and_double,
    raise_key_error,
    run_until_asked,
    square,
    terminate_softly,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["ProcessTests"]


class ProcessTests:
    """Tests of a context's `Process`, on whatever machine it runs."""

    @needs("processes", "shared")
    def test_processes_run_and_tell_what_they_return(self, context: Any) -> None:
        names = context.Queue()
        processes = [
            context.Process(target=name_and_double, args=(names, n), name=f"worker {n}")
            for n in range(3)
        ]
        for process in processes:
            assert (process.pid, process.exitcode) == (None, None)
            assert not process.is_alive()
            process.start()
        for process in processes:
            process.join(PATIENCE)
            assert process.exitcode == 0 and not process.is_alive()
        assert [process.result() for process in processes] == [0, 2, 4]
        told = sorted(names.get(timeout=PATIENCE)[:2] for _ in processes)
        assert told == [(each.name, each.pid) for each in processes]
        for process in processes:
            process.close()

    @needs("processes")
    def test_process_goes_on_until_it_is_ended(self, context: Any) -> None:
        for end, code in (("terminate", signal.SIGTERM), ("kill", signal.SIGKILL)):
            process = context.Process(target=time.sleep, args=(600,))
            process.start()
            process.join(0.01)
            assert process.is_alive() and process.exitcode is None
            assert process.pid != os.getpid()
            assert procession.connection.wait([process.sentinel], 0) == []
            getattr(process, end)()
            assert procession.connection.wait([process.sentinel], PATIENCE)
            process.join(PATIENCE)
            assert process.exitcode == -code
            with pytest.raises(procession.WorkerDied, match=code.name) as caught:
                process.result()
            assert (caught.value.pid, caught.value.exitcode) == (process.pid, -code)
            process.close()

    @needs("processes")
    def test_exit_codes_and_errors_are_those_of_the_target(self, context: Any) -> None:
        process = context.Process(target=sys.exit, args=(3,))
        process.start()
        process.join(PATIENCE)
        assert process.exitcode == 3
        failing = context.Process(target=raise_key_error, args=("lost",))
        failing.start()
        with pytest.raises(KeyError, match="lost"):
            failing.result(PATIENCE)
        assert failing.exitcode == 1
        process.close()
        failing.close()

    @needs("processes", "shared")
    def test_process_may_tidy_up_when_it_is_terminated(self, context: Any) -> None:
        running, ended = context.Event(), context.Queue()
        process = context.Process(target=terminate_softly, args=(running, ended))
        process.start()
        assert running.wait(PATIENCE)
        process.terminate()
        assert ended.get(timeout=PATIENCE) == "tidied up"
        process.join(PATIENCE)
        assert process.exitcode == 7
        process.close()

    @needs("processes", "shared")
    def test_process_is_asked_to_stop(self, context: Any) -> None:
        running = context.Event()
        process = context.Process(target=run_until_asked, args=(running,))
        process.start()
        assert running.wait(PATIENCE) and not process.stop_requested
        process.request_stop()
        assert process.result(PATIENCE) == "as you wish" and process.stop_requested
        process.close()

    @needs("processes", "shared")
    def test_lock_of_a_killed_process_is_free_and_one_is_told(
        self, context: Any
    ) -> None:
        lock, held = context.Lock(), context.Event()
        process = context.Process(target=hold, args=(lock, held))
        process.start()
        assert held.wait(PATIENCE)
        process.kill()
        process.join(PATIENCE)
        with pytest.raises(procession.OwnerDied):
            lock.acquire(timeout=PATIENCE)
        assert lock.acquire(timeout=PATIENCE)
        process.close()

    @needs("processes", "nodes")
    def test_process_of_a_lost_node_says_so(self, context: Any) -> None:
        from procession.distributed import NodeLost

        process = context.Process(target=kill_the_node_if_asked, name="doomed")
        process.start()
        process.request_stop()
        process.join(PATIENCE)
        assert process.exitcode == 255 and not process.is_alive()
        with pytest.raises(NodeLost, match="with process 'doomed'") as caught:
            process.result()
        assert str(caught.value.node) in str(caught.value)
        another = context.Process(target=square, args=(3,))
        another.start()
        assert another.result(PATIENCE) == 9
        process.close()
        another.close()

    @needs("processes", "nodes")
    def test_loss_of_a_node_that_has_not_told_of_a_start_is_told_by_the_start(
        self, context: Any
    ) -> None:
        from procession.distributed import NodeLost

        process = context.Process(target=kill_the_node, name="doomed")
        # Its node may or may not have told of the start before it was killed.
        with pytest.raises(NodeLost, match="with process 'doomed'"):
            process.start()
            process.result(PATIENCE)
        another = context.Process(target=square, args=(3,))
        another.start()
        assert another.result(PATIENCE) == 9
        another.close()

    @needs("processes", "nodes")
    def test_process_that_cannot_run_elsewhere_is_refused_at_its_start(
        self, context: Any
    ) -> None:
        here = procession.get_context("spawn")
        with pytest.raises(TypeError, match="of this machine"):
            context.Process(target=square, args=(here.Lock(),)).start()
        with pytest.raises(ValueError, match="affinity"):
            context.Process(target=square, args=(3,), affinity=[0]).start()
        with pytest.raises(TypeError, match="callable"):
            context.Process(target="square")
        process = context.Process(target=square, args=(3,))
        process.start()
        with pytest.raises(AssertionError, match="twice"):
            process.start()
        process.join(PATIENCE)
        process.close()
