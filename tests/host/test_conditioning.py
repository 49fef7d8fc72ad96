"""Every kind of conditioning and guider inverts exactly, and timesteps share a model call only
where the host treats its rows by their own timestep.
"""

import pytest
import torch
from comfy import hooks
from comfy.controlnet import ControlBase
from comfy_extras.nodes_custom_sampler import BasicGuider, DualCFGGuider
from comfy_extras.nodes_perpneg import PerpNegGuider
from tiny_models import cfg_guider, sigmas_of

import nodes

STEPS = 10
EXACT = 1e-5
WEIGHT = "diffusion_model.input_blocks.0.0.weight"


@pytest.fixture
def inverted(node, demo):
    def run(wires, **settings):
        given = {"latent_image": demo.latent, "steps": STEPS, "skip_steps": 0}
        return node("EFDDPMInvert", **wires, **given, **settings)[0]

    return run


@pytest.fixture
def check(node, demo, inverted):
    def run(positive, model=None):
        wires = {**demo.source, "positive": positive, "model": model or demo.model}
        single, batched = inverted(wires), inverted(wires, batch_timesteps=8)
        (out,) = node("InvertedSampler", **wires, noise_maps=single, cfg=3.5)
        assert (out["samples"][:1] - demo.latent["samples"]).abs().max() <= EXACT
        # Maps, not round trips: two prompts that contradict each other amplify rounding.
        assert (batched.zs - single.zs).abs().max() <= 1e-3
        return single

    return run


@pytest.fixture
def other(demo):
    return demo.prompt("a blue square on sand")


def test_area(check, demo, other):
    (area,) = nodes.ConditioningSetArea().append(demo.prompt(demo.caption), 128, 128, 0, 64, 1.0)
    check(area + other)


@pytest.mark.parametrize("rows", [1, 2])
def test_mask(check, demo, other, rows):
    mask = demo.mask.repeat(rows, 1, 1)
    (masked,) = nodes.ConditioningSetMask().append(demo.prompt(demo.caption), mask, "default", 1.0)
    check(masked + other)


def test_timestep_range(check, demo, other):
    limit = nodes.ConditioningSetTimestepRange().set_range
    (early,), (late,) = limit(demo.prompt(demo.caption), 0.0, 0.5), limit(other, 0.5, 1.0)
    check(early + late)


def test_lora(check, demo):
    model = demo.model.clone()
    model.add_patches({WEIGHT: ("diff", (torch.full((32, 12, 3, 3), 0.01),))})
    check(demo.prompt(demo.caption), model)


def test_model_patch_that_reads_the_timestep(check, demo):
    model = demo.model.clone()
    model.set_model_sampler_post_cfg_function(
        lambda args: args["denoised"] * (1 + 0.1 * (args["sigma"][0] > 0.2).float())
    )
    check(demo.prompt(demo.caption), model)


def test_lora_hook(check, demo):
    hook, group = hooks.WeightHook(strength_model=1.0), hooks.HookGroup()
    hook.weights = {WEIGHT: ("diff", (torch.full((32, 12, 3, 3), 0.01),))}
    group.add(hook)
    check(hooks.set_hooks_for_conditioning(demo.prompt(demo.caption), group))


class Push(ControlBase):
    """A ControlNet that adds a constant to the middle block in the first half of the schedule."""

    def get_control(self, x_noisy, t, cond, batched_number, transformer_options):
        if t[0] < self.timestep_range[1]:
            return None
        return {"input": [], "middle": [torch.full((len(x_noisy), 128, 4, 4), 5.0)]}

    def copy(self):
        copied = Push()
        self.copy_to(copied)
        return copied

    def get_models(self):
        return []


def test_control(check, demo, inverted):
    control = Push()
    control.timestep_percent_range = (0.0, 0.5)
    positive = [[c, {**options, "control": control}] for c, options in demo.prompt(demo.caption)]
    controlled = check(positive)
    assert (controlled.zs - inverted(demo.source).zs).abs().max() > 0.01


def test_more_rows_than_images(check, demo, other):
    """The host inverts with the first row; the sampler makes one more edit for each other row."""
    rows = [prompt[0][0] for prompt in (demo.prompt(demo.caption), other)]
    check([[torch.cat(rows), {}]])


@pytest.fixture
def guiders(demo, other):
    source, empty = demo.source["positive"], demo.source["negative"]
    dual = DualCFGGuider.execute(demo.model, source, other, empty, 2.0, 3.0, "regular")
    return {
        "CFGGuider": cfg_guider(demo.source, 3.0),
        "BasicGuider": BasicGuider.execute(demo.model, source).result[0],
        "DualCFGGuider": dual.result[0],
        "PerpNegGuider": PerpNegGuider.execute(demo.model, source, other, empty, 3, 1).result[0],
    }


@pytest.mark.parametrize("name", ["CFGGuider", "BasicGuider", "DualCFGGuider", "PerpNegGuider"])
@pytest.mark.parametrize("batch_timesteps", [1, 8])
def test_every_guider_returns_the_latent(node, demo, guiders, name, batch_timesteps):
    wires = {"guider": guiders[name], "sigmas": sigmas_of(demo.model, "ddim_uniform", STEPS)}
    (maps,) = node(
        "EFDDPMInvertCustom",
        **wires,
        latent_image=demo.latent,
        batch_timesteps=batch_timesteps,
    )
    (out,) = node("InvertedSamplerCustom", guider=guiders[name], noise_maps=maps)
    assert (out["samples"] - demo.latent["samples"]).abs().max() <= EXACT


def test_a_prompt_of_several_rows_makes_as_many_edits_of_one_image(node, demo, inverted):
    maps = inverted(demo.source, cfg=1.0)
    texts = [demo.caption, "a blue circle on grass", "a red circle on night"]
    prompts = [demo.prompt(text) for text in texts]
    together = [[torch.cat([rows for ((rows, _),) in prompts]), {}]]

    def sample(positive):
        wires = {**demo.source, "positive": positive}
        return node("InvertedSampler", **wires, noise_maps=maps, cfg=1.0)[0]["samples"]

    edits = sample(together)
    assert (edits - torch.cat([sample(prompt) for prompt in prompts])).abs().max() <= 1e-4
    assert edits[0].equal(maps.xs[-1][0])
