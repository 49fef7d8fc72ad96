"""Help in the host's narrow panel and words on nodes, as a user sees them, also translated."""

import json

import in_host
import pytest

LANGUAGE = "ko"
WORDS = json.loads((in_host.ROOT / "locales" / LANGUAGE / "nodeDefs.json").read_text("utf-8"))
ADD = """type => {
    const node = LiteGraph.createNode(type);
    node.pos = [700, 200];
    app.graph.clear();
    app.graph.add(node);
    app.canvas.ds.scale = 1;
    app.canvas.ds.offset = [0, 0];
    app.canvas.setDirty(true, true);
}"""
# Once the panel has come to rest.
INSIDE = """panel => [...panel.querySelectorAll("*")].every(part =>
    part.getBoundingClientRect().right <= panel.getBoundingClientRect().right + 1)"""
LOADED = "image => image.complete && image.naturalWidth > 0"
WIDGETS = "() => app.graph.nodes[0].widgets.map(w => [w.name, w.label, w.tooltip])"


@pytest.fixture(autouse=True)
def without_english_under_its_language(page, shared_pages):
    """The host asks for `en.md` first, as for any language, and then for the page itself."""
    yield
    for shared in shared_pages.values():
        shared.errors[:] = [error for error in shared.errors if not error.endswith("/en.md")]


@pytest.fixture
def language(request) -> str:
    return request.param


@pytest.fixture
def page_settings(language) -> dict:
    return {"Comfy.Locale": language}


def open_help(page, node):
    """The panel with the help of a node, alone on the canvas."""
    button = page.get_by_test_id("info-button").first
    for _ in range(10):  # a page that is still starting misses clicks, or loads another workflow
        page.evaluate(ADD, node)
        page.wait_for_timeout(300)
        page.mouse.click(790, 183)
        page.wait_for_timeout(1000)
        if button.is_visible():
            break
    button.click()
    return page.locator(".node-help-content")


def check_help(page, title):
    panel = open_help(page, "ImprintEFDDPMInvert")
    panel.locator("h1").get_by_text(title, exact=True).wait_for()
    page.wait_for_function(LOADED, arg=panel.locator("img").element_handle())
    page.wait_for_function(INSIDE, arg=panel.element_handle())


@pytest.mark.parametrize("language", ["en"], indirect=True)
def test_help_fits_the_panel(language, page):
    check_help(page, "EF-DDPM Invert")


@pytest.mark.parametrize("language", [LANGUAGE], indirect=True)
def test_translated_names_tooltips_and_help(language, page):
    for node in ("ImprintNoiseMapEdit", "ImprintNullTextOptimize"):
        page.evaluate(ADD, node)
        settings = [widget for widget in page.evaluate(WIDGETS) if "." in widget[0]]
        assert settings
        for name, *shown in settings:
            word = WORDS[node]["inputs"][name.replace(".", "_")]
            assert shown == [word["name"], word["tooltip"]]
    check_help(page, WORDS["ImprintEFDDPMInvert"]["display_name"])
