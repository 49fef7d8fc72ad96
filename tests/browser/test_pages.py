"""The browser tests' own tools on the real page; each must be able to fail."""

import in_host
import pages
import pytest

NODE = {"flags": {}, "mode": 0, "order": 0, "inputs": [], "outputs": [], "size": [400, 200]}


def graph(*nodes: dict, links=()) -> dict:
    return {"version": 0.4, "nodes": [NODE | node for node in nodes], "links": [*links]}


def text_node(number: int, left: float) -> dict:
    value = f"text of {number}"
    return {
        "id": number, "type": "PrimitiveString", "pos": [left, 80], "widgets_values": [value],
        "outputs": [{"name": "STRING", "type": "STRING", "links": [7]}],
    }  # fmt: skip


def shown_text(left: float = 600) -> dict:
    links = [[7, 1, 0, 2, 0, "STRING"]]
    shower = {
        "id": 2, "type": "PreviewAny", "pos": [left, 80],
        "inputs": [{"name": "source", "type": "*", "link": 7}],
    }  # fmt: skip
    return graph(text_node(1, 80), shower, links=links)


def test_page_is_blank_and_nothing_is_in_the_way(page):
    assert page.evaluate("() => app.graph.nodes.length") == 0
    assert page.locator("[role=dialog]").count() == 0
    assert page.evaluate("() => !!LiteGraph.registered_node_types.ImprintEFDDPMInvert")


def test_overlaps_are_seen(page):
    pages.load(page, shown_text())
    assert {*pages.boxes(page)} == {"1", "2"}
    left, top, width, height = pages.boxes(page)["2"]
    assert (left, top) == pytest.approx((600, 50), abs=8)
    assert (width, height) == pytest.approx((400, 230), abs=60)
    assert pages.overlaps(page) == []
    pages.load(page, shown_text(left=460))
    assert pages.overlaps(page) == [("1", "2")]


def test_success_ends_a_run_and_a_refusal_is_an_error(page):
    pages.load(page, shown_text())
    pages.run(page)
    pages.load(page, graph({"id": 1, "type": "ImprintReconstructionCheck", "pos": [80, 80]}))
    with pytest.raises(RuntimeError, match="required_input_missing"):
        pages.run(page)


def test_errors_of_the_pack_are_kept_and_what_is_left_behind_goes(page, shared_pages):
    shared = next(shared for shared in shared_pages.values() if shared.page is page)
    page.evaluate(f"() => console.error('/extensions/{in_host.ROOT.name}/messages.js')")
    page.evaluate("() => console.error('of somebody else')")
    page.wait_for_timeout(100)
    assert len(shared.errors) == 1
    page.evaluate("() => app.extensionManager.setting.set('Comfy.Graph.CanvasMenu', false)")
    page.evaluate("() => document.body.append('left behind')")
    shared.end()
    again = shared.start()
    assert again is not page
    assert not shared.errors
    assert again.evaluate("() => app.extensionManager.setting.get('Comfy.Graph.CanvasMenu')")
