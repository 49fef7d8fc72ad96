"""Attention controls on the demo models: what they leave alone, what they see and change."""

import comfy.model_management as mm
import pytest
import torch
from comfy.ldm.modules import attention
from comfy.ldm.modules.diffusionmodules import mmdit
from control_world import ALL, EXACT, STEPS, TARGET
from imprint_pack.inversion.prompt_to_prompt import PromptToPrompt
from imprint_pack.nodes._host.steering import Steering

FAMILIES = ["v", "eps", "flow"]


OFF = {
    "p2p": {"cross_replace": 0.0, "self_replace": 0.0},
    "pnp": {"features": 0.0, "self_attention": 0.0},
    "masactrl": {"first_step": 1.0},
    "pix2pix-zero": {"amount": 0.0},
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ALL)
def test_the_source_prompt_returns_the_source(world, demo, name, family):
    prompt, control = world.control(name, demo.caption)
    found = world.sample(world.invert(family), prompt, control, family=family)
    assert world.error(found) <= EXACT


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ["p2p", "pnp", "masactrl"])
def test_a_control_changes_an_edit(world, name, family):
    prompt, control = world.control(name, TARGET)
    maps = world.invert(family)
    change = world.sample(maps, prompt, control, family=family) - world.sample(
        maps, prompt, family=family
    )
    assert change.abs().max() > 1e-3


@pytest.mark.parametrize("name", OFF)
def test_fractions_of_nothing_are_the_run_without_control(world, name):
    prompt, control = world.control(name, TARGET, **OFF[name])
    for residual in (1.0, 0.5):
        plain = world.sample(world.invert(), prompt, residual=residual)
        assert world.sample(world.invert(), prompt, control, residual=residual).equal(plain)


def test_skipped_steps_count_into_fractions(world):
    prompt, control = world.control("p2p", TARGET, cross_replace=0.4, self_replace=0.4)
    cut = world.invert(skip_steps=4)  # of 8 steps: the first 3 would be controlled
    assert world.sample(cut, prompt, control).equal(world.sample(cut, prompt))
    assert not world.sample(world.invert(), prompt, control).equal(
        world.sample(world.invert(), prompt)
    )


class Rebuilt(PromptToPrompt):
    """Computes all text attention explicitly, and changes nothing."""

    def active(self, moment, joint):
        return True

    def acts(self, layer, moment):
        return layer.kind in ("cross", "joint")


@pytest.mark.parametrize("kernel", ["basic", "sub_quad", "pytorch"])
@pytest.mark.parametrize("family", ["v", "flow"])
def test_explicit_attention_is_the_hosts(world, monkeypatch, kernel, family):
    for module in (attention, mmdit):
        monkeypatch.setattr(module, "optimized_attention", vars(attention)[f"attention_{kernel}"])
    prompt, control = world.control("p2p", TARGET, cross_replace=0.0, self_replace=0.0)
    control = control._replace(rules=Rebuilt(**vars(control.rules)))
    maps = world.invert(family)
    explicit = world.sample(maps, prompt, control, family=family)
    assert (explicit - world.sample(maps, prompt, family=family)).abs().max() <= EXACT


def test_the_source_call_sees_the_bundles_own_latents(world, monkeypatch):
    seen = []
    predict = Steering._predict

    def watched(self, x, sigma):
        seen.append(x.clone())
        return predict(self, x, sigma)

    monkeypatch.setattr(Steering, "_predict", watched)
    prompt, control = world.control("masactrl", TARGET, first_step=0.0)
    maps = world.invert()
    world.sample(maps, prompt, control)
    assert len(seen) == STEPS
    assert all(x.equal(own) for x, own in zip(seen, maps.xs, strict=False))


def test_the_model_is_as_it_was(world, demo, node):
    maps = world.invert()
    before = world.sample(maps, demo.target["positive"])
    for name in ALL:
        prompt, control = world.control(name, TARGET)
        first = world.sample(maps, prompt, control)
        assert world.sample(maps, demo.target["positive"]).equal(before)
        assert world.sample(maps, prompt, control).equal(first)  # the control too


def test_a_batch_is_its_items(world, node, demo):
    latent = {"samples": torch.cat([demo.latent["samples"], demo.latent["samples"].flip(-1)])}
    both = world.invert(latent_image=latent)
    prompt, control = world.control("p2p", TARGET)
    found = world.sample(both, prompt, control)
    single = both.replace(xs=both.xs[:, 1:].contiguous(), zs=both.zs[:, 1:].contiguous())
    assert (found[1:] - world.sample(single, prompt, control)).abs().max() <= 1e-4


def test_several_edits_of_one_image(world):
    prompt, control = world.control("p2p", TARGET)
    twice = [[prompt[0][0].repeat(2, 1, 1), prompt[0][1]]]
    found = world.sample(world.invert(), twice, control)
    assert len(found) == 2
    assert (found - world.sample(world.invert(), prompt, control)).abs().max() <= 1e-4


@pytest.mark.parametrize("name", ALL)
def test_outside_of_a_mask_nothing_changes(world, demo, name):
    mask = torch.zeros(1, 32, 32)
    mask[:, :16] = 1
    prompt, control = world.control(name, TARGET)
    change = world.sample(world.invert(), prompt, control, mask=mask) - demo.latent["samples"]
    assert change[:, :, 16:].abs().max() <= EXACT
    assert change[:, :, :16].abs().max() > 1e-2


def test_null_text_keeps_its_picture(world, null_text, demo):
    maps, *_ = null_text.optimize()
    prompt, control = world.control("p2p", demo.caption)
    found = world.sample(maps, prompt, control, cfg=maps.cfg)
    assert world.error(found) <= EXACT
    prompt, control = world.control("p2p", TARGET)
    edited = world.sample(maps, prompt, control, cfg=maps.cfg)
    assert not edited.equal(world.sample(maps, prompt, cfg=maps.cfg))


def test_prompts_that_take_turns(world, demo):
    """A target that changes during the run: each entry is controlled while it lasts."""
    prompt, control = world.control("p2p", TARGET)
    turns = [
        [prompt[0][0], {**prompt[0][1], "start_percent": 0.0, "end_percent": 0.5}],
        [prompt[0][0], {**prompt[0][1], "start_percent": 0.5, "end_percent": 1.0}],
    ]
    assert (
        world.sample(world.invert(), turns, control) - world.sample(world.invert(), prompt, control)
    ).abs().max() <= EXACT


def test_rows_that_the_host_computes_one_by_one(world, monkeypatch, trained):
    prompt, control = world.control("p2p", TARGET)
    together = world.sample(world.invert(), prompt, control)
    model = trained["v"][0]
    monkeypatch.setattr(type(model.model), "memory_required", lambda *_, **__: 1e18)
    apart = world.sample(world.invert(), prompt, control)
    assert (apart - together).abs().max() <= 1e-4


def test_an_interrupted_run_leaves_nothing_behind(world, demo, monkeypatch):
    before = world.sample(world.invert(), demo.target["positive"])
    prompt, control = world.control("pnp", TARGET)
    predict = Steering._predict

    def interrupted(self, x, sigma):
        if self.hooks.moment.step == 3:
            mm.interrupt_current_processing()
        predict(self, x, sigma)

    steered = []
    start = Steering.start
    monkeypatch.setattr(Steering, "_predict", interrupted)
    monkeypatch.setattr(
        Steering, "start", lambda self, run: steered.append(self) or start(self, run)
    )
    with pytest.raises(mm.InterruptProcessingException):
        world.sample(world.invert(), prompt, control)
    (steering,) = steered
    assert not steering.hooks.kept
    assert not steering.hooks.phase
    assert world.sample(world.invert(), demo.target["positive"]).equal(before)
