"""The command `dashboard`: what `ps` tells, as a live page for a browser on this machine.

    python -m procession dashboard [PID] [--port N]

The server listens on 127.0.0.1 alone, and answers nobody who does not know its token: other
users of the machine and pages of other sites can reach the port, too. The page and all that
it needs come from here; it asks no other host.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from urllib.parse import parse_qs, urlsplit

from . import _procession

__all__ = ["Dashboard", "main"]

_ADDRESS = "127.0.0.1"


class Dashboard(ThreadingHTTPServer):
    """Serves the page of the family of a process, or of all families of this user.

    Args:
        pid: The process; None for all families.
        port: Where it listens on 127.0.0.1; 0 for any free port.

    Raises:
        NotImplementedError: The family is of another version.
        OSError: The port is taken, or the process is another user's, or there is none.
        ValueError: The process belongs to no family.
    """

    daemon_threads = True

    def __init__(self, pid: int | None, port: int = 0) -> None:
        # A family that is mapped once is seen until its last process has ended.
        self.watcher = _procession.Watcher(pid)
        self.watcher.look("json")
        super().__init__((_ADDRESS, port), _Answer)
        self.pid = pid
        self.token = secrets.token_urlsafe(24)
        # The names under which a browser may have found it; another is that of a site that has
        # its name lead here.
        self.hosts = {f"{name}:{self.server_port}" for name in (_ADDRESS, "localhost")}

    @property
    def url(self) -> str:
        """The address of the page, with the token."""
        return f"http://{_ADDRESS}:{self.server_port}/?token={self.token}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Tells of what went wrong with a request, unless its reader has hung up."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def page(self, nonce: str) -> str:
        """Returns the page; scripts with the nonce run in it, and no others."""
        files = resources.files(__package__)
        page = files.joinpath("dashboard.html").read_text("utf-8")
        page = page.replace("{nonce}", nonce)
        page = page.replace(
            "{family of pid}", "" if self.pid is None else str(self.pid)
        )
        for name in "uplot.css", "uplot.js":
            text = files.joinpath("uplot", name).read_text("utf-8")
            page = page.replace(f"/*{name}*/", text)
        return page


class _Answer(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Dashboard
    server_version = "procession"
    sys_version = ""

    def do_GET(self) -> None:
        """Answers with the page or with the data."""
        url = urlsplit(self.path)
        given = parse_qs(url.query).get("token", [""])[0]
        if self.headers.get("Host") not in self.server.hosts:
            self._refuse(HTTPStatus.FORBIDDEN, "this name does not lead to a dashboard")
        elif not secrets.compare_digest(given.encode(), self.server.token.encode()):
            message = "open the address that `procession dashboard` has printed"
            self._refuse(HTTPStatus.FORBIDDEN, message)
        elif url.path == "/":
            nonce = secrets.token_urlsafe(16)
            policy = (
                f"default-src 'none'; script-src 'nonce-{nonce}'; "
                "style-src 'unsafe-inline'; connect-src 'self'; "
                "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            )
            self._send(self.server.page(nonce), "text/html", policy=policy)
        elif url.path == "/data":
            try:
                data = self.server.watcher.look("json")
            except (NotImplementedError, OSError, ValueError) as error:
                self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
            else:
                self._send(data, "application/json")
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "there is / and /data")

    def log_message(self, format: str, *args: object) -> None:
        """Tells nothing: the token is in what would be told."""

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        self._send(f"{message}\n", "text/plain", status=status)

    def _send(
        self,
        text: str,
        kind: str,
        *,
        status: HTTPStatus = HTTPStatus.OK,
        policy: str = "default-src 'none'",
    ) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", policy)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)


def main(args: list[str]) -> int:
    """Runs the command until it is interrupted; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="procession dashboard",
        description="Shows processes, pools and queues on a page for a browser of this machine.",
    )
    parser.add_argument(
        "pid",
        nargs="?",
        type=int,
        metavar="PID",
        help="the family of this process; by default all of this user",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=0,
        metavar="N",
        help="listen on this port of 127.0.0.1; by default on any that is free",
    )
    chosen = parser.parse_args(args[1:])
    try:
        dashboard = Dashboard(chosen.pid, chosen.port)
    except (NotImplementedError, OSError, OverflowError, ValueError) as error:
        print(f"procession dashboard: {error}", file=sys.stderr)
        return 1
    with dashboard:
        try:
            print(f"{dashboard.url}\nCtrl-C ends it.", flush=True)
            dashboard.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0
