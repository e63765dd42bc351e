"""Chromium for tests that open a page: Debian's, driven by selenium, or a reason to skip."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

NAMES = ["chromium", "chromium-browser", "google-chrome"]


@contextmanager
def chromium(folder: Path) -> Iterator[Any]:
    """Starts a browser that keeps all its files in a folder; gives selenium's driver of it."""
    if find_spec("selenium") is None:
        pytest.skip("selenium is not installed: pip install --group clients")
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("no Chromium here: apt-get install chromium chromium-driver")
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    options.binary_location = browser
    for option in (
        "headless=new",
        "no-sandbox",  # Root, as in a container, gets none.
        "disable-gpu",
        "disable-dev-shm-usage",
        "window-size=1280,800",
        # A page is not to load anything from elsewhere.
        "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        f"user-data-dir={folder}/profile",
    ):
        options.add_argument(f"--{option}")
    opened = Chrome(options=options, service=ChromeService(driver))
    try:
        yield opened
    finally:
        opened.quit()
