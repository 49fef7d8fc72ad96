"""A real ComfyUI, in this process and as a server; `make test` sets it up, so nothing here is ever
skipped.
"""

import importlib
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
def nodes_by_id() -> dict:
    """The pack's nodes by their ids, without the prefix."""
    nodes = importlib.import_module("imprint_pack.nodes").NODES
    return {node.GET_SCHEMA().node_id.removeprefix("Imprint"): node for node in nodes}


@pytest.fixture(scope="session")
def node(nodes_by_id):
    """Runs a node of the pack by its id and its inputs, as a graph does; returns its outputs.

    What is not given has its default. A menu is given by its choice, its settings as
    `menu.setting`; anything but a word goes into the menu as it is.
    """

    def run(node_id: str, **inputs) -> tuple:
        kind = nodes_by_id[node_id]
        given = {i.id: _value(i, inputs) for i in kind.GET_SCHEMA().inputs if _has_value(i, inputs)}
        unknown = {key for key in inputs if key.split(".")[0] not in given}
        assert not unknown, f"{node_id} has no input {unknown}"
        return kind.execute(**given).result

    return run


def _has_value(declared, inputs: dict) -> bool:
    default = getattr(declared, "default", None)
    return declared.id in inputs or default is not None or bool(getattr(declared, "options", None))


def _value(declared, inputs: dict):
    options = getattr(declared, "options", None)
    first = getattr(options[0], "key", options[0]) if options else None
    default = getattr(declared, "default", None)
    value = inputs.get(declared.id, first if default is None else default)
    menu = {option.key: option for option in options or [] if hasattr(option, "key")}
    if not isinstance(value, str) or value not in menu:
        return value
    settings = {i.id: _value(i, {}) for i in menu[value].inputs}
    begin = f"{declared.id}."
    settings |= {key.removeprefix(begin): v for key, v in inputs.items() if key.startswith(begin)}
    return {declared.id: value, **settings}


@pytest.fixture(scope="session")
def demo(node):
    """The demo world as a graph sees it: model, an image's latent, and prompts by their text.

    `source` and `target` wire a node under the image's own prompt and under that of an edit.
    """
    with torch.inference_mode():
        model, clip, vae = node("LoadDemoModel", prediction="v")
        image, caption, mask, _ = node("DemoImage", variation=3)

        def prompt(text: str) -> list:
            return clip.encode_from_tokens_scheduled(clip.tokenize(text))

        def wired(text: str, model=model) -> dict:
            return {"model": model, "positive": prompt(text), "negative": prompt("")}

        return SimpleNamespace(
            model=model,
            vae=vae,
            image=image,
            mask=mask,
            caption=caption,
            latent={"samples": vae.encode(image)},
            prompt=prompt,
            wired=wired,
            source=wired(caption),
            target=wired("a blue circle on grass"),
        )


@pytest.fixture(scope="session")
def trained(node) -> dict:
    """The demo models by what they predict, each with the scheduler that fits it."""
    with torch.inference_mode():
        models = {kind: node("LoadDemoModel", prediction=kind)[0] for kind in ("v", "eps", "flow")}
    schedulers = {"v": "ddim_uniform", "eps": "ddim_uniform", "flow": "simple"}
    return {kind: (model, schedulers[kind]) for kind, model in models.items()}


@pytest.fixture(scope="session")
def null_text(node, demo):
    """Null text of the demo image, in 8 steps at cfg 3; everything else by name."""
    from null_text_world import NullTextWorld

    with torch.inference_mode():
        return NullTextWorld(node, demo)


@pytest.fixture(scope="session")
def world(node, demo, trained):
    """The demo image under attention controls, in 8 steps at cfg 3.5; everything else by name."""
    from control_world import ControlWorld

    return ControlWorld(node, demo, trained)
