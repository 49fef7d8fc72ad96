"""`make screenshots`: README's pictures of the browser, media/quick_start_*.png."""

import json
import sys

from .browser import NODES_2, launch, open_page
from .environment import ROOT
from .host import set_up
from .server import serve

NAME = "Edit a picture with words (no download)"
RUN = """() => new Promise((done) => {
  app.api.addEventListener("execution_success", done);
  app.queuePrompt(0);
})"""
SETTLED = 2500  # milliseconds until pictures are loaded and notices are gone


def main() -> None:
    workflow = json.loads((ROOT / "example_workflows" / f"{NAME}.json").read_text())
    with serve(set_up()) as server, launch() as browser:
        page = open_page(browser, server, NODES_2, width=1200, height=720)
        page.evaluate("([w, name]) => app.loadGraphData(w, true, true, name)", [workflow, NAME])
        page.wait_for_timeout(SETTLED)
        page.screenshot(path=ROOT / "media" / "quick_start_1.png")
        page.evaluate(RUN)
        page.wait_for_timeout(SETTLED)
        page.screenshot(path=ROOT / "media" / "quick_start_2.png")


if __name__ == "__main__":
    try:
        main()
    except RuntimeError as error:
        sys.exit(str(error))
