"""DDIM inversion through the node, and its noisy end in stock samplers."""

import pytest
import torch
from comfy.samplers import CFGGuider, calculate_sigmas, sampler_object
from comfy_execution.graph_utils import ExecutionBlocker
from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced

import nodes

STEPS = 20


@pytest.fixture(scope="module", params=["v", "eps", "flow"])
def world(request, node, demo):
    """A model of each family with its scheduler, inverted; residual 0 is plain DDIM."""
    with torch.inference_mode():
        model = node("LoadDemoModel", request.param)[0]
        scheduler = "simple" if request.param == "flow" else "ddim_uniform"
        prompts = demo.prompt(demo.caption), demo.prompt("")
        outputs = node("DDIMInvert", model, *prompts, demo.latent, STEPS, 1.0, scheduler)
        return model, scheduler, prompts, *outputs


def plain(node, world, cfg=1.0):
    model, _, prompts, maps, *_ = world
    (out,) = node("InvertedSampler", model, *prompts, maps, cfg, 0, residual=0.0)
    return out["samples"]


def error(samples, reference):
    return (samples - reference).square().mean().sqrt()


def test_residuals_make_it_exact(node, demo, world):
    model, _, prompts, maps, *_ = world
    (out,) = node("InvertedSampler", model, *prompts, maps, 1.0, 0)
    assert (out["samples"] - demo.latent["samples"]).abs().max() <= 1e-5
    assert error(plain(node, world), demo.latent["samples"]) > 1e-3


def test_five_fixed_point_steps_cut_the_error_tenfold(node, demo, world):
    model, scheduler, prompts, *_ = world
    maps, *_ = node(
        "DDIMInvert", model, *prompts, demo.latent, STEPS, 1.0, scheduler, fixed_point_steps=5
    )
    (out,) = node("InvertedSampler", model, *prompts, maps, 1.0, 0, residual=0.0)
    assert 10 * error(out["samples"], demo.latent["samples"]) < error(
        plain(node, world), demo.latent["samples"]
    )


def test_latent_output_is_where_a_stock_sampler_starts(node, world):
    model, scheduler, prompts, maps, latent, _ = world
    if maps.flow:
        assert isinstance(latent, ExecutionBlocker)
        assert "connect the noise output" in latent.message
        return
    (out,) = nodes.KSamplerAdvanced().sample(
        model, "disable", 0, STEPS, 1.0, "euler", scheduler, *prompts, latent, 0, 10000, "disable"
    )
    assert error(out["samples"], plain(node, world)) <= 1e-4 * out["samples"].std()


def custom_sample(world, latent):
    model, scheduler, prompts, _, _, noise = world
    guider = CFGGuider(model)
    guider.set_conds(*prompts)
    guider.set_cfg(1.0)
    sigmas = calculate_sigmas(model.get_model_object("model_sampling"), scheduler, STEPS)
    return SamplerCustomAdvanced.execute(
        noise, guider, sampler_object("euler"), sigmas, {"samples": latent}
    ).result[0]["samples"]


def test_noise_output_starts_a_stock_sampler_on_an_empty_latent(node, world):
    out = custom_sample(world, torch.zeros(1, 3, 32, 32))
    assert error(out, plain(node, world)) <= 1e-4 * out.std()


@pytest.mark.parametrize(
    "latent", [torch.zeros(1, 3, 16, 32), torch.ones(1, 3, 32, 32)], ids=["size", "filled"]
)
def test_noise_output_refuses_another_latent(world, latent):
    with pytest.raises(ValueError, match="needs an empty latent of shape"):
        custom_sample(world, latent)


def test_noise_of_the_highest_level_is_scaled_as_the_host_does(node, demo):
    """At the model's largest sigma stock samplers scale noise differently."""
    prompts = demo.prompt(demo.caption), demo.prompt("")
    world = demo.model, "normal", prompts
    world = *world, *node("DDIMInvert", demo.model, *prompts, demo.latent, STEPS, 1.0, "normal")
    out = custom_sample(world, torch.zeros(1, 3, 32, 32))
    assert error(out, plain(node, world)) <= 1e-4 * out.std()


def test_custom_node_equals_the_simple_one(node, demo, world):
    model, scheduler, prompts, maps, *_ = world
    guider = CFGGuider(model)
    guider.set_conds(*prompts)
    guider.set_cfg(1.0)
    sigmas = calculate_sigmas(model.get_model_object("model_sampling"), scheduler, STEPS)
    custom, *_ = node("DDIMInvertCustom", guider, sigmas, demo.latent)
    assert custom.xs.equal(maps.xs)
    assert custom.zs.equal(maps.zs)


def test_zero_terminal_snr_stays_finite(node, demo):
    from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete

    (model,) = ModelSamplingDiscrete().patch(demo.model, "v_prediction", True)
    prompts = demo.prompt(demo.caption), demo.prompt("")
    maps, *_ = node(
        "DDIMInvert", model, *prompts, demo.latent, STEPS, 1.0, "normal", fixed_point_steps=2
    )
    assert maps.sigmas[0] > 4000
    (out,) = node("InvertedSampler", model, *prompts, maps, 1.0, 0)
    assert (out["samples"] - demo.latent["samples"]).abs().max() <= 1e-3  # float32 at sigma 4518


def test_high_cfg_without_null_text_warns(node, world, caplog):
    plain(node, world, cfg=5.0)
    assert "drifts at cfg 5: lower cfg, or connect Null-Text Optimize" in caplog.text
