"""`procession dashboard`: a page that only who was given its address can see."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import procession
import pytest
from library import PATIENCE, wait_until
from targets import view as targets

pytestmark = pytest.mark.procession_only("nobody can look there")

COMMAND = [sys.executable, "-m", "procession"]


class Server:
    """A dashboard, with the address that it has printed."""

    def __init__(self, *arguments: object) -> None:
        command = [*COMMAND, "dashboard", *map(str, arguments)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()
        found = re.fullmatch(
            r"http://127\.0\.0\.1:(\d+)/\?token=([\w-]{20,})", self.url
        )
        assert found, self.url
        self.port, self.token = int(found[1]), found[2]

    def get(self, path: str, **headers: str) -> tuple[int, str, dict]:
        """Returns the status, the text and the headers of an answer."""
        url = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(url, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode(), dict(error.headers)

    def data(self) -> dict:
        status, text, headers = self.get(f"/data?token={self.token}")
        assert status == 200, text
        assert headers["Content-Type"] == "application/json; charset=utf-8"
        return json.loads(text)

    def stop(self) -> int:
        """Interrupts it, as Ctrl-C does; returns its exit code."""
        self.process.send_signal(signal.SIGINT)
        with self.process:
            return self.process.wait(PATIENCE)


@pytest.fixture
def server(mp):
    """Returns a dashboard of the family of this process."""
    event = mp.Event()
    server = Server(os.getpid())
    yield server
    assert server.stop() == 0
    assert not event.is_set()


def without_times(look: dict) -> dict:
    """Returns what two looks at a family that waits have in common."""
    for family in look["families"]:
        for member in family["members"]:
            for changing in "age", "cpu", "state", "waits_for", "threads", "resident":
                del member[changing]
        for pool in family["pools"]:
            for worker in pool["workers"]:
                del worker["running"]
        del family["shared_bytes"]
    return look


def test_data_are_those_of_ps(server, mp) -> None:
    told, gate = mp.Semaphore(0), mp.Semaphore(0)
    queue = mp.Queue(7)
    queue.put_many([1, 2, 3])
    with mp.Pool(2) as pool:
        results = [
            pool.apply_async(targets.tell_and_wait, (told, gate)) for _ in range(5)
        ]
        for _ in range(2):
            assert told.acquire(timeout=PATIENCE)
        deadline = time.monotonic() + PATIENCE
        while True:
            # The same before and after: no spare process has come meanwhile.
            seen = [look() for look in (ps, server.data, ps)]
            one, two, three = map(without_times, seen)
            if one == three:
                break
            assert time.monotonic() < deadline
        for _ in results:
            gate.release()
        assert all(result.get(PATIENCE) for result in results)
    assert one == two
    (family,) = two["families"]
    begun = [each["begun"] for own in family["pools"] for each in own["workers"]]
    assert begun.count(1) >= 2
    assert [3, 7] in [[each["items"], each["limit"]] for each in family["queues"]]


def ps() -> dict:
    command = [*COMMAND, "ps", str(os.getpid()), "--json"]
    return json.loads(subprocess.check_output(command, timeout=PATIENCE))


def rows(browser, title: str) -> list[list[str]]:
    """Returns the cells of the table below a title; none while the page has no such."""
    found = """
        const title = [...document.querySelectorAll("h2")].find(
            title => title.textContent.startsWith(arguments[0]));
        const rows = title?.parentElement.querySelectorAll("tr") ?? [];
        return [...rows].slice(1).map(row => [...row.cells].map(cell => cell.textContent.trim()));
    """
    return browser.execute_script(found, title)


@pytest.mark.slow
@pytest.mark.methods("fork")  # The page shows what /data has, under any.
def test_page_shows_in_a_browser_what_ps_tells(server, mp, browser) -> None:
    told, gate = mp.Semaphore(0), mp.Semaphore(0)
    queue = mp.Queue(7)
    queue.put_many([1, 2, 3])
    browser.get(server.url)
    with mp.Pool(2) as pool:
        results = [
            pool.apply_async(targets.tell_and_wait, (told, gate)) for _ in range(5)
        ]
        for _ in range(2):
            assert told.acquire(timeout=PATIENCE)
        (family,) = ps()["families"]
        (own,) = family["pools"]
        members = {str(one["pid"]): one["name"] for one in family["members"]}
        workers = [
            [str(one[of]) for of in ("index", "pid", "begun", "queued")]
            for one in own["workers"]
        ]
        # It looks each second.
        wait_until(
            lambda: (
                {row[0]: row[1] for row in rows(browser, "Processes")} == members
                and [row[:4] for row in rows(browser, "Pool")] == workers
            )
        )
        functions = {row[5] for row in rows(browser, "Pool")}
        queues = [row[1:4] for row in rows(browser, "Queues")]
        for _ in results:
            gate.release()
        assert all(result.get(PATIENCE) for result in results)
    assert functions == {f"{targets.__name__}.tell_and_wait"}
    assert ["3", "7", "3"] in queues
    assert server.stop() == 0
    status = browser.find_element("id", "status")
    wait_until(lambda: "the dashboard has ended" in status.text)
    assert str(os.getpid()) in [row[0] for row in rows(browser, "Processes")]


@pytest.mark.parametrize("path", ["/", "/data", "/?token=", "/data?token=wrong", "/x"])
def test_who_has_not_the_token_is_refused(server, path) -> None:
    status, text, _ = server.get(path)
    assert status == 403
    assert server.token not in text
    assert "families" not in text


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1"])
def test_page_of_a_name_that_was_made_to_lead_here_is_refused(server, host) -> None:
    for path in "/", "/data":
        status, text, _ = server.get(
            f"{path}?token={server.token}", Host=host.format(port=server.port)
        )
        assert status == 403
        assert "families" not in text
    own = f"localhost:{server.port}"
    assert server.get(f"/data?token={server.token}", Host=own)[0] == 200


def test_page_comes_whole_and_asks_no_other_host(server) -> None:
    status, page, headers = server.get(f"/?token={server.token}")
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    policy = headers["Content-Security-Policy"]
    nonce = re.search("script-src 'nonce-([^']+)'", policy)[1]
    assert page.count(f'<script nonce="{nonce}">') == page.count("<script") == 2
    assert "uPlot" in page
    assert ".u-legend" in page
    assert not re.findall(r"""(?:src|href)=["']""", page)
    assert "default-src 'none'" in policy
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert server.get(f"/other?token={server.token}")[0] == 404


def test_nobody_else_can_reach_the_port(server) -> None:
    listening = Path("/proc/net/tcp").read_text().splitlines()[1:]
    local = [line.split()[1] for line in listening if line.split()[3] == "0A"]
    assert f"0100007F:{server.port:04X}" in local
    assert f"00000000:{server.port:04X}" not in local


def test_end_of_the_family_is_seen_and_survived() -> None:
    program = (
        "import procession; event = procession.Event(); print(flush=True); input()"
    )
    family = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with family:
        family.stdout.readline()
        server = Server(family.pid)
        (seen,) = server.data()["families"]
        assert [member["pid"] for member in seen["members"]] == [family.pid]
        family.communicate("\n", PATIENCE)
    assert server.data()["families"] == []
    page = server.get(f"/?token={server.token}")[1]
    assert f'const pid = "{family.pid}";' in page
    assert "the family of process ${pid} has ended" in page
    assert server.stop() == 0


def test_port_can_be_chosen_and_one_that_is_taken_is_told(mp) -> None:
    event = mp.Event()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*COMMAND, "dashboard", str(os.getpid()), "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert done.returncode == 1
    assert "Address already in use" in done.stderr
    server = Server(os.getpid(), "--port", port)
    assert server.port == port
    assert server.stop() == 0
    assert not event.is_set()


def test_process_without_a_family_is_refused() -> None:
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        done = subprocess.run(
            [*COMMAND, "dashboard", str(stranger.pid)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 1
        assert f"process {stranger.pid} belongs to no family" in done.stderr
    finally:
        stranger.kill()
        stranger.wait()


def test_reader_that_hangs_up_ends_nothing(server) -> None:
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", server.port)) as hasty:
            hasty.sendall(f"GET /?token={server.token} HTTP/1.1\r\n".encode())
    assert server.data()["families"]
    assert procession.openmetrics(os.getpid())
