"""Recorded maps, the plots, and latents taken out of a bundle."""

import importlib
import sys

import pytest
import torch
from imprint_pack.inversion import recover_denoised, variance_per_step

STEPS = 20


@pytest.fixture(scope="module")
def prompts(demo):
    with torch.inference_mode():
        return demo.prompt(demo.caption), demo.prompt("")


def recorded(node, model, prompts, *, scheduler="ddim_uniform", latent=None, seed=3, eta=1.0):
    latent = latent or {"samples": torch.zeros(2, 3, 32, 24)}
    return node("RecordDDPM", model, *prompts, latent, seed, STEPS, 1.5, scheduler, eta)


@pytest.mark.parametrize("prediction", ["v", "flow"])
@pytest.mark.parametrize("eta", [0.4, 1.0])
def test_recorded_maps_give_the_sampled_picture(node, prompts, prediction, eta):
    model = node("LoadDemoModel", prediction)[0]
    scheduler = "simple" if prediction == "flow" else "ddim_uniform"
    maps, latent = recorded(node, model, prompts, scheduler=scheduler, eta=eta)
    (out,) = node("InvertedSampler", model, *prompts, maps, 1.5, 0)
    assert latent["samples"].shape == (2, 3, 32, 24)
    assert (out["samples"] - latent["samples"]).abs().max() <= 1e-5
    assert (variance_per_step(maps.zs[:-1]) - 1).abs().max() < 0.1
    assert not maps.zs[-1].any()


def test_recording_uses_only_the_size_of_its_latent(node, demo, prompts):
    empty, _ = recorded(node, demo.model, prompts, latent={"samples": torch.zeros(1, 3, 32, 32)})
    full, _ = recorded(node, demo.model, prompts, latent=demo.latent)
    assert full.xs.equal(empty.xs)
    other, _ = recorded(node, demo.model, prompts, latent=demo.latent, seed=4)
    assert not other.xs.equal(empty.xs)


def test_recording_makes_an_empty_latent_fit_the_model(node, demo, prompts):
    """ComfyUI's Empty Latent Image makes 4 channels, of 8 pixels a cell."""
    latent = {"samples": torch.zeros(1, 4, 4, 5), "downscale_ratio_spacial": 8}
    maps, _ = recorded(node, demo.model, prompts, latent=latent)
    assert maps.xs.shape[1:] == (1, 3, 32, 40)


def test_recorded_item_alone_equals_the_item_in_a_batch(node, demo, prompts):
    together, _ = recorded(node, demo.model, prompts)
    one = {"samples": torch.zeros(1, 3, 32, 24), "batch_index": [1]}
    alone, _ = recorded(node, demo.model, prompts, latent=one)
    assert alone.zs.equal(together.zs[:, 1:])
    assert (alone.xs - together.xs[:, 1:]).abs().max() < 1e-4


@pytest.fixture(scope="module")
def maps(node, demo, prompts):
    with torch.inference_mode():
        latent = {"samples": demo.latent["samples"].repeat(2, 1, 1, 1)}
        arguments = demo.model, *prompts, latent, 0, STEPS, 1.0, "ddim_uniform", 0
        return node("EFDDPMInvert", *arguments)[0]


def test_one_picture_of_each_image_is_drawn(node, maps):
    (image,) = node("InspectNoiseMaps", maps)
    assert image.shape[0] == 2
    assert image.shape[-1] == 3
    assert image.dtype == torch.float32
    assert 0 <= image.min() < 0.3
    assert image.max() == 1
    assert not image[0].equal(image[1])


@pytest.mark.parametrize(
    "changes",
    [
        {"eta": 0.0},
        {"eta": 0.5},
        {"zs": torch.zeros(STEPS, 2, 3, 32, 32)},
        {"info": {"latent_format": "StableAudio1"}},
    ],
)
def test_bundles_of_every_kind_are_drawn(node, maps, changes):
    (image,) = node("InspectNoiseMaps", maps._replace(**changes))
    assert image.isfinite().all()


def test_a_host_without_matplotlib_is_told_what_to_install(node, maps, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(RuntimeError, match=r"cannot be imported: install it .*pip install matplot"):
        node("InspectNoiseMaps", maps)


def test_one_step_and_video_are_drawn(node, maps):
    one = maps._replace(xs=maps.xs[-2:], zs=maps.zs[-1:], sigmas=maps.sigmas[-2:])
    assert node("InspectNoiseMaps", one)[0].isfinite().all()
    video = torch.randn(STEPS + 1, 1, 16, 3, 6, 10)
    info = {"latent_format": "Wan21"}
    clip = maps._replace(xs=video, zs=torch.randn(STEPS, 1, 16, 3, 6, 10), info=info)
    assert node("InspectNoiseMaps", clip)[0].isfinite().all()


@pytest.mark.parametrize(("name", "channels"), [("SD15", 4), ("SD3", 16), ("Flux2", 128)])
def test_preview_colours_are_the_hosts(name, channels):
    """Latents of models whose channels the host knows, and of one that it reshapes."""
    import latent_preview
    from comfy import latent_formats

    plots = importlib.import_module("imprint_pack.nodes._plots")
    kind = getattr(latent_formats, name)()
    x = torch.randn(1, channels, 6, 5, generator=torch.Generator().manual_seed(0))
    previewer = latent_preview.Latent2RGBPreviewer(
        kind.latent_rgb_factors, kind.latent_rgb_factors_bias, kind.latent_rgb_factors_reshape
    )
    expected = torch.tensor(list(previewer.decode_latent_to_preview(x).getdata()))
    found = (plots.latent_rgb(kind, x)[0].reshape(-1, 3) * 255).floor()
    assert (found - expected).abs().max() <= 1


def test_latents_come_out_as_they_lie_in_the_bundle(node, maps):
    (x,), (last,) = (node("NoiseMapsToLatent", maps, "x", step) for step in (3, STEPS))
    (denoised,) = node("NoiseMapsToLatent", maps, "denoised", 3)
    (z,) = node("NoiseMapsToLatent", maps, "z", 3)
    assert x["samples"].equal(maps.xs[3])
    assert last["samples"].equal(maps.xs[-1])
    assert denoised["samples"].equal(recover_denoised(maps)[3])
    assert z["samples"].equal(maps.zs[3])


def test_all_steps_come_out_as_a_batch(node, maps):
    (latent,) = node("NoiseMapsToLatent", maps, "z", -1)
    assert latent["samples"].equal(maps.zs.flatten(0, 1))


def test_latents_are_in_the_hosts_space(node, maps):
    sd15 = maps._replace(
        xs=maps.xs[:, :, [0, 1, 2, 0]],
        zs=maps.zs[:, :, [0, 1, 2, 0]],
        info={"latent_format": "SD15"},
    )
    (latent,) = node("NoiseMapsToLatent", sd15, "x", 0)
    assert (latent["samples"] * 0.18215 - sd15.xs[0]).abs().max() < 1e-4


def test_a_stock_sampler_continues_from_a_step_of_a_flow_model(node, prompts, demo):
    from comfy import sample, samplers

    model = node("LoadDemoModel", "flow")[0]
    arguments = model, *prompts, demo.latent, 0, STEPS, 1.0, "simple", 0
    maps = node("EFDDPMInvert", *arguments)[0]
    (latent,) = node("NoiseMapsToLatent", maps, "x", 12)
    nothing = torch.zeros_like(latent["samples"])
    sampling = model.get_model_object("model_sampling")
    start = sampling.noise_scaling(torch.tensor(maps.sigmas[12]), nothing, latent["samples"])
    assert (start - maps.xs[12]).abs().max() <= 1e-5
    sigmas = torch.tensor(maps.sigmas[12:])
    euler = samplers.sampler_object("euler")
    continued = sample.sample_custom(
        model, nothing, 1.0, euler, sigmas, *prompts, latent["samples"], disable_pbar=True
    )
    assert (continued - demo.latent["samples"]).abs().mean() < 0.2
    with pytest.raises(ValueError, match=r"flow model is noise alone \(sigma 1\)"):
        node("NoiseMapsToLatent", maps, "x", 0)


@pytest.mark.parametrize(
    ("what", "step", "message"),
    [
        ("z", STEPS, "step is 20, but z has 20 steps: set it to 19 or less"),
        ("x", STEPS + 1, "step is 21, but x has 21 steps: set it to 20"),
    ],
)
def test_steps_that_are_not_there_are_named(node, maps, what, step, message):
    with pytest.raises(ValueError, match=message):
        node("NoiseMapsToLatent", maps, what, step)


def test_all_steps_of_a_video_are_refused(node, maps):
    video = maps._replace(xs=maps.xs.unsqueeze(3), zs=maps.zs.unsqueeze(3))
    with pytest.raises(ValueError, match="all steps of a video are no batch: take one at a time"):
        node("NoiseMapsToLatent", video, "x", -1)
