"""A bundle returns its picture whatever precision, kernel or batch made it and replays it."""

import importlib

import pytest
import torch

rounding = importlib.import_module("imprint_pack.benchmarks.rounding")

STEPS = 5
EXACT = 1e-5


@pytest.fixture(scope="module")
def wired(demo):
    """The wires of a node with the demo model in another precision or with another kernel."""

    def wire(name, prompt=None):
        other = rounding.in_precision if name in rounding.PRECISIONS else rounding.with_kernel
        return demo.wired(prompt or demo.caption, other(demo.model, name))

    return wire


@pytest.fixture(scope="module")
def invert(node, demo, wired):
    def run(name, cfg, **settings):
        given = {**wired(name), "latent_image": demo.latent, "steps": STEPS, "skip_steps": 0}
        return node("EFDDPMInvert", **given, cfg=cfg, **settings)[0]

    return run


@pytest.fixture(scope="module")
def sample(node, wired):
    def run(name, maps, prompt=None, **settings):
        given = {"cfg": maps.cfg, **wired(name, prompt), **settings}
        return node("InvertedSampler", noise_maps=maps, **given)[0]["samples"]

    return run


PAIRS = [
    ("float32", "bfloat16"),
    ("float32", "float16"),
    ("float32", "attention_basic"),
    ("bfloat16", "float32"),
    ("bfloat16", "bfloat16"),
    ("float16", "bfloat16"),
    ("attention_basic", "float32"),
]


@pytest.mark.parametrize("cfg", [1.0, 3.5, 15.0])
@pytest.mark.parametrize(("made", "replayed"), PAIRS)
def test_one_precision_returns_what_another_inverted(invert, sample, demo, made, replayed, cfg):
    maps = invert(made, cfg, batch_timesteps=8 if made == replayed else 1)
    assert (sample(replayed, maps) - demo.latent["samples"]).abs().max() <= EXACT


@pytest.mark.parametrize("dtype", rounding.PRECISIONS)
def test_a_bundle_knows_how_its_network_rounded(invert, dtype):
    units = {"float32": 2**-24, "bfloat16": 2**-8, "float16": 2**-11}
    assert invert(dtype, 1.0).unit_roundoff == units[dtype]


def test_a_reconstruction_is_said_and_an_edit_is_not(invert, sample, demo, caplog):
    caplog.set_level("INFO")
    maps = invert("bfloat16", 3.5)
    sample("bfloat16", maps, "a blue circle on night")
    assert "bit for bit" not in caplog.text
    sample("bfloat16", maps)
    assert "An exact reconstruction: the picture of the noise maps, bit for bit." in caplog.text


def test_an_edit_that_half_precision_cannot_show_is_said(invert, sample, caplog):
    maps = invert("bfloat16", 3.5)
    assert sample("bfloat16", maps, cfg=3.501).equal(maps.xs[-1])
    assert (
        "unchanged: to this model cfg 3.501 is the same as the inversion's 3.5 under" in caplog.text
    )


def test_a_black_mask_is_said(invert, sample, caplog):
    maps = invert("float32", 1.0)
    samples = sample(
        "float32", maps, "a blue circle on night", cfg=4.0, mask=torch.zeros(1, 32, 32)
    )
    assert samples.equal(maps.xs[-1])
    assert "The mask is black, so nothing is edited: paint white where to edit." in caplog.text
    assert "unchanged" not in caplog.text
