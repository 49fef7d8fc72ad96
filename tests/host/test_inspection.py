"""Recorded maps, the plots, and latents taken out of a bundle."""

import importlib
import json
import sys
from pathlib import Path

import folder_paths
import latent_preview
import numpy as np
import pytest
import torch
from comfy import latent_formats, sample, samplers
from imprint_pack.inversion.schedule import Schedule
from imprint_pack.inversion.statistics import recover_denoised, variance_per_step
from PIL import Image

STEPS = 20
SIZE = {"samples": torch.zeros(2, 3, 32, 24)}


@pytest.fixture(scope="module")
def record(node, demo):
    def run(latent=SIZE, **settings):
        given = {**demo.source, "latent_image": latent, "seed": 3, "steps": STEPS, "cfg": 1.5}
        return node("RecordDDPM", **given | settings)

    return run


@pytest.mark.parametrize("family", ["v", "flow"])
@pytest.mark.parametrize("eta", [0.4, 1.0])
def test_recorded_maps_give_the_sampled_picture(node, record, demo, trained, family, eta):
    model, scheduler = trained[family]
    maps, latent = record(model=model, scheduler=scheduler, eta=eta)
    (out,) = node("InvertedSampler", **demo.wired(demo.caption, model), noise_maps=maps, cfg=1.5)
    assert latent["samples"].shape == (2, 3, 32, 24)
    assert (out["samples"] - latent["samples"]).abs().max() <= 1e-5
    assert (variance_per_step(maps.zs[:-1]) - 1).abs().max() < 0.1
    assert not maps.zs[-1].any()


def test_recording_uses_only_the_size_of_its_latent(record, demo):
    empty, _ = record({"samples": torch.zeros(1, 3, 32, 32)})
    assert record(demo.latent)[0].xs.equal(empty.xs)
    assert not record(demo.latent, seed=4)[0].xs.equal(empty.xs)


def test_recording_makes_an_empty_latent_fit_the_model(record):
    """ComfyUI's Empty Latent Image makes 4 channels, of 8 pixels a cell."""
    maps, _ = record({"samples": torch.zeros(1, 4, 4, 5), "downscale_ratio_spacial": 8})
    assert maps.xs.shape[1:] == (1, 3, 32, 40)


@pytest.fixture(scope="module")
def maps(node, demo):
    latent = {"samples": demo.latent["samples"].repeat(2, 1, 1, 1)}
    given = {"latent_image": latent, "steps": STEPS, "cfg": 1.0, "skip_steps": 0}
    with torch.inference_mode():
        return node("EFDDPMInvert", **demo.source, **given)[0]


def test_one_picture_of_each_image_is_drawn(node, maps):
    (image,) = node("InspectNoiseMaps", noise_maps=maps)
    assert image.shape[0] == 2
    assert image.shape[-1] == 3
    assert image.dtype == torch.float32
    assert 0 <= image.min() < 0.3
    assert image.max() == 1
    assert not image[0].equal(image[1])


def as_clip(maps):
    shape = 1, 16, 3, 6, 10
    clip = {"xs": torch.randn(STEPS + 1, *shape), "zs": torch.randn(STEPS, *shape)}
    return maps.replace(**clip, latent_format="Wan21")


KINDS = {
    "no noise": lambda maps: maps.replace(schedule=Schedule(maps.schedule.sigmas, False, 0.0)),
    "eta 0.5": lambda maps: maps.replace(schedule=Schedule(maps.schedule.sigmas, False, 0.5)),
    "empty maps": lambda maps: maps.replace(zs=torch.zeros_like(maps.zs)),
    "no preview colours": lambda maps: maps.replace(latent_format="StableAudio1"),
    "one step": lambda maps: maps.replace(
        xs=maps.xs[-2:], zs=maps.zs[-1:], schedule=maps.schedule.after(STEPS - 1)
    ),
    "video": as_clip,
}


@pytest.mark.parametrize("kind", KINDS)
def test_bundles_of_every_kind_are_drawn(nodes_by_id, maps, kind):
    bundle = KINDS[kind](maps.replace(xs=maps.xs[:, :1], zs=maps.zs[:, :1]))
    found = nodes_by_id["InspectNoiseMaps"].execute(bundle)
    (image,) = found.result
    assert len(image) == 1
    assert image.std() > 0.05  # ink on white
    (data,) = found.ui["imprint_steps"]
    json.dumps(data, allow_nan=False)
    assert all(len(curve) == len(data["steps"]) for curve in data["curves"].values())
    assert ("correlation" in data["curves"]) == (kind not in ("no noise", "one step"))


def test_the_viewer_gets_every_step_of_each_image(nodes_by_id, maps):
    latents = importlib.import_module("imprint_pack.nodes._host.latents")
    data = nodes_by_id["InspectNoiseMaps"].execute(maps).ui["imprint_steps"]
    assert len(data) == 2
    assert data[1]["steps"] == list(range(STEPS))
    assert data[1]["tile"] == [32, 32]
    variance = variance_per_step(maps.zs[:, 1:])
    assert data[1]["curves"]["variance"][:-1] == pytest.approx(variance[:-1].tolist())
    assert data[1]["curves"]["variance"][-1] is None  # the last step adds no noise
    file = Path(folder_paths.get_temp_directory(), data[1]["sheets"]["denoised"]["filename"])
    sheet = np.asarray(Image.open(file))
    expected = latents.preview(maps, recover_denoised(maps)[7, 1:])[0]
    row, column = divmod(7, data[1]["columns"])
    found = sheet[row * 32 : row * 32 + 32, column * 32 : column * 32 + 32]
    assert np.abs(found / 255 - expected.numpy()).max() <= 1 / 255


def test_pictures_of_long_and_large_bundles_stay_small():
    viewer = importlib.import_module("imprint_pack.nodes.viewer")
    assert viewer.spread(1000, viewer.MOST_STEPS)[-1] == 999
    assert len(viewer.spread(1000, viewer.MOST_STEPS)) == 128
    assert viewer._fitted(torch.rand(2, 400, 200, 3)).shape == (2, 128, 64, 3)


def test_a_single_wrong_pixel_shows_in_a_comparison(nodes_by_id):
    image = torch.full((1, 1500, 1000, 3), 0.5)
    other = image.clone()
    other[0, 700, 300] = 0.6
    compare = nodes_by_id["ReconstructionCheck"].execute
    drawing = importlib.import_module("imprint_pack.nodes.drawing")
    same, wrong = (compare(image, picture) for picture in (image, other))
    words = same.ui["text"][0].split(", ")
    assert words[0] == "PSNR 150.0 dB (exact)"
    black, dotted = (
        drawing.draw_comparison(image[0], image[0], found.result[2][0], ["1"])
        for found in (same, wrong)
    )
    panel = slice(drawing._LINE * 2 + drawing._PANEL, None), slice(0, 200)
    assert dotted[panel].max() > 0.8
    assert black[panel].max() < 0.8  # "none", in grey


def test_a_host_without_matplotlib_is_told_what_to_install(node, maps, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(RuntimeError, match=r"cannot be imported: install it .*pip install matplot"):
        node("InspectNoiseMaps", noise_maps=maps)


@pytest.mark.parametrize(("name", "channels"), [("SD15", 4), ("SD3", 16), ("Flux2", 128)])
def test_preview_colours_are_the_hosts(maps, name, channels):
    """Latents of models whose channels the host knows, and of one that it reshapes."""
    latents = importlib.import_module("imprint_pack.nodes._host.latents")
    kind = getattr(latent_formats, name)()
    x = torch.randn(1, channels, 6, 5, generator=torch.Generator().manual_seed(0))
    previewer = latent_preview.Latent2RGBPreviewer(
        kind.latent_rgb_factors, kind.latent_rgb_factors_bias, kind.latent_rgb_factors_reshape
    )
    expected = torch.tensor(list(previewer.decode_latent_to_preview(x).getdata()))
    colours = latents.preview(maps.replace(latent_format=name), x)
    assert (colours[0].reshape(-1, 3) * 255 - expected).abs().max() <= 1


@pytest.fixture
def taken(node, maps):
    def run(what, step, maps=maps):
        return node("NoiseMapsToLatent", noise_maps=maps, what=what, step=step)[0]["samples"]

    return run


def test_latents_come_out_as_they_lie_in_the_bundle(taken, maps):
    assert taken("x", 3).equal(maps.xs[3])
    assert taken("x", STEPS).equal(maps.xs[-1])
    assert taken("denoised", 3).equal(recover_denoised(maps)[3])
    assert taken("z", 3).equal(maps.zs[3])


def test_all_steps_come_out_as_a_batch(taken, maps):
    assert taken("z", -1).equal(maps.zs.flatten(0, 1))


def test_latents_are_in_the_hosts_space(taken, maps):
    channels = [0, 1, 2, 0]
    both = {"xs": maps.xs[:, :, channels], "zs": maps.zs[:, :, channels]}
    sd15 = maps.replace(**both, latent_format="SD15")
    assert (taken("x", 0, sd15) * 0.18215 - sd15.xs[0]).abs().max() < 1e-4


def test_a_stock_sampler_continues_from_a_step_of_a_flow_model(node, taken, demo, trained):
    wires = demo.wired(demo.caption, trained["flow"][0])
    given = {"latent_image": demo.latent, "steps": STEPS, "cfg": 1.0, "scheduler": "simple"}
    (maps,) = node("EFDDPMInvert", **wires, **given, skip_steps=0)
    latent, sigmas = taken("x", 12, maps), torch.tensor(maps.schedule.sigmas[12:])
    nothing, sampling = torch.zeros_like(latent), wires["model"].get_model_object("model_sampling")
    start = sampling.noise_scaling(sigmas[0], nothing, latent)
    assert (start - maps.xs[12]).abs().max() <= 1e-5
    prompts = wires["positive"], wires["negative"]
    arguments = wires["model"], nothing, 1.0, samplers.sampler_object("euler"), sigmas, *prompts
    continued = sample.sample_custom(*arguments, latent, disable_pbar=True)
    assert (continued - demo.latent["samples"]).abs().mean() < 0.2
    with pytest.raises(ValueError, match=r"flow model is pure noise \(sigma 1\).*: set step to 1"):
        taken("x", 0, maps)


@pytest.mark.parametrize(
    ("what", "step", "message"),
    [
        ("z", STEPS, "step is 20, but z has 20 steps: set it to 19 or less"),
        ("x", STEPS + 1, "step is 21, but x has 21 steps: set it to 20"),
    ],
)
def test_steps_that_are_not_there_are_named(taken, what, step, message):
    with pytest.raises(ValueError, match=message):
        taken(what, step)


def test_all_steps_of_a_video_are_refused(taken, maps):
    message = "step is -1, but the steps of a video do not fit into one batch: choose one step"
    with pytest.raises(ValueError, match=message):
        taken("x", -1, as_clip(maps))
