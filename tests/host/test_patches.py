"""Model patches of the host that keep something between calls, or mix the rows of one."""

import pytest
from comfy_extras.nodes_apg import APG
from comfy_extras.nodes_custom_sampler import CFGOverride
from comfy_extras.nodes_easycache import EasyCacheNode, LazyCacheNode
from comfy_extras.nodes_nag import NAGuidance

STEPS = 8
EXACT = 1e-5


def apg(model):
    return APG.execute(model, eta=1.0, norm_threshold=5.0, momentum=-0.5).result[0]


def nag(model):
    return NAGuidance.execute(model, nag_scale=5.0, nag_alpha=0.5, nag_tau=1.5).result[0]


def easy_cache(model):
    return EasyCacheNode.execute(model, 3.0, 0.15, 0.95, False).result[0]


def lazy_cache(model):
    return LazyCacheNode.execute(model, 0.2, 0.15, 0.95, False).result[0]


@pytest.fixture
def error(node, demo):
    """The largest of a reconstruction, inverted and replayed by the same patched model."""

    def run(method, model, **settings):
        wires = demo.wired(demo.caption, model)
        given = {"latent_image": demo.latent, "steps": STEPS, "cfg": 3.0, **settings}
        maps, *_ = node(method, **wires, **given)
        (out,) = node("InvertedSampler", **wires, noise_maps=maps, cfg=3.0)
        return (out["samples"] - demo.latent["samples"]).abs().max()

    return run


@pytest.mark.parametrize("patch", [apg, nag])
def test_edit_friendly_is_exact(error, demo, patch):
    assert error("EFDDPMInvert", patch(demo.model), skip_steps=0) <= EXACT


@pytest.mark.parametrize("patch", [easy_cache, lazy_cache])
def test_edit_friendly_is_exact_where_predictions_are_left_out(error, demo, patch):
    computed = []
    last = demo.model.model.diffusion_model.out  # the caches act inside the network too
    hook = last.register_forward_pre_hook(lambda *_: computed.append(1))
    assert error("EFDDPMInvert", patch(demo.model), steps=40, skip_steps=0) <= EXACT
    hook.remove()
    assert len(computed) < 2 * 40


@pytest.mark.parametrize("patch", [apg, nag])
def test_ddim_is_exact(error, demo, patch):
    assert error("DDIMInvert", patch(demo.model)) <= EXACT


def test_momentum_left_by_a_run_that_was_stopped(error, demo):
    model = apg(demo.model)
    (momentum,) = model.model_options["sampler_pre_cfg_function"]
    noise = demo.latent["samples"]
    args = {"conds_out": [noise, -noise], "sigma": noise.new_full((1,), 1e4), "cond_scale": 3.0}
    momentum(args)
    assert error("EFDDPMInvert", model, skip_steps=0) <= EXACT


@pytest.mark.parametrize("patch", [easy_cache, lazy_cache])
def test_caches_are_refused_where_levels_rise_or_repeat(error, null_text, demo, patch):
    message = "EasyCache and LazyCache guess .*: connect the model without them"
    with pytest.raises(ValueError, match=message):
        error("DDIMInvert", patch(demo.model))
    with pytest.raises(ValueError, match=message):
        null_text.optimize(model=patch(demo.model))


def test_null_text_of_a_model_that_mixes_the_prompts(null_text, demo):
    model = nag(demo.model)
    pivot, *_ = null_text.invert(model=model)
    maps, *_ = null_text.optimize(model=model, noise_maps=pivot)
    fitted = maps.xs[-1] - maps.zs[-1]
    assert (null_text.replay(maps, model=model) - fitted).abs().max() <= EXACT
    assert null_text.error(maps, model=model) <= EXACT
    message = "lets the negative prompt act at cfg 1 too, .*: set method to fast"
    with pytest.raises(ValueError, match=message):
        null_text.optimize(model=model, noise_maps=pivot, method="negative_prompt")


def test_null_text_refuses_momentum(null_text, demo):
    message = r"APG with momentum\) adds up .*: connect the model without the patch"
    with pytest.raises(ValueError, match=message):
        null_text.optimize(model=apg(demo.model))


def test_null_text_refuses_a_model_whose_cfg_is_1(null_text, demo):
    (model,) = CFGOverride.execute(demo.model, 1.0, 0.0, 1.0).result
    message = r"does not depend on the negative prompt, .*: connect the model without what sets"
    with pytest.raises(ValueError, match=message):
        null_text.optimize(model=model)
