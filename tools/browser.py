"""The browser of tests and screenshots: Chromium, driven by Playwright."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from . import web
from .client import Server

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-webgl", "--disable-quic", "--no-first-run",
    "--disable-sync", "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
INSTALLED = (
    "chromium",
    "google-chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
NODES_2, CLASSIC = "nodes 2.0", "classic"
# First visits otherwise open the template browser, and the first app a tour.
SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.OnboardingCoachmarks.Seen": ["appMode", "firstRun"],
}
BLANK = {"nodes": [], "links": [], "version": 0.4}
# The host opens its default workflow, and complains about models, by a call without a workflow.
START = f"""
Object.defineProperty(window, "app", {{ configurable: true, set(app) {{
    Object.defineProperty(window, "app", {{ value: app, configurable: true, writable: true }});
    const load = app.loadGraphData.bind(app);
    app.loadGraphData = (workflow = {json.dumps(BLANK)}, ...more) => load(workflow, ...more);
}} }});
"""
READY = """() => window.app?.vueAppReady && app.graph
    && app.extensionManager.workflow.activeWorkflow
    && document.querySelector("[data-testid=queue-button]")"""
OPEN_LIMIT = 180_000  # milliseconds
# Into the tab that is open; a plain `loadGraphData` opens another.
LOAD = """workflow => app.loadGraphData(
    workflow, true, true, app.extensionManager.workflow.activeWorkflow)"""


@contextmanager
def launch() -> Iterator[Browser]:
    """The Chromium that `IMPRINT_CHROMIUM` names, or the pinned one where it runs."""
    chosen = os.environ.get("IMPRINT_CHROMIUM")
    with sync_playwright() as playwright:
        if web.HAS_CHROMIUM and not chosen:
            folder = web.set_up()
            path, environment = folder / "chromium" / "chromium", _environment(folder)
        else:
            path, environment = _installed(chosen), None
        yield playwright.chromium.launch(executable_path=path, env=environment, args=ARGUMENTS)


def open_page(browser: Browser, server: Server, mode: str, width=1600, height=1000) -> Page:
    """The server's page, blank, with nothing in the way; in `CLASSIC` mode or as `NODES_2`."""
    return visit(browser.new_context(viewport={"width": width, "height": height}), server, mode)


def visit(context: BrowserContext, server: Server, mode: str, settings: dict | None = None) -> Page:
    """As `open_page`, in a context whose cache an earlier visit has filled, as a first visit."""
    given = SETTINGS | {"Comfy.VueNodes.Enabled": mode == NODES_2} | (settings or {})
    for name, value in given.items():
        server.post(f"/api/settings/{name}", value)
    page = context.new_page()
    storage = {"origin": server.url, "storageTypes": "local_storage"}
    context.new_cdp_session(page).send("Storage.clearDataForOrigin", storage)
    page.add_init_script(START)
    page.goto(server.url, timeout=OPEN_LIMIT)
    page.wait_for_function(READY, timeout=OPEN_LIMIT)
    return page


def _environment(folder: Path) -> dict[str, str | float | bool]:
    """For machines that lack what Chromium links to; with its own fonts on all."""
    return {
        **os.environ,
        "LD_LIBRARY_PATH": str(folder / "chromium" / "al2023" / "lib"),
        "FONTCONFIG_FILE": str(folder / "fonts.conf"),
    }


def _installed(chosen: str | None) -> str:
    for name in (chosen,) if chosen else INSTALLED:
        if found := shutil.which(name):
            return found
    raise RuntimeError("There is no Chromium: set IMPRINT_CHROMIUM to one.")
