"""Null text as CONDITIONING: whatever a sampler asks for, exactly one entry answers."""

import importlib

import pytest
import torch
from comfy import sample, samplers
from imprint_pack.inversion.noise_maps import NoiseMaps
from imprint_pack.inversion.schedule import Schedule
from tiny_models import sigmas_of, with_sampling

STEPS = 20
SAMPLINGS = [
    ("ModelSamplingDiscrete", "EPS"),
    ("ModelSamplingDiscrete", "V_PREDICTION"),
    ("ModelSamplingContinuousEDM", "EDM"),
    ("ModelSamplingDiscreteFlow", "CONST"),
]


def windows_of(model, schedule):
    """The pack's negative CONDITIONING for a bundle of this schedule, with random null text."""
    prompts = importlib.import_module("imprint_pack.nodes._host.prompts")
    uncond = torch.randn(STEPS, 1, 8, 64, generator=torch.Generator().manual_seed(0))
    xs, zs = torch.zeros(STEPS + 1, 1, 3, 4, 4), torch.zeros(STEPS, 1, 3, 4, 4)
    maps = NoiseMaps(xs, zs, schedule, uncond=uncond)
    return prompts.null_text_conditioning(model, maps, [], {})


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpm_2", "uni_pc", "dpmpp_2m"])
@pytest.mark.parametrize("bases", SAMPLINGS, ids=lambda bases: bases[1])
def test_exactly_one_negative_is_active_at_every_evaluation(demo, bases, sampler):
    model = with_sampling(demo.model, *bases)
    sigmas = sigmas_of(model, "simple", STEPS)
    schedule = Schedule(tuple(sigmas.tolist()), bases[1] == "CONST", 0.0)
    asked = []

    def count(args):
        conds, sigma = args["conds"], args["sigma"]
        active = [samplers.get_area_and_mult(c, args["input"], sigma) for c in conds[1]]
        asked.append((sigma[0].item(), [i for i, c in enumerate(active) if c is not None]))
        return [torch.zeros_like(args["input"])] * 2  # no model is needed to see what is asked

    model.set_model_sampler_calc_cond_batch_function(count)
    latent, negative = torch.zeros(1, 3, 8, 8), windows_of(model, schedule)
    prompts = demo.source["positive"], negative
    arguments = model, torch.ones(1, 3, 8, 8), 3.0, samplers.sampler_object(sampler), sigmas
    sample.sample_custom(*arguments, *prompts, latent, disable_pbar=True)
    assert len(asked) >= STEPS
    for sigma, entries in asked:
        (entry,) = entries
        assert schedule.sigmas[entry] * 1.0001 >= sigma or entry == 0
        assert sigma > schedule.sigmas[entry + 1] or entry == STEPS - 1
