"""DDIM inversion through the node, and its noisy end in stock samplers."""

import pytest
import torch
from comfy.samplers import sampler_object
from comfy_execution.graph_utils import ExecutionBlocker
from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced
from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete
from tiny_models import cfg_guider, sigmas_of

import nodes

STEPS = 20


class World:
    """A model with its scheduler, inverted at cfg 1; residual 0 is plain DDIM."""

    def __init__(self, node, demo, model, scheduler, **settings):
        self.node, self.demo, self.scheduler = node, demo, scheduler
        self.wires = demo.wired(demo.caption, model)
        self.maps, self.latent, self.noise = self.invert(**settings)

    def invert(self, **settings):
        given = {"latent_image": self.demo.latent, "steps": STEPS, "scheduler": self.scheduler}
        return self.node("DDIMInvert", **self.wires, **given | settings)

    def replay(self, maps=None, cfg=1.0, residual=0.0):
        given = {"noise_maps": maps or self.maps, "cfg": cfg, "residual": residual}
        return self.node("InvertedSampler", **self.wires, **given)[0]["samples"]

    def custom_sample(self, latent):
        """A stock sampler on the noise output."""
        sigmas = sigmas_of(self.wires["model"], self.scheduler, STEPS)
        guider, euler = cfg_guider(self.wires), sampler_object("euler")
        outputs = SamplerCustomAdvanced.execute(
            self.noise, guider, euler, sigmas, {"samples": latent}
        )
        return outputs.result[0]["samples"]


@pytest.fixture(scope="module")
def worlds(node, demo, trained):
    with torch.inference_mode():
        return {kind: World(node, demo, *model) for kind, model in trained.items()}


@pytest.fixture(params=["v", "eps", "flow"])
def world(request, worlds):
    return worlds[request.param]


def distance(samples, reference):
    return (samples - reference).square().mean().sqrt()


def test_only_residuals_make_it_exact(demo, world):
    assert distance(world.replay(residual=1.0), demo.latent["samples"]) <= 1e-5
    assert distance(world.replay(), demo.latent["samples"]) > 1e-3


@pytest.mark.parametrize(("kind", "factor"), [("v", 10), ("eps", 10), ("flow", 4)])
def test_five_fixed_point_steps_cut_the_error(demo, worlds, kind, factor):
    # Each gains by how little the network's slope changes with its input: the joint transformer's
    # changes more than the UNets'.
    world = worlds[kind]
    maps, *_ = world.invert(fixed_point_steps=5)
    repeated, once = (distance(world.replay(m), demo.latent["samples"]) for m in (maps, world.maps))
    assert factor * repeated < once


def test_latent_output_at_sigma_1_of_a_flow_model_points_to_noise(worlds):
    latent = worlds["flow"].latent
    assert isinstance(latent, ExecutionBlocker)
    assert "a flow model's LATENT cannot hold: connect the noise output" in latent.message


@pytest.mark.parametrize("kind", ["v", "eps"])
def test_latent_output_is_where_a_stock_sampler_starts(worlds, kind):
    world = worlds[kind]
    wires = world.wires
    (out,) = nodes.KSamplerAdvanced().sample(
        model=wires["model"],
        add_noise="disable",
        noise_seed=0,
        steps=STEPS,
        cfg=1.0,
        sampler_name="euler",
        scheduler=world.scheduler,
        positive=wires["positive"],
        negative=wires["negative"],
        latent_image=world.latent,
        start_at_step=0,
        end_at_step=10000,
        return_with_leftover_noise="disable",
    )
    assert distance(out["samples"], world.replay()) <= 1e-4 * out["samples"].std()


def test_noise_output_starts_a_stock_sampler_on_an_empty_latent(world):
    out = world.custom_sample(torch.zeros(1, 3, 32, 32))
    assert distance(out, world.replay()) <= 1e-4 * out.std()


@pytest.mark.parametrize(
    ("latent", "found"),
    [
        (torch.zeros(1, 3, 16, 32), r"an empty latent of \(1, 3, 16, 32\)"),
        (torch.ones(1, 3, 32, 32), r"a latent with a picture of \(1, 3, 32, 32\)"),
    ],
)
def test_noise_output_refuses_another_latent(world, latent, found):
    message = rf"empty latent of shape \(1, 3, 32, 32\), but got {found}: connect an empty latent"
    with pytest.raises(ValueError, match=message):
        world.custom_sample(latent)


def test_noise_of_the_highest_level_is_scaled_as_the_host_does(node, demo):
    """At the model's largest sigma stock samplers scale noise differently."""
    world = World(node, demo, demo.model, "normal")
    out = world.custom_sample(torch.zeros(1, 3, 32, 32))
    assert distance(out, world.replay()) <= 1e-4 * out.std()


def test_custom_node_equals_the_simple_one(node, demo, world):
    sigmas = sigmas_of(world.wires["model"], world.scheduler, STEPS)
    wires = {"guider": cfg_guider(world.wires), "sigmas": sigmas, "latent_image": demo.latent}
    custom, *_ = node("DDIMInvertCustom", **wires)
    assert custom.xs.equal(world.maps.xs)
    assert custom.zs.equal(world.maps.zs)


def test_zero_terminal_snr_stays_finite(node, demo):
    (model,) = ModelSamplingDiscrete().patch(demo.model, "v_prediction", True)
    world = World(node, demo, model, "normal", fixed_point_steps=2)
    assert world.maps.schedule.sigmas[0] > 4000
    replayed = world.replay(residual=1.0)
    assert (replayed - demo.latent["samples"]).abs().max() <= 1e-3  # float32 at sigma 4518


def test_high_cfg_without_null_text_warns(world, caplog):
    world.replay(cfg=5.0)
    message = "A DDIM inversion of cfg 1 drifts at cfg 5: lower cfg, or connect Null-Text Optimize."
    assert message in caplog.text
