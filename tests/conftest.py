"""The pack under a fixed name, wherever it is checked out, and a real server of it."""

import importlib
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

spec = spec_from_file_location("in_host", Path(__file__).parents[1] / "tools" / "in_host.py")
in_host = sys.modules["in_host"] = module_from_spec(spec)
spec.loader.exec_module(in_host)
in_host.load_pack()


@pytest.fixture(scope="session")
def tools_server():
    """tools/server.py, under a name that does not hide the host's own `server`."""
    return importlib.import_module("imprint_pack.tools.server")


@pytest.fixture(scope="session")
def server(tools_server, tmp_path_factory):
    """A real server with this checkout linked in."""
    host = importlib.import_module("imprint_pack.tools.host").set_up()
    with tools_server.serve(host, base=tmp_path_factory.mktemp("comfyui")) as running:
        yield running
