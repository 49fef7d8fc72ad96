"""A real ComfyUI, in this process and as a server; `make test` sets it up, so nothing here is ever
skipped.
"""

import importlib
from pathlib import Path
from types import SimpleNamespace

import in_host
import pytest
import torch

in_host.load_host()


@pytest.fixture(autouse=True)
def _inference_mode():
    """As the host runs every node."""
    with torch.inference_mode():
        yield


@pytest.fixture(scope="session")
def node():
    """Runs a node of the pack by its id; returns its outputs."""
    nodes = {
        node.GET_SCHEMA().node_id: node
        for node in importlib.import_module("imprint_pack.nodes").NODES
    }

    def run(node_id: str, *args, **kwargs) -> tuple:
        return nodes[f"Imprint{node_id}"].execute(*args, **kwargs).result

    return run


@pytest.fixture(scope="session")
def demo(node):
    """The demo world as a graph sees it: model, an image's latent, and prompts by their text."""
    with torch.inference_mode():
        model, clip, vae = node("LoadDemoModel", "v")
        image, caption, mask = node("DemoImage", "circle", "red", "grass", 3)
        return SimpleNamespace(
            model=model,
            vae=vae,
            image=image,
            mask=mask,
            caption=caption,
            latent={"samples": vae.encode(image)},
            prompt=lambda text: clip.encode_from_tokens_scheduled(clip.tokenize(text)),
        )


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


@pytest.fixture(scope="session")
def examples() -> list[Path]:
    return sorted((in_host.ROOT / "example_workflows").glob("*.json"))
