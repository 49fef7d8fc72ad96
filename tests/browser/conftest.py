"""The host's page in a headless browser: two front ends, each in both canvas modes."""

import importlib
from importlib.metadata import version

import pytest
from pages import SharedPage

browser_tools = importlib.import_module("imprint_pack.tools.browser")
web = importlib.import_module("imprint_pack.tools.web")

# By the session's server of each: the front end that the host brings, and the newest.
FRONT_ENDS = {
    "server": version("comfyui-frontend-package"),
    "newest_server": (web.PINS / "front_end.txt").read_text().strip().rpartition("==")[2],
}
PLACES = {
    f"{number.rpartition('.')[0]}-{mode}": (server, mode)
    for server, number in FRONT_ENDS.items()
    for mode in (browser_tools.CLASSIC, browser_tools.NODES_2)
}


OLDEST = [name for name, (server, _) in PLACES.items() if server == "server"]
ON_THE_HOSTS_FRONT_END = pytest.mark.parametrize("place", OLDEST)


@pytest.fixture(scope="session")
def browser():
    with browser_tools.launch() as running:
        yield running


@pytest.fixture(scope="session")
def newest_server(tools_server, tmp_path_factory):
    """As `server`, with the newest front end."""
    host = importlib.import_module("imprint_pack.tools.host").set_up()
    arguments = ["--front-end-root", str(web.newest_front_end())]
    base = tmp_path_factory.mktemp("comfyui")
    with tools_server.serve(host, base=base, arguments=arguments) as running:
        yield running


@pytest.fixture(scope="session")
def shared_pages() -> dict[str, SharedPage]:
    return {}


@pytest.fixture(params=PLACES)
def place(request) -> str:
    return request.param


@pytest.fixture
def page_server(request, place):
    """The server behind `page`."""
    return request.getfixturevalue(PLACES[place][0])


@pytest.fixture
def page_settings() -> dict:
    """Settings of the host with which the page opens; a module may have its own."""
    return {}


@pytest.fixture
def page(browser, shared_pages, place, page_server, page_settings):
    """A page without a workflow, as after a first visit; `pages.py` has what tests do with it.

    The test fails where the pack wrote an error into the browser's console.
    """
    if place not in shared_pages:
        shared_pages[place] = SharedPage(browser, page_server, PLACES[place][1])
    shared = shared_pages[place]
    yield shared.start(page_settings)
    errors = [*shared.errors]
    shared.end()
    assert errors == []


@pytest.fixture(scope="module", params=OLDEST)
def kept(request, browser):
    """A SharedPage that keeps its workflow through all tests of a module."""
    server, mode = PLACES[request.param]
    shared = SharedPage(browser, request.getfixturevalue(server), mode)
    yield shared
    shared.context.close()
