"""EF-DDPM with all that a user can set: schedulers, cfg, batched timesteps, skipping, parts of a
schedule.
"""

import pytest
import torch
from comfy import sample, samplers
from comfy.k_diffusion.sampling import get_ancestral_step
from imprint_pack.benchmarks.tiny_families import FAMILIES
from imprint_pack.inversion.schedule import plan_step
from imprint_pack.inversion.statistics import neighbour_correlation, variance_per_step
from tiny_models import cfg_guider, sigmas_of

STEPS = 10
EXACT = 1e-5
SCHEDULERS = (
    "simple",
    "sgm_uniform",
    "karras",
    "exponential",
    "ddim_uniform",
    "beta",
    "normal",
    "linear_quadratic",
    "kl_optimal",
)


@pytest.fixture(scope="module")
def invert(node, demo):
    """The bundle of an image with nothing skipped; other settings by name."""

    def run(**settings):
        given = {**demo.source, "latent_image": demo.latent, "steps": STEPS, "skip_steps": 0}
        return node("EFDDPMInvert", **given | settings)[0]

    return run


@pytest.fixture(scope="module")
def replay(node, demo):
    """The samples of a replay at the bundle's own cfg."""

    def run(maps, **settings):
        given = {**demo.source, "noise_maps": maps, "cfg": maps.cfg}
        return node("InvertedSampler", **given | settings)[0]["samples"]

    return run


def error(found, demo):
    return (found - demo.latent["samples"]).abs().max()


@pytest.mark.parametrize("cfg", [0.0, 1.0, 15.0])
def test_every_cfg_returns_the_latent(invert, replay, demo, cfg):
    assert error(replay(invert(cfg=cfg)), demo) <= EXACT


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_every_scheduler_returns_the_latent(invert, replay, demo, scheduler):
    assert error(replay(invert(cfg=1.0, scheduler=scheduler)), demo) <= EXACT


@pytest.mark.parametrize("family", ["v", "eps", "flow"])
def test_batched_timesteps_return_the_latent(invert, replay, demo, trained, family):
    model, scheduler = trained[family]
    maps = invert(model=model, scheduler=scheduler, batch_timesteps=8)
    assert error(replay(maps, model=model), demo) <= EXACT


def test_reconstruction_check_calls_it_exact(node, demo, invert, replay):
    reference = demo.vae.decode(demo.latent["samples"])
    decoded = demo.vae.decode(replay(invert()))
    psnr, report, difference = node("ReconstructionCheck", reference=reference, image=decoded)
    assert psnr >= 100
    assert "(exact)" in report
    assert difference.shape == reference.shape


@pytest.mark.parametrize("path", ["edit_friendly", "native"])
def test_skipping_in_the_inversion_equals_skipping_in_the_sampler(invert, replay, demo, path):
    early = replay(invert(path=path, skip_steps=4), **demo.target)
    late = replay(invert(path=path), **demo.target, skip_steps=4)
    # Equal up to the rounding of the correction, which starts at another step.
    assert (early - late).abs().max() < 1e-4
    assert error(early, demo) > 0.01


@pytest.mark.parametrize("family", ["v", "flow"])
def test_first_part_of_a_schedule_leaves_what_a_stock_sampler_continues_from(
    node, demo, trained, family
):
    wires, empty = demo.wired(demo.caption, trained[family][0]), torch.zeros(1, 3, 32, 32)
    model, sigmas = wires["model"], sigmas_of(wires["model"], "simple", STEPS)
    guider = cfg_guider(wires)
    (part,) = node("EFDDPMInvertCustom", guider=guider, sigmas=sigmas[:7], latent_image=demo.latent)
    (noisy,) = node("InvertedSamplerCustom", guider=guider, noise_maps=part)
    # A stock sampler starts from noise_scaling(sigma, no noise, latent): it must be our latent.
    sampling = model.get_model_object("model_sampling")
    start = sampling.noise_scaling(sigmas[6], empty, noisy["samples"])
    assert (start - part.xs[-1]).abs().max() <= 1e-5
    prompts = wires["positive"], wires["negative"]
    arguments = model, empty, 1.0, samplers.sampler_object("euler"), sigmas[6:], *prompts
    continued = sample.sample_custom(*arguments, noisy["samples"], disable_pbar=True)
    assert (continued - demo.latent["samples"]).abs().mean() < 0.2


def test_a_schedule_that_ends_above_0_is_said(node, demo, caplog):
    sigmas = sigmas_of(demo.model, "simple", STEPS)[:5]
    node(
        "EFDDPMInvertCustom",
        guider=cfg_guider(demo.source),
        sigmas=sigmas,
        latent_image=demo.latent,
    )
    assert "not at 0, so the sampler will return a noisy latent" in caplog.text


def test_residual_0_leaves_out_the_last_map(invert, replay, demo):
    maps = invert(cfg=1.0)
    left_out = error(replay(maps, residual=0.0), demo)
    assert left_out == pytest.approx(maps.zs[-1].abs().max().item(), rel=1e-3)
    assert left_out > 1e-3


def test_video_latents_return_exactly(node):
    family = FAMILIES["WAN 2.1"]._replace(shape=(1, 16, 3, 6, 10))
    latent, prompt = family.latent(), family.prompt(1)
    wires = {"model": family.model(), "positive": prompt, "negative": prompt}
    settings = {"latent_image": latent, "steps": 10, "scheduler": "simple", "skip_steps": 0}
    (maps,) = node("EFDDPMInvert", **wires, **settings, cfg=1.0)
    assert maps.schedule.flow
    for mask in (None, torch.zeros(1, 48, 80)):
        (out,) = node("InvertedSampler", **wires, noise_maps=maps, cfg=1.0, mask=mask)
        assert (out["samples"] - latent["samples"]).abs().max() <= EXACT


@pytest.mark.parametrize("eta", [0.3, 1.0])
@pytest.mark.parametrize(("sigma", "sigma_next"), [(14.6, 9.0), (1.3, 1.2), (0.03, 0.001)])
def test_step_at_alpha_1_is_the_hosts_ancestral_step(eta, sigma, sigma_next):
    down, up = get_ancestral_step(sigma, sigma_next, eta)
    step = plan_step(sigma, sigma_next, eta, flow=False)
    assert step.direction == pytest.approx(down, rel=1e-12)
    assert step.std == pytest.approx(up, rel=1e-12)


def test_edit_friendly_maps_have_the_papers_statistics_and_recorded_ones_are_white(
    node, demo, invert
):
    pictures = torch.cat([node("DemoImage", variation=i)[0] for i in range(8)])
    latent = {"samples": demo.vae.encode(pictures)}
    maps = invert(latent_image=latent, cfg=1.0, steps=50)
    recorded, _ = node("RecordDDPM", **demo.source, latent_image=latent, steps=50, cfg=1.0)
    steps = maps.schedule.steps
    high = torch.tensor([step.sigma_next > 1 for step in steps])
    ratio = torch.tensor([(step.sigma_next / step.sigma) ** 2 for step in steps])
    expected = (1 + ratio) / (1 - ratio)
    assert (variance_per_step(maps.zs) / expected - 1)[high].abs().max() < 0.1
    correlation = neighbour_correlation(maps.zs)[high[1:]]
    assert correlation.min() > -0.55
    assert correlation.max() < -0.4
    assert (variance_per_step(recorded.zs[:-1]) - 1).abs().max() < 0.05
    assert neighbour_correlation(recorded.zs[:-1]).abs().max() < 0.05
