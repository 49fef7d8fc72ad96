"""The colour push of Noise Map Edit: a colour that is picked, and one that is connected."""

import importlib

import pytest
import torch


@pytest.fixture(scope="module")
def maps(node, demo):
    given = {"latent_image": demo.latent, "steps": 10, "cfg": 1.0, "skip_steps": 0}
    with torch.inference_mode():
        return node("EFDDPMInvert", **demo.source, **given)[0]


@pytest.fixture
def push(node):
    def run(maps, **settings):
        menu = {f"operation.{key}": value for key, value in settings.items()}
        return node("NoiseMapEdit", noise_maps=maps, operation="colour", **menu)[0]

    return run


def test_a_picked_colour_is_a_flat_target_and_a_connected_one_comes_first(push, maps):
    flat = torch.tensor([-1.0, 0.2, 1.0]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    wired = push(maps, target={"samples": flat}, strength=0.2)
    picked = push(maps, colour="#0099ff", strength=0.2)
    assert (picked.zs - wired.zs).abs().max() <= 1e-5
    assert push(maps, colour="#0099FF80", strength=0.2).zs.equal(picked.zs)  # with an opacity
    both = push(maps, target={"samples": flat}, colour="#ff0000", strength=0.2)
    assert both.zs.equal(wired.zs)
    assert picked.info["edits"] == ["colour, strength 0.2, colour #0099ff, steps 0 to 9"]
    assert both.info["edits"] == ["colour, strength 0.2, steps 0 to 9"]


@pytest.mark.parametrize(
    "shape", ["SD15 4", "SDXL 4", "SD3 16", "Flux2 128", "Wan21 16", "ChromaRadiance 3"]
)
def test_a_picked_colour_is_what_the_host_previews(maps, shape):
    """Also where one cell holds the channels of several pixels (Flux 2), and in a video."""
    latents = importlib.import_module("imprint_pack.nodes._host.latents")
    name, channels = shape.split()
    xs = torch.zeros(11, 1, int(channels), *([3] if name == "Wan21" else []), 6, 4)
    bundle = maps.replace(xs=xs, zs=xs[1:], latent_format=name)
    flat = latents.flat_colour(bundle, (-0.75, 0.0, 0.5))
    assert flat.shape == xs.shape[1:]
    shown = latents.preview(bundle, flat) * 2 - 1
    assert (shown - torch.tensor([-0.75, 0.0, 0.5])).abs().max() < 0.02


@pytest.mark.parametrize(
    ("colour", "name", "message"),
    [
        ("blue", "ChromaRadiance", "colour is blue: pick one, such as #2060c0"),
        (7, "ChromaRadiance", "colour is 7: pick one"),
        ("#00ff00", "Hunyuan3Dv2", "does not know the colours of Hunyuan3Dv2 latents: connect a t"),
    ],
)
def test_colours_that_cannot_be_picked_are_named(push, maps, colour, name, message):
    wide = {"xs": maps.xs[:, :, [0, 1, 2, 0]], "zs": maps.zs[:, :, [0, 1, 2, 0]]}
    bundle = maps.replace(latent_format=name, **wide if name == "Hunyuan3Dv2" else {})
    with pytest.raises(ValueError, match=message):
        push(bundle, colour=colour, strength=0.05)
