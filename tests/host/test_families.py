"""Every family of the host's models: pictures come back through networks of its own classes."""

from types import SimpleNamespace

import pytest
from comfy import supported_models
from families import FAMILIES, REFUSED

# The host's, about its x4 upscaler.
pytestmark = pytest.mark.filterwarnings("ignore:To copy construct from a tensor:UserWarning")

STEPS, CFG = 4, 3.5
EXACT = 1e-5


def present(families: dict) -> list[str]:
    """The oldest supported host has fewer of them."""
    return [name for name, family in families.items() if hasattr(supported_models, family.kind)]


@pytest.fixture(scope="module", params=present(FAMILIES))
def world(request):
    """The wires of a family's tiny model under a prompt and under that of an edit, and a latent."""
    family = FAMILIES[request.param]
    shared = {"model": family.model(), "negative": family.prompt(2)}
    source, target = ({**shared, "positive": family.prompt(seed)} for seed in (1, 3))
    return SimpleNamespace(source=source, target=target, latent=family.latent())


@pytest.fixture
def invert(node, world):
    def run(node_id, **settings):
        given = {**world.source, "latent_image": world.latent, "steps": STEPS, "cfg": CFG}
        return node(node_id, **given, scheduler="normal", **settings)[0]

    return run


@pytest.fixture
def departure(node, world):
    """By how much a replay departs from the latent."""

    def run(maps, wires):
        (out,) = node("InvertedSampler", **wires, noise_maps=maps, cfg=CFG)
        return (out["samples"] - world.latent["samples"]).abs().max()

    return run


def test_noise_maps_return_the_latent_and_edit_it(invert, departure, world):
    maps = invert("EFDDPMInvert", skip_steps=0)
    assert departure(maps, world.source) <= EXACT
    assert departure(maps, world.target) > 0.01


def test_ddim_with_residuals_returns_the_latent(invert, departure, world):
    assert departure(invert("DDIMInvert"), world.source) <= EXACT


@pytest.mark.parametrize("name", present(REFUSED))
def test_families_whose_latent_is_of_another_form_are_refused(node, name):
    family, message = REFUSED[name], "cannot be inverted: connect|scales its noise by 8, which"
    prompt = family.prompt(1)
    wires = {"model": family.model(), "positive": prompt, "negative": prompt}
    for method in ("EFDDPMInvert", "DDIMInvert"):
        with pytest.raises(ValueError, match=message):
            node(method, **wires, latent_image=family.latent())
