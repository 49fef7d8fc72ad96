"""The picture of Noise Map Edit that is dragged, by mouse and keyboard."""

import demo_graph
import pages
import pytest

ROWS = [
    *demo_graph.invert(10),
    ("edit", "ImprintNoiseMapEdit", (0, 0), {}, {"noise_maps": ("inverted", 0)}),
    (
        "sample",
        "ImprintInvertedSampler",
        (500, 0),
        {},
        demo_graph.WIRES | {"noise_maps": ("edit", 0)},
    ),
    ("decode", "VAEDecode", (900, 0), {}, {"samples": ("sample", 0), "vae": ("model", 2)}),
    ("show", "PreviewImage", (900, 200), {}, {"images": ("decode", 0)}),
]
PAD = ".imprint-shift canvas"
VALUE = """(name) => app.graph._nodes.find((node) => node.comfyClass === "ImprintNoiseMapEdit")
  .widgets.find((widget) => widget.name === name)?.value"""
CHOOSE = """(choice) => {
  const node = app.graph._nodes.find((node) => node.comfyClass === "ImprintNoiseMapEdit");
  const widget = node.widgets.find((widget) => widget.name === "operation");
  widget.value = choice;
  widget.callback?.(choice, app.canvas, node);
}"""


@pytest.fixture(scope="module")
def opened(kept):
    """A page with an edit that has not run yet."""
    page = kept.start()
    demo_graph.build(page, ROWS)
    demo_graph.look(page, 300, 150)
    return page


@pytest.fixture
def page(opened, kept):
    yield opened
    assert kept.errors == []


def shift(page) -> tuple[int, int]:
    return tuple(page.evaluate(VALUE, f"operation.{side}") for side in "xy")


def drag(page, right: float, down: float) -> None:
    """Drags from the middle by these shares of the picture, which is a square."""
    box = page.locator(PAD).bounding_box()
    side = min(box["width"], box["height"])
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + right * side, y + down * side, steps=5)
    page.mouse.up()


def test_before_a_run_an_empty_frame_is_dragged_by_cells_of_8_pixels(page):
    assert shift(page) == (24, 0)
    drag(page, 0.25, -0.125)
    x, y = shift(page)
    assert abs(x - (24 + 128)) <= 8
    assert abs(y + 64) <= 8
    assert x % 8 == y % 8 == 0
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowDown")
    assert shift(page) == (x - 24, y + 8)


def test_a_run_shows_the_picture_and_its_cells(page):
    empty = page.eval_on_selector(PAD, "(canvas) => canvas.toDataURL()")
    page.evaluate(CHOOSE, "flip")
    page.evaluate(CHOOSE, "shift")  # with its defaults
    pages.run(page)
    changed = f"(before) => document.querySelector('{PAD}').toDataURL() !== before"
    page.wait_for_function(changed, arg=empty)
    drag(page, -0.5, 0.25)
    x, y = shift(page)
    assert abs(x - (24 - 16)) <= 1
    assert abs(y - 8) <= 1
    page.keyboard.press("ArrowUp")
    assert shift(page) == (x, y - 1)
    drag(page, 3, 0)
    assert shift(page) == (31, y - 1)  # some of the 32 pixels stays
    pages.run(page)


def test_the_picture_is_there_for_shift_only(page):
    page.evaluate(CHOOSE, "colour")
    page.wait_for_timeout(300)
    assert not page.locator(PAD).is_visible()
    assert page.evaluate(VALUE, "operation.colour") == "#2060c0"
    pages.run(page)
    page.evaluate(CHOOSE, "shift")
    page.locator(PAD).wait_for(state="visible")


def test_a_reload_keeps_the_shift_and_what_a_cell_is(page):
    drag(page, -0.5, 0.25)
    kept = shift(page)
    workflow = page.evaluate("() => app.graph.serialize()")
    page.evaluate("(workflow) => app.loadGraphData(workflow)", workflow)
    page.wait_for_timeout(1000)
    demo_graph.look(page, 300, 150)
    assert shift(page) == kept
    page.focus(".imprint-shift")
    page.keyboard.press("ArrowRight")
    assert shift(page) == (kept[0] + 1, kept[1])
    pages.run(page)
