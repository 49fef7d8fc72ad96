"""Inspect Noise Maps as a viewer, by mouse and keyboard."""

import re
from types import SimpleNamespace

import demo_graph
import pages
import pytest

STEPS = 100
ON_SCREEN, OFF_SCREEN = (300, 150), (-6000, 150)
ROWS = [
    *demo_graph.invert(STEPS),
    ("viewer", "ImprintInspectNoiseMaps", (0, 0), {}, {"noise_maps": ("inverted", 0)}),
]
GONE = """() => {
  const { right, width } = document.querySelector(".imprint-viewer").getBoundingClientRect();
  return right < 0 || width === 0;
}"""
PICTURES = """() =>
  [...document.querySelectorAll(".imprint-viewer canvas")].map((canvas) => canvas.toDataURL())"""


@pytest.fixture(scope="module")
def opened(kept):
    """A page with a viewer that was out of sight while its workflow ran."""
    page, requests = kept.start(), []
    page.on("request", lambda request: requests.append(request.url))
    demo_graph.build(page, ROWS)
    demo_graph.look(page, *OFF_SCREEN)
    page.wait_for_function(GONE)
    pages.run(page)
    return SimpleNamespace(page=page, requests=requests)


def sheets(opened) -> list[str]:
    """The pictures that the viewer asked for."""
    return [url for url in opened.requests if "filename=imprint_" in url]


def step(page) -> int:
    return int(re.match(r"step (\d+) of 99", page.inner_text(".imprint-viewer output"))[1])


@pytest.fixture
def page(opened, kept):
    """The same page, its viewer in sight; whatever the test does must leave no error."""
    demo_graph.look(opened.page, *ON_SCREEN)
    opened.page.wait_for_function(f"() => ({PICTURES})()[2].length > 1000")
    yield opened.page
    assert kept.errors == []


def test_nothing_is_requested_before_it_is_shown(opened):
    opened.page.wait_for_timeout(1000)
    assert sheets(opened) == []
    demo_graph.look(opened.page, *ON_SCREEN)
    opened.page.wait_for_function(f"() => ({PICTURES})()[2].length > 1000")
    assert len(sheets(opened)) == 3


def test_the_hosts_large_picture_gives_way(page):
    assert page.evaluate("() => !app.graph._nodes.find((n) => n.comfyClass.includes('Ins')).imgs")
    assert page.locator("[data-node-id] img:visible").count() == 0


def test_keys_go_through_the_steps(page):
    page.click(".imprint-viewer figcaption >> nth=0")
    page.keyboard.press("Home")
    assert step(page) == 0
    noisy = page.evaluate(PICTURES)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert step(page) == 1
    page.keyboard.press("End")
    assert step(page) == STEPS - 1
    assert all(a != b for a, b in zip(noisy, page.evaluate(PICTURES), strict=True))


def test_the_mouse_goes_through_the_steps(page):
    for place, part in ((0.75, "input"), (0.25, ".plot >> nth=0"), (0.5, ".plot >> nth=1")):
        box = page.locator(f".imprint-viewer {part}").bounding_box()
        page.mouse.click(box["x"] + place * box["width"], box["y"] + box["height"] / 2)
        assert abs(step(page) - place * STEPS) < 4
    start = box["x"] + place * box["width"]
    page.mouse.move(start, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(start + 0.25 * box["width"], box["y"] + 20, steps=4)
    page.mouse.up()
    assert abs(step(page) - 75) < 4
    assert "expected" in page.inner_text(".imprint-viewer .words >> nth=0")


def test_step_and_image_stay_in_the_workflow(opened, page):
    before = len(sheets(opened))
    page.select_option(".imprint-viewer select", "1")
    page.wait_for_timeout(500)
    assert len(sheets(opened)) == before + 3
    page.focus(".imprint-viewer")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    workflow = page.evaluate("() => app.graph.serialize()")
    page.evaluate("(workflow) => app.loadGraphData(workflow)", workflow)
    page.wait_for_timeout(1000)
    assert "Run the workflow" in page.locator(".imprint-viewer .note").last.inner_text()
    pages.run(page)  # from the cache
    demo_graph.look(page, *ON_SCREEN)
    assert page.input_value(".imprint-viewer select") == "1"
    assert step(page) == 1


def test_colours_follow_the_theme(page):
    colours = []
    for theme in ("light", "dark"):
        page.evaluate("(t) => app.extensionManager.setting.set('Comfy.ColorPalette', t)", theme)
        page.wait_for_timeout(300)
        read = "(e) => getComputedStyle(e).color"
        colours.append(page.eval_on_selector(".imprint-viewer output", read))
    light, dark = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in colours)
    assert light < 200 < 500 < dark
