"""The host's page in a headless browser, in both canvas modes."""

import importlib

import pytest

browser_tools = importlib.import_module("imprint_pack.tools.browser")


@pytest.fixture(scope="session")
def browser():
    with browser_tools.launch() as running:
        yield running


@pytest.fixture(params=[browser_tools.CLASSIC, browser_tools.NODES_2])
def page(request, browser, server):
    """A fresh page without a workflow of its own; closed afterwards."""
    page = browser_tools.open_page(browser, server, request.param)
    yield page
    page.context.close()
