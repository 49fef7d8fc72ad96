"""What null text cannot be fitted to: one sentence that names the value and the remedy."""

import pytest
import torch
from comfy_extras.nodes_custom_sampler import DualCFGGuider
from imprint_pack.benchmarks.tiny_families import FAMILIES
from imprint_pack.inversion.schedule import Schedule
from tiny_models import counting

METHODS = "fast", "null_text", "negative_prompt"


def noisy(maps):
    return maps.replace(schedule=Schedule(maps.schedule.sigmas, False, 1.0))


PIVOTS = {
    "noise": (noisy, "made with eta 1, but .*: connect the noise_maps output of DDIM Invert"),
    "cfg": (
        lambda maps: maps.replace(cfg=3.0),
        "inverted at cfg 3, but null text needs the path of cfg 1: set cfg of DDIM Invert to 1",
    ),
    "unknown cfg": (lambda maps: maps.replace(cfg=None), "inverted at an unknown cfg, but"),
    "null text": (
        lambda maps: maps.replace(uncond=torch.zeros(len(maps.zs), 1, 8, 64)),
        "hold null text already: connect the noise_maps output of DDIM Invert",
    ),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", PIVOTS)
def test_maps_that_are_no_pivot(null_text, name, method):
    change, message = PIVOTS[name]
    with pytest.raises(ValueError, match=message):
        null_text.optimize(noise_maps=change(null_text.pivot), method=method)


def test_maps_of_another_model(null_text):
    with pytest.raises(ValueError, match=r"has 3 channels in 2 dim.*works on 4 in 2"):
        null_text.optimize(model=FAMILIES["SD 1.5"].model())


@pytest.mark.parametrize("method", METHODS)
def test_cfg_1(null_text, method):
    message = "cfg is 1, where the negative prompt has no effect .*: set the cfg of the edit"
    with pytest.raises(ValueError, match=message):
        null_text.optimize(cfg=1.0, method=method)


@pytest.mark.parametrize("count", [0, 2])
def test_not_one_negative_prompt(null_text, demo, count):
    with pytest.raises(ValueError, match=f"negative holds {count} prompts.*one CLIP Text Encode"):
        null_text.optimize(negative=count * demo.source["negative"])


def test_prompt_that_is_no_tensor(null_text):
    message = r"negative holds no text embedding .*: connect CLIP Text Encode"
    with pytest.raises(ValueError, match=message):
        null_text.optimize(negative=[[None, {}]])


def test_model_that_makes_something_else_of_its_prompt(null_text, demo, monkeypatch):
    original = demo.model.model.extra_conds

    def other(**kwargs):
        return original(**{**kwargs, "cross_attn": 2 * kwargs["cross_attn"]})

    monkeypatch.setattr(demo.model.model, "extra_conds", other)
    message = "give it something else: connect prompts without areas, and a model that reads the te"
    with pytest.raises(ValueError, match=message):
        null_text.optimize(model=demo.model.clone())


def test_areas_in_the_positive_prompt(null_text, demo):
    ((embedding, options),) = demo.source["positive"]
    area = [[embedding, {**options, "area": (16, 16, 0, 0), "strength": 1.0}]]
    with pytest.raises(ValueError, match="connect prompts without areas"):
        null_text.optimize(positive=demo.source["positive"] + area)


@pytest.mark.parametrize(
    "value",
    [
        {"method": "newton"},
        {"method": "null_text"},
        {"method": "null_text", "inner_steps": ["3", 0]},
        "newton",
        None,
        ["3", 0],
    ],
)
def test_unknown_method(null_text, value):
    message = "does not know this method .*: choose fast, null_text, negative_prompt in its menu"
    with pytest.raises(ValueError, match=message):
        null_text.optimize(method=value)


@pytest.mark.parametrize("method", ["fast", "negative_prompt"])
@pytest.mark.parametrize(
    "limit", [{"start_percent": 0.3}, {"mask": torch.ones(1, 32, 32)}, {"strength": 0.5}]
)
def test_limited_prompts(null_text, demo, limit, method):
    limited = {
        name: [[embedding, {**options, **limit}] for embedding, options in demo.source[name]]
        for name in ("positive", "negative")
    }
    message = f"is limited by {next(iter(limit))}, but null text needs a prompt .*: connect CLIP"
    with pytest.raises(ValueError, match=message):
        null_text.optimize(**limited, method=method)


def test_model_with_its_own_evaluation(null_text, demo):
    model = demo.model.clone()
    model.set_model_sampler_calc_cond_batch_function(lambda args: None)
    message = "changes how prompts are evaluated, .*: connect the model without the patch"
    with pytest.raises(ValueError, match=message):
        null_text.optimize(model=model)


def test_model_that_answers_nan(null_text, demo):
    counted = counting(demo.model)

    def spoil(_, args, out):
        return out * float("nan") if len(counted.rows) == 8 else out

    hook = demo.model.model.diffusion_model.register_forward_hook(spoil)
    message = "Null text met NaN or infinite values at step 2 of 8: use a float32 model"
    with pytest.raises(ValueError, match=message):
        null_text.optimize()
    hook.remove()
    counted.remove()


def test_guider_without_a_place_for_null_text(node, demo, null_text):
    positive, negative = demo.source["positive"], demo.source["negative"]
    prompts = positive, positive, negative
    (guider,) = DualCFGGuider.execute(demo.model, *prompts, 3.0, 1.0, "regular").result
    with pytest.raises(ValueError, match="Guider_DualCFG cannot use: connect a CFGGuider, or the"):
        node("InvertedSamplerCustom", guider=guider, noise_maps=null_text.fast[0])


def test_null_text_of_another_text_encoder(null_text):
    maps, *_ = null_text.fast
    wider = maps.replace(uncond=torch.cat([maps.uncond, maps.uncond], -1))
    message = r"tokens of width 128, the positive prompt of 64: connect the model and CLIP"
    with pytest.raises(ValueError, match=message):
        null_text.replay(wider)
