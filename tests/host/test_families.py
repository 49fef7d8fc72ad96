"""Every family of the host's models: pictures come back through networks of its own classes."""

import pytest
from imprint_pack.benchmarks.families import departures, present
from imprint_pack.benchmarks.tiny_families import FAMILIES, REFUSED

# The host's, about its x4 upscaler.
pytestmark = pytest.mark.filterwarnings("ignore:To copy construct from a tensor:UserWarning")

EXACT = 1e-5


@pytest.mark.parametrize("name", present(FAMILIES))
def test_its_latent_comes_back_and_is_edited(name):
    found = departures(FAMILIES[name])
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
