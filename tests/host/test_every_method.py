"""What every inversion method keeps in the host: each test runs over the list of `methods.py`."""

import folder_paths
import pytest
import torch
from methods import METHODS
from problems import same
from tiny_models import tiny_demo

STEPS = 4
EXACT = 1e-5
BATCH = torch.rand(2, 3, 16, 20, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(scope="module", params=METHODS, ids=str)
def method(request):
    return request.param


@pytest.fixture(scope="module")
def invert(node, nodes_by_id):
    """Runs a method's nodes one after the other; returns the bundle."""

    def run(method, wires, latent, scheduler="ddim_uniform"):
        general = {**wires, "latent_image": latent, "steps": STEPS, "skip_steps": 0}
        general["scheduler"] = scheduler
        for node_id, settings in method.nodes:
            ids = {i.id for i in nodes_by_id[node_id].GET_SCHEMA().inputs}
            shared = {key: value for key, value in general.items() if key in ids}
            general["noise_maps"] = node(node_id, **shared, **settings)[0]
        return general["noise_maps"]

    return run


@pytest.fixture(scope="module")
def sample(node):
    """Replays a bundle at its own cfg."""

    def run(wires, maps, **settings):
        return node("InvertedSampler", **wires, noise_maps=maps, cfg=maps.cfg, **settings)[0]

    return run


@pytest.fixture(scope="module")
def maps(method, demo, invert):
    with torch.inference_mode():
        return invert(method, demo.source, demo.latent)


def error(method, found, maps, latent):
    """The largest, against the image that went in, or that the method itself made."""
    expected = maps.xs[-1] if method.draws else latent["samples"]
    return (found["samples"] - expected).abs().max()


@pytest.mark.parametrize("family", ["v", "eps", "flow"])
def test_trained_models_of_every_family_return_the_latent(
    method, demo, trained, invert, sample, family
):
    model, scheduler = trained[family]
    wires = demo.wired(demo.caption, model)
    maps = invert(method, wires, demo.latent, scheduler)
    assert error(method, sample(wires, maps), maps, demo.latent) <= EXACT


@pytest.mark.parametrize("family", ["v", "eps", "flow"])
def test_any_network_returns_batches_of_odd_sizes(method, demo, trained, invert, sample, family):
    wires = demo.wired(demo.caption, tiny_demo(family))
    latent = {"samples": BATCH[..., :15, :17]}
    maps = invert(method, wires, latent, trained[family][1])
    assert error(method, sample(wires, maps), maps, latent) <= EXACT


def test_item_alone_equals_the_item_in_a_batch(method, demo, invert):
    together = invert(method, demo.source, {"samples": BATCH})
    alone = invert(method, demo.source, {"samples": BATCH[1:], "batch_index": [1]})
    # A batch sums in another order.
    assert (together.xs[:, 1:] - alone.xs).abs().max() <= 1e-5 * alone.xs.abs().max()


def test_second_run_is_identical_and_leaves_inputs_and_random_numbers_alone(
    method, demo, invert, maps
):
    before, state = demo.latent["samples"].clone(), torch.get_rng_state()
    again = invert(method, demo.source, demo.latent)
    assert same(again, maps)
    assert demo.latent["samples"].equal(before)
    assert demo.latent.keys() == {"samples"}
    assert torch.get_rng_state().equal(state)


def test_bundle_knows_what_made_it(method, demo, maps, nodes_by_id):
    node_id, settings = method.nodes[-1]
    defaults = {i.id: i.default for i in nodes_by_id[node_id].GET_SCHEMA().inputs if i.id == "cfg"}
    assert maps.latent_format == "ChromaRadiance"
    assert maps.cfg == (defaults | settings)["cfg"]
    assert maps.info["model"] == type(demo.model.model).__name__
    assert maps.info["scheduler"] == "ddim_uniform"
    assert maps.info["method"]
    assert maps.xs.dtype == maps.zs.dtype == torch.float32
    assert maps.xs.device.type == "cpu"


def test_masks_lock_the_image(demo, sample, maps):
    mask = torch.zeros(1, 32, 32)
    black = sample(demo.target, maps, mask=mask)["samples"]
    assert black.equal(maps.xs[-1])
    mask[:, :, 16:] = 1
    half = sample(demo.target, maps, mask=mask)["samples"]
    assert half[..., :16].equal(maps.xs[-1][..., :16])
    assert (half - maps.xs[-1])[..., 16:].abs().max() > 0.01
    white = sample(demo.target, maps, mask=torch.ones(1, 32, 32))["samples"]
    assert (white - sample(demo.target, maps)["samples"]).abs().max() <= EXACT


def test_a_saved_file_keeps_every_bit(node, maps, tmp_path, monkeypatch):
    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    node("SaveNoiseMaps", noise_maps=maps, filename_prefix="maps")
    (loaded,) = node("LoadNoiseMaps", noise_maps_file="maps_00001_.safetensors [output]")
    assert same(loaded, maps)
