"""The tests' own tools, on the real page: each must be able to fail."""


def node(number, kind, position, values=()):
    return {
        "id": number,
        "type": kind,
        "pos": position,
        "size": [300, 100],
        "flags": {},
        "mode": 0,
        "order": number,
        "inputs": [],
        "outputs": [],
        "widgets_values": [*values],
    }


def workflow(*nodes, links=()):
    return {"version": 0.4, "last_node_id": 9, "last_link_id": 9, "nodes": nodes, "links": links}


def test_page_is_blank_and_nothing_is_in_the_way(page):
    assert page.evaluate("() => app.graph.nodes.length") == 0
    assert page.locator("[role=dialog]").count() == 0
