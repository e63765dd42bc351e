"""Machines that are network namespaces of this one, on a bridge, and a dask cluster on them.

Each machine has an address of its own and one link, which can be cut. Its processes are all that
run in its namespace. The tests themselves are in the namespace of this machine, which has the
first address of the bridge; so what a program shares by a hub is served there.

It needs root, and the tool `ip`. What it makes has the process id in its name, and is removed at
the end, whatever has happened.
"""

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

import distributed
import procession
from process_tree import descendants, kill
from procession.distributed import context as context_module
from procession.distributed.context import ClusterContext
from procession.testing import wait_until

# The port of the scheduler, also of one that takes the place of another.
_PORT = 9001

_ROOT = Path(__file__).parents[2]


def why_not() -> str:
    """Returns why there can be no machines here; nothing if they can be made."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "there is no `ip` (iproute2) to make network namespaces"
    try:
        with Machines(1) as machines:
            machines[0].mend()
    except subprocess.CalledProcessError as error:
        return f"network namespaces are refused: {error.stderr.strip()}"
    return ""


def _ip(*words: str) -> str:
    done = subprocess.run(("ip", *words), check=True, capture_output=True, text=True)
    return done.stdout


class Machine:
    """A network namespace.

    Args:
        number: Its place on the bridge.
        network: The first three numbers of all addresses.
        bridge: The name of the bridge.
    """

    def __init__(self, number: int, network: str, bridge: str) -> None:
        self.address = f"{network}.{number + 2}"
        self._namespace = f"procession-{os.getpid()}-{number}"
        # This end of the cable; the other is in the namespace.
        self._port = f"pn{os.getpid()}x{number}"
        self._started: list[subprocess.Popen] = []
        _ip("netns", "add", self._namespace)
        cable = ["type", "veth", "peer", "name", "eth0", "netns"]
        _ip("link", "add", self._port, *cable, self._namespace)
        _ip("link", "set", self._port, "master", bridge, "up")
        self._inside("address", "add", f"{self.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            self._inside("link", "set", device, "up")

    def _inside(self, *words: str) -> str:
        return _ip("-netns", self._namespace, *words)

    def run(self, *command: object, **options) -> subprocess.Popen:
        """Starts a program there, with the modules of procession and of these tests."""
        path = os.pathsep.join([str(_ROOT / "python"), str(Path(__file__).parent)])
        process = subprocess.Popen(
            ("ip", "netns", "exec", self._namespace, *map(str, command)),
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
            **options,
        )
        self._started.append(process)
        return process

    def pids(self) -> set[int]:
        """Returns the processes that are there."""
        return {*map(int, _ip("netns", "pids", self._namespace).split())}

    def cut(self) -> None:
        """Takes the cable out: nothing comes or goes, and nobody is told."""
        _ip("link", "set", self._port, "down")

    def mend(self) -> None:
        """Puts the cable in again, and waits until it carries."""
        _ip("link", "set", self._port, "up")
        wait_until(lambda: " state UP " in self._inside("link", "show", "eth0"))

    def kill(self) -> None:
        """Kills all processes that are there; none of them sees others die."""
        while pids := self.pids():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            kill(pids)
        while self._started:
            self._started.pop().wait()

    def remove(self) -> None:
        """Kills what is there, and removes it."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self.kill()
            _ip("netns", "delete", self._namespace)
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip(
                "link", "delete", self._port
            )  # Where it is not gone with the other end.


class Machines:
    """Some machines on one bridge. It is a context manager, and a sequence of them.

    Args:
        count: How many there are.
    """

    def __init__(self, count: int) -> None:
        pid = os.getpid()
        network = f"10.{200 + pid // 250 % 50}.{pid % 250}"
        self.address = f"{network}.1"
        self._bridge = f"pn{pid}"
        self._all: list[Machine] = []
        atexit.register(self.remove)
        try:
            # A port forwards as soon as its cable is in.
            _ip("link", "add", self._bridge, "type", "bridge", "forward_delay", "0")
            _ip("address", "add", f"{self.address}/24", "dev", self._bridge)
            _ip("link", "set", self._bridge, "up")
            for number in range(count):
                self._all.append(Machine(number, network, self._bridge))
        except BaseException:
            self.remove()
            raise

    def __getitem__(self, number: int) -> Machine:
        return self._all[number]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Removes all of them, with what runs there."""
        atexit.unregister(self.remove)
        while self._all:
            self._all.pop().remove()
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip("link", "delete", self._bridge)


class DaskCluster:
    """A scheduler of dask on one machine, and a worker on each of three others.

    Args:
        machines: The first is the scheduler's; the fifth is left free.
        folder: Where the workers may write.
    """

    def __init__(self, machines: Machines, folder: Path) -> None:
        self.scheduler, *self.nodes, self.free = (machines[i] for i in range(5))
        self._folder = folder
        self._log = (folder / "log").open("a")
        self._running: dict[Machine, subprocess.Popen] = {}
        self._contexts: list[ClusterContext] = []
        self.revive()

    @property
    def address(self) -> str:
        """What names the scheduler."""
        return f"{self.scheduler.address}:{_PORT}"

    def url(self, lease: float) -> str:
        """Returns what names it to `get_context`."""
        return f"dask://{self.address}?lease={lease}"

    def context(self, lease: float) -> ClusterContext:
        """Returns the context of this cluster with a lease; it is closed with the cluster."""
        context = procession.get_context(self.url(lease))
        if context not in self._contexts:
            self._contexts.append(context)
        return context

    def revive(self) -> None:
        """Mends all links, starts what has ended, and waits until all are together."""
        for machine in (self.scheduler, *self.nodes, self.free):
            machine.mend()
        if not self._is_running(self.scheduler):
            for node in self.nodes:
                node.kill()
            self._start(self.scheduler, f"scheduler --port {_PORT} --no-show")
        for node in self.nodes:
            self.start_worker(node)
        try:
            wait_until(lambda: self.hosts() == [node.address for node in self.nodes])
        except AssertionError as error:
            error.add_note((self._folder / "log").read_text()[-5000:])
            raise

    def start_worker(self, node: Machine) -> None:
        """Starts a worker with room for two, where none is. If it ends, it is not started again."""
        if not self._is_running(node):
            options = f"--nthreads 2 --no-nanny --local-directory {self._folder}"
            self._start(node, f"worker tcp://{self.address} {options}")

    def _is_running(self, machine: Machine) -> bool:
        return machine in self._running and self._running[machine].poll() is None

    def _start(self, machine: Machine, words: str) -> None:
        command = f"-m dask {words} --host {machine.address} --no-dashboard".split()
        self._running[machine] = machine.run(
            sys.executable,
            *command,
            stdout=self._log,
            stderr=self._log,
            cwd=self._folder,
        )

    def hosts(self) -> list[str]:
        """Returns the addresses of the workers that the scheduler knows."""
        try:
            with distributed.Client(
                f"tcp://{self.address}", set_as_default=False, timeout=5
            ) as client:
                workers = client.scheduler_info(n_workers=-1)["workers"]
        except OSError:
            return []
        return sorted(worker["host"] for worker in workers.values())

    def kill_worker(self, node: Machine) -> None:
        """Kills the worker of a node, and nobody else who is there."""
        self._running[node].kill()
        self._running[node].wait()

    def strays(self) -> set[int]:
        """Returns the processes on nodes that no worker has below it: all it had are to end."""
        found = set()
        for node in self.nodes:
            worker = self._running[node]
            # In this order, as it may start some meanwhile.
            found |= node.pids() - {worker.pid, *descendants(worker.pid)}
        return found & {pid for node in self.nodes for pid in node.pids()}

    def close(self) -> None:
        """Kills it, and ends the connections of this process to it."""
        for context in self._contexts:
            context.close()
            # Nobody is to look for the scheduler at an address that is not of a bridge any more.
            context._backend.close()
            context_module._contexts.pop(context._name)
        for machine in (self.scheduler, *self.nodes, self.free):
            machine.kill()
        self._log.close()
