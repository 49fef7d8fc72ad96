"""Every family of the host's models: pictures come back through networks of its own classes."""

import pytest
import torch
from imprint_pack.benchmarks.families import departures, present
from imprint_pack.benchmarks.tiny_families import FAMILIES, REFUSED
from tiny_models import quantised

# The host's, about its x4 upscaler.
pytestmark = pytest.mark.filterwarnings("ignore:To copy construct from a tensor:UserWarning")

EXACT = 1e-5


@pytest.mark.parametrize("name", present(FAMILIES))
def test_its_latent_comes_back_and_is_edited(name):
    check(FAMILIES[name], FAMILIES[name].model())


@pytest.mark.parametrize("name", ["SD 1.5", "SD 3", "Flux", "WAN 2.1"])
@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2], ids=str)
def test_its_latent_comes_back_from_weights_of_8_bits(name, dtype):
    check(FAMILIES[name], FAMILIES[name].model(dtype))


@pytest.mark.parametrize("name", ["SD 1.5", "SD 3", "Flux", "WAN 2.1"])
@pytest.mark.parametrize("kind", ["float8_e4m3fn", "int8_tensorwise"])
def test_its_latent_comes_back_from_quantised_weights(name, kind):
    check(FAMILIES[name], quantised(FAMILIES[name], kind))


def check(family, model) -> None:
    found = departures(family, model)
    assert found["edit-friendly"] <= EXACT
    assert found["DDIM"] <= EXACT
    assert found["edit"] > 0.01


@pytest.mark.parametrize("name", present(REFUSED))
def test_families_whose_latent_is_of_another_form_are_refused(node, name):
    family, message = REFUSED[name], "cannot be inverted: connect|scales its noise by 8, which"
    prompt = family.prompt(1)
    wires = {"model": family.model(), "positive": prompt, "negative": prompt}
    for method in ("EFDDPMInvert", "DDIMInvert"):
        with pytest.raises(ValueError, match=message):
            node(method, **wires, latent_image=family.latent())
