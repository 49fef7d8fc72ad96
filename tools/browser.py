"""The browser of tests and screenshots: Chromium, driven by Playwright."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, sync_playwright

from .client import Server

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
NODES_2, CLASSIC = "nodes 2.0", "classic"
READY = "() => window.app?.vueAppReady && window.app.graph"


@contextmanager
def launch() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=_chromium(), args=ARGUMENTS)


def open_page(browser: Browser, server: Server, mode: str, width=1600, height=1000) -> Page:
    """The server's page with nothing in the way, in `CLASSIC` mode or as `NODES_2`."""
    settings = {"Comfy.TutorialCompleted": True, "Comfy.VueNodes.Enabled": mode == NODES_2}
    for name, value in settings.items():
        server.post(f"/api/settings/{name}", value)
    page = browser.new_context(viewport={"width": width, "height": height}).new_page()
    page.goto(server.url)
    page.wait_for_function(READY)
    return page


def _chromium() -> str:
    for name in (os.environ.get("IMPRINT_CHROMIUM", ""), "chromium", "google-chrome"):
        if found := name and shutil.which(name):
            return found
    raise RuntimeError("There is no Chromium: set IMPRINT_CHROMIUM to one.")
