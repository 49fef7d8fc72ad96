"""Attention controls through small networks of the host's model families."""

import pytest
import torch
from control_world import EXACT
from imprint_pack.benchmarks.tiny_families import FAMILIES, normal
from imprint_pack.inversion.cross_guidance import CrossGuidance
from imprint_pack.inversion.injection import MasaCtrl, PlugAndPlay
from imprint_pack.inversion.prompt_to_prompt import BlendWords, PromptToPrompt
from imprint_pack.inversion.word_maps import WordMaps
from imprint_pack.nodes._host.steering import AttentionControl

TOKENS, STEPS, CFG = 8, 4, 2.0
MASK = torch.zeros(1, 1, 8, 8).index_fill(3, torch.arange(4), 1.0)
P2P = (torch.eye(TOKENS), torch.ones(TOKENS), torch.ones(TOKENS), ((0.0, 0.8),) * TOKENS, 0.5, 16)
CONTROLS = {
    "p2p": PromptToPrompt(*P2P),
    "p2p, blended": PromptToPrompt(*P2P, BlendWords(WordMaps([1], 16), WordMaps([2], 16), 0.9)),
    "pnp": PlugAndPlay(0.8, 0.5),
    "masactrl": MasaCtrl(0.0, 0.0),
    "pix2pix-zero": CrossGuidance(10.0),
}
KNOWN = ["SD 1.5", "SD 2 v", "SDXL", "SDXL EDM", "SDXL refiner", "SD 3", "Flux", "Flux schnell"]
SHAPES = [(8, 8), (7, 12), (16, 4)]  # of latents; odd sides, too


@pytest.fixture(scope="module")
def edit(node):
    """How far a replay under a prompt and a control is from the latent of a family."""
    models = {}

    def run(name: str, rules, target: int, shape=(8, 8), rows: int = 1) -> torch.Tensor:
        family = FAMILIES[name]
        model = models.setdefault(name, family.model())
        latent = normal(rows, family.shape[1], *shape, seed=5)
        source = family.prompt(1)
        wires = {"model": model, "negative": family.prompt(3), "cfg": CFG}
        settings = {"steps": STEPS, "scheduler": "simple", "skip_steps": 0}
        latent_image = {"samples": latent}
        (maps,) = node(
            "EFDDPMInvert", **wires, positive=source, latent_image=latent_image, **settings
        )
        control = rules and AttentionControl(rules, source)
        wires |= {"noise_maps": maps, "attention_control": control}
        (out,) = node("InvertedSampler", **wires, positive=family.prompt(target))
        return out["samples"] - latent

    return run


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("name", KNOWN)
def test_the_source_comes_back_and_edits_are_steered(edit, name, control):
    rules = CONTROLS[control]
    assert edit(name, rules, target=1).abs().max() <= EXACT
    steered, plain = edit(name, rules, target=2), edit(name, None, target=2)
    assert (steered - plain).abs().max() > 1e-5


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
@pytest.mark.parametrize("name", ["SD 1.5", "SD 3"])
def test_any_aspect_ratio(edit, name, control, shape):
    shape = shape if name == "SD 1.5" else tuple(side + side % 2 for side in shape)
    assert edit(name, CONTROLS[control], target=1, shape=shape, rows=2).abs().max() <= EXACT
    assert edit(name, CONTROLS[control], target=2, shape=shape, rows=2).isfinite().all()


def test_masked_mutual_attention(edit):
    rules = MasaCtrl(0.0, 0.0, MASK)
    for name in ("SD 1.5", "SD 3"):
        change = edit(name, rules, 2) - edit(name, MasaCtrl(0.0, 0.0), 2)
        assert change.abs().max() > 1e-6


@pytest.mark.parametrize("name", ["Stable Cascade C", "PixArt alpha", "AuraFlow", "SVD"])
def test_other_networks_are_named(edit, name):
    family = FAMILIES[name]
    with pytest.raises(ValueError, match=r"the connected model is a .*: leave attention_control"):
        edit(name, CONTROLS["p2p"], 2, shape=family.shape[2:], rows=family.shape[0])


def test_the_source_call_has_what_was_set_on_the_positive_prompt(node):
    family = FAMILIES["Flux"]
    ((embedding, options),) = family.prompt(1)
    guided = [[embedding, {**options, "guidance": 1.0}]]
    wires = {"model": family.model(), "positive": guided, "negative": guided, "cfg": 1.0}
    settings = {"steps": STEPS, "scheduler": "simple", "skip_steps": 0}
    (maps,) = node("EFDDPMInvert", **wires, latent_image=family.latent(), **settings)
    control = AttentionControl(CONTROLS["p2p"], [[embedding, options]])  # without the guidance
    (out,) = node("InvertedSampler", **wires, noise_maps=maps, attention_control=control)
    assert (out["samples"] - family.latent()["samples"]).abs().max() <= EXACT


def test_reference_pictures_are_refused(edit):
    with pytest.raises(ValueError, match="cannot be used with reference images"):
        edit("Flux Kontext", CONTROLS["p2p"], 2)
