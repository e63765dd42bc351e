"""A head of a Ray cluster with a server for Ray's clients, as a process of this machine."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from process_tree import descendants, kill
from procession.testing import wait_until

_ROOT = Path(__file__).parents[2]


def free_port() -> int:
    """Returns a port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Head:
    """The head of a cluster with one node, at a port for clients; a context manager.

    Args:
        port: Where its server for clients is to listen; a free one by default.
    """

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        # Short, for the names of sockets, and not below what pytest removes.
        self._folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        self._log = (self._folder / "head").open("w")
        path = os.pathsep.join([str(_ROOT / "python"), str(Path(__file__).parent)])
        options = f"--port={free_port()} --num-cpus=4 --include-dashboard=false --block"
        self._process = subprocess.Popen(
            (
                Path(sys.executable).with_name("ray"),
                *("start", "--head", *options.split()),
                f"--ray-client-server-port={self.port}",
                f"--temp-dir={self._folder}",
            ),
            stdout=self._log,
            stderr=self._log,
            # Its server forks for each client, and grpc's handlers of that may stop it for ever.
            env={**os.environ, "PYTHONPATH": path, "GRPC_ENABLE_FORK_SUPPORT": "0"},
        )
        try:
            wait_until(self._answers)
        except AssertionError as error:
            error.add_note((self._folder / "head").read_text()[-5000:])
            self.kill()
            raise

    def _answers(self) -> bool:
        assert self._process.poll() is None
        if "Ray runtime started" not in (self._folder / "head").read_text():
            return False
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        return False

    @property
    def url(self) -> str:
        """What names it to `get_context`."""
        return f"ray://127.0.0.1:{self.port}"

    def pids(self, words: str) -> list[int]:
        """Returns its processes whose command has some words in it."""
        found = []
        for pid in descendants(self._process.pid):
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
                if words.encode() in command:
                    found.append(pid)
        return found

    def kill(self) -> None:
        """Kills all of it at once."""
        pids = {self._process.pid, *descendants(self._process.pid)}
        for pid in pids:  # So that nobody sees another die and starts a new one.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        kill(pids | {*descendants(self._process.pid)})
        self._process.wait()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
