"""Null text through the node: what it gives to both samplers, and what it sees of the model."""

import pytest
import torch
from comfy.samplers import sampler_object
from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced
from comfy_extras.nodes_freelunch import FreeU_V2
from comfy_extras.nodes_sag import SelfAttentionGuidance
from imprint_pack.benchmarks.tiny_families import FAMILIES
from tiny_models import cfg_guider

import nodes

STEPS, CFG = 8, 3.0
METHODS = "fast", "null_text", "negative_prompt"


@pytest.fixture(scope="module", params=METHODS)
def method(request):
    return request.param


@pytest.fixture(scope="module")
def fitted(null_text, method):
    """What the node gives, by method."""
    fewer = {"method.inner_steps": 3} if method == "null_text" else {}
    with torch.inference_mode():
        return null_text.fast if method == "fast" else null_text.optimize(method=method, **fewer)


def test_all_methods_of_the_menu_are_tested(nodes_by_id):
    menu = next(i for i in nodes_by_id["NullTextOptimize"].GET_SCHEMA().inputs if i.id == "method")
    assert tuple(option.key for option in menu.options) == METHODS


def test_it_brings_guided_sampling_nearer_to_the_image(null_text, demo, fitted):
    maps, *_ = fitted
    before, after = (
        (null_text.replay(m, cfg=CFG) - demo.latent["samples"]).square().mean()
        for m in (null_text.pivot, maps)
    )
    assert after < 0.9 * before
    assert maps.cfg == CFG


def test_the_method_is_named_in_the_bundle(fitted, method):
    maps, *_ = fitted
    assert maps.info["method"] == f"DDIM, target, {method}"


def test_positive_comes_out_unchanged(demo, fitted):
    assert fitted[1] is demo.source["positive"]


def test_stock_ksampler_with_the_negative_output_equals_inverted_sampler(null_text, demo, fitted):
    maps, positive, negative = fitted
    assert len(negative) == STEPS
    (out,) = nodes.KSamplerAdvanced().sample(
        model=demo.model,
        add_noise="disable",
        noise_seed=0,
        steps=STEPS,
        cfg=CFG,
        sampler_name="euler",
        scheduler="ddim_uniform",
        positive=positive,
        negative=negative,
        latent_image=null_text.noisy,
        start_at_step=0,
        end_at_step=10000,
        return_with_leftover_noise="disable",
    )
    expected = null_text.replay(maps)
    assert (out["samples"] - expected).abs().max() <= 1e-4 * expected.std()


def test_stock_sampler_of_a_flow_model_equals_inverted_sampler(null_text, demo, trained):
    wires = demo.wired(demo.caption, trained["flow"][0])
    pivot, _, noise = null_text.invert(**wires, scheduler="simple")
    maps, positive, negative = null_text.optimize(**wires, noise_maps=pivot)
    guider = cfg_guider({**wires, "positive": positive, "negative": negative}, CFG)
    sigmas, empty = torch.tensor(maps.schedule.sigmas), {"samples": torch.zeros(1, 3, 32, 32)}
    euler = sampler_object("euler")
    (out, _) = SamplerCustomAdvanced.execute(noise, guider, euler, sigmas, empty).result
    expected = null_text.replay(maps, **wires)
    assert (out["samples"] - expected).abs().max() <= 1e-4 * expected.std()


def test_custom_sampler_takes_null_text(node, null_text, demo):
    guider = cfg_guider(demo.source, CFG)
    (out,) = node(
        "InvertedSamplerCustom", guider=guider, noise_maps=null_text.fast[0], residual=0.0
    )
    assert out["samples"].equal(null_text.replay(null_text.fast[0]))
    assert len(guider.original_conds["negative"]) == 1  # the guider itself is left alone


def test_another_cfg_warns(null_text, caplog):
    null_text.replay(null_text.fast[0], cfg=5.0)
    assert "The null text was made for cfg 3, not for 5: set both to the same." in caplog.text


def test_positive_can_be_the_start(null_text, demo):
    settings = {"method.inner_steps": 1, "method.learning_rate": 1e-4}
    started = {
        name: null_text.optimize(method="null_text", **settings, **{"method.start_from": name})[0]
        for name in ("positive", "negative")
    }
    for name, maps in started.items():
        embedding = demo.source[name][0][0]
        assert (maps.uncond[0] - embedding).abs().max() <= 2e-4  # one small update


@pytest.mark.parametrize("family", ["SD 1.5", "SDXL"])
def test_npi_takes_the_source_embedding_and_its_pooled_vector(null_text, family):
    maps, _, negative = null_text.of_family(family, method="negative_prompt")
    ((embedding, options),) = FAMILIES[family].prompt(1)
    assert all(entry.equal(embedding) for entry, _ in negative)
    assert all(o["pooled_output"].equal(options["pooled_output"]) for _, o in negative)
    assert maps.uncond_pooled.equal(options["pooled_output"])


def test_optimising_keeps_the_pooled_vector_of_the_negative_prompt(null_text):
    maps, _, negative = null_text.of_family("SDXL")
    assert maps.uncond_pooled is None
    ((_, options),) = FAMILIES["SDXL"].prompt(2)
    assert all(o["pooled_output"].equal(options["pooled_output"]) for _, o in negative)


def test_lora_is_seen_and_left_in_place(null_text, demo):
    lora = demo.model.clone()
    name = "diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight"
    weight = lora.model_state_dict()[name]
    noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    lora.add_patches({name: ("diff", (noise,))}, 1.0)
    before = null_text.stock(lora)
    maps, *_ = null_text.optimize(model=lora, noise_maps=null_text.invert(model=lora)[0])
    assert not maps.uncond.equal(null_text.fast[0].uncond)
    assert null_text.error(maps, model=lora) <= 1e-5
    assert null_text.stock(lora).equal(before)


def test_patches_that_change_activations_in_place(null_text, demo):
    (model,) = FreeU_V2.execute(demo.model, 1.3, 1.4, 0.9, 0.2).result
    maps, *_ = null_text.optimize(model=model, noise_maps=null_text.invert(model=model)[0])
    assert null_text.error(maps, model=model) <= 1e-4


def test_guidance_patches_see_the_null_text(null_text, demo):
    """Self-attention guidance evaluates the negative prompt again, and asks which row it is."""
    (model,) = SelfAttentionGuidance.execute(demo.model, 0.5, 2.0).result
    maps, *_ = null_text.optimize(model=model)
    assert null_text.error(maps, model=model) <= 1e-4
