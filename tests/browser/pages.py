"""What all browser tests do with a page of the host."""

import importlib
import json
from itertools import combinations
from pathlib import Path

import in_host
from playwright.sync_api import Error

browser_tools = importlib.import_module("imprint_pack.tools.browser")

RUN = """
async (limit) => {
    const ends = ["execution_success", "execution_error", "execution_interrupted"];
    const end = new Promise((resolve) => {
        setTimeout(() => resolve({ end: `no end within ${limit} s` }), 1000 * limit);
        for (const end of ends) {
            const done = ({ detail }) => resolve({ ...detail, end });
            app.api.addEventListener(end, done, { once: true });
        }
    });
    const accepted = await app.queuePrompt(0);
    return accepted ? end : { end: "refused", errors: app.lastNodeErrors };
}
"""
TEXT = "() => document.body.innerText"
DRAWN = """
() => !LiteGraph.vueNodesMode || app.graph.nodes.every(
    ({ id }) => document.querySelector(`[data-node-id="${id}"]`)?.offsetHeight)
"""
# In Nodes 2.0 the elements are what is seen, and what sticks out of one covers its neighbours too.
BOXES = """
() => {
    const { ds, canvas } = app.canvas;
    const corner = canvas.getBoundingClientRect();
    const bounds = (node) => {
        if (!LiteGraph.vueNodesMode) return Array.from(node.getBounding());
        const element = document.querySelector(`[data-node-id="${node.id}"]`);
        const parts = [element, ...element.querySelectorAll("*")];
        const shapes = parts.map((part) => part.getBoundingClientRect());
        const seen = shapes.filter(({ width, height }) => width && height);
        const left = Math.min(...seen.map((shape) => shape.left));
        const top = Math.min(...seen.map((shape) => shape.top));
        return [
            (left - corner.left) / ds.scale - ds.offset[0],
            (top - corner.top) / ds.scale - ds.offset[1],
            (Math.max(...seen.map((shape) => shape.right)) - left) / ds.scale,
            (Math.max(...seen.map((shape) => shape.bottom)) - top) / ds.scale,
        ];
    };
    return Object.fromEntries(app.graph.nodes.map((node) => [node.id, bounds(node)]));
}
"""


SLOT = 8  # pixels


class SharedPage:
    """A page for one test after another, for to open one takes ten seconds.

    Where a test leaves more behind than a workflow in the one tab (an open panel, another tab, a
    changed setting), the next one gets a page as after a first visit.
    """

    def __init__(self, browser, server, mode: str):
        self.server, self.mode, self.errors, self.page, self.given = server, mode, [], None, {}
        self.context = browser.new_context(viewport={"width": 1600, "height": 1000})
        # Of the context, which hears what is said while a page opens.
        self.context.on("console", self._note)
        self.context.on("weberror", lambda event: self._keep(f"{event.error.stack}"))

    def start(self, settings: dict | None = None):
        """The page, blank; what the pack writes into its console as an error goes to `errors`."""
        self.errors.clear()
        if self.page and self.given != (settings or {}):
            self.page.close()
            self.page = None
        if not self.page:
            self.given = settings or {}
            _settings_file(self.server).unlink(missing_ok=True)
            self.page = browser_tools.visit(self.context, self.server, self.mode, self.given)
            self.blank = self.page.evaluate(TEXT), self._settings()
        return self.page

    def end(self) -> None:
        if not self._is_as_before():
            self.page.close()
            self.page = None

    def _is_as_before(self) -> bool:
        text, settings = self.blank
        try:
            self.page.evaluate(browser_tools.LOAD, browser_tools.BLANK)
            # Notes about a run go by themselves.
            self.page.wait_for_function(f"text => ({TEXT})() === text", arg=text, timeout=6000)
        except Error:  # among others of a page that a test has closed
            return False
        return self._settings() == settings

    def _settings(self) -> dict:
        settings = self.server.get("/api/settings")
        settings.pop("Comfy.VueNodes.Enabled", None)  # of the mode that was opened last
        return settings

    def _note(self, message) -> None:
        if message.type == "error":
            self._keep(f"{message.text}\n{message.location['url']}")

    def _keep(self, text: str) -> None:
        if f"/extensions/{in_host.ROOT.name}/" in text:
            self.errors.append(text)


def _settings_file(server) -> Path:
    return server.log.parent / "user" / "default" / "comfy.settings.json"


def load(page, workflow: dict | Path) -> None:
    """Opens a workflow as the browser saves it, a file or its content, in the tab that is open."""
    if isinstance(workflow, Path):
        workflow = json.loads(workflow.read_text("utf-8"))
    page.evaluate(browser_tools.LOAD, workflow)


def run(page, limit: float = 120) -> None:
    """Runs the workflow and waits for its success.

    A refusal, a node's error, an interruption, or no end within `limit` seconds is a RuntimeError
    with the host's details. What ran before with the same inputs comes from the server's cache.
    """
    end = page.evaluate(RUN, limit)
    if end["end"] != "execution_success":
        raise RuntimeError(json.dumps(end, indent=1))


def boxes(page) -> dict[str, list[float]]:
    """What each node covers, by its id: left, top, width and height in the graph's coordinates.

    Title included; in Nodes 2.0 the real sizes of the elements. The graph must be in view.
    """
    page.wait_for_function(DRAWN)
    return page.evaluate(BOXES)


def overlaps(page) -> list[tuple[str, str]]:
    """Pairs of nodes that cover each other, by more than the dots of their slots stick out."""
    found = boxes(page)
    return [pair for pair in combinations(found, 2) if _meet(*(found[node] for node in pair))]


def _meet(one: list[float], other: list[float]) -> bool:
    ends = [
        (min(a + size, b + extent), max(a, b))
        for a, size, b, extent in zip(one[:2], one[2:], other[:2], other[2:], strict=True)
    ]
    return all(end - start > SLOT for end, start in ends)
