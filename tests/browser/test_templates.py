"""Templates as a user opens them."""


def test_page_opens(page):
    assert page.evaluate("() => !!LiteGraph.registered_node_types.ImprintEFDDPMInvert")
