"""Attention controls beside other patches of the model, and what cannot be controlled."""

from functools import partial

import pytest
import torch
from comfy.ldm.modules import attention
from comfy_extras.nodes_freelunch import FreeU_V2
from comfy_extras.nodes_nag import NAGuidance
from comfy_extras.nodes_pag import PerturbedAttentionGuidance
from comfy_extras.nodes_tomesd import TomePatchModel
from control_world import EXACT, TARGET
from imprint_pack.nodes._host.attention import Hooks


def free_u(model):
    return FreeU_V2.execute(model, 1.3, 1.4, 0.9, 0.2).result[0]


def pag(model):
    return PerturbedAttentionGuidance.execute(model, 2.0).result[0]


def nag(model):
    return NAGuidance.execute(model, nag_scale=5.0, nag_alpha=0.5, nag_tau=1.5).result[0]


def more_tokens(model):
    """As patches of IPAdapter's kind do: the text attention sees tokens of an image too."""
    clone = model.clone()
    extra = torch.randn(1, 4, 64, generator=torch.Generator().manual_seed(0))

    def patch(n, context, value, options):
        longer = torch.cat([context, extra.expand(len(context), -1, -1).to(context)], 1)
        return n, longer, longer

    clone.set_model_attn2_patch(patch)
    return clone


def other_kernel(model):
    clone = model.clone()
    calls = []

    def override(function, *args, **kwargs):
        calls.append(1)
        return function(*args, **kwargs)

    clone.model_options["transformer_options"]["optimized_attention_override"] = override
    clone.calls = calls
    return clone


@pytest.mark.parametrize("name", ["p2p", "pnp", "masactrl"])
@pytest.mark.parametrize("patch", [free_u, pag, nag, more_tokens])
def test_other_patches_keep_working(world, demo, trained, patch, name):
    model = patch(trained["v"][0])
    prompt, control = world.control(name, demo.caption)
    maps = world.invert(model=model)
    found = world.sample(maps, prompt, control, model=model)
    assert world.error(found) <= EXACT
    prompt, control = world.control(name, TARGET)
    edited = world.sample(maps, prompt, control, model=model)
    assert not edited.equal(world.sample(maps, prompt, control))  # the patch acts
    assert not edited.equal(world.sample(maps, prompt, model=model))  # the control acts


def test_the_users_own_kernel_computes_what_is_not_controlled(world, trained):
    model = other_kernel(trained["v"][0])
    prompt, control = world.control("p2p", TARGET)
    world.sample(world.invert(), prompt, control, model=model)
    assert model.calls


def ip_adapter(model):
    clone = model.clone()
    for number in (1, 2, 4, 5):
        clone.set_model_attn2_replace(
            lambda q, k, v, options: attention.optimized_attention(q, k, v, options["n_heads"]),
            "input",
            number,
        )
    return clone


def tome(model):
    return TomePatchModel.execute(model, 0.5).result[0]


def areas(prompt):
    return [[prompt[0][0], {**prompt[0][1], "area": (16, 16, 0, 0), "strength": 1.0}]]


@pytest.mark.parametrize(
    ("patch", "message"),
    [(ip_adapter, r"such as IPAdapter\) computes attention itself"), (tome, "ToMe or HyperTile")],
)
def test_conflicts_are_named(world, trained, patch, message):
    prompt, control = world.control("p2p", TARGET)
    with pytest.raises(ValueError, match=message):
        world.sample(world.invert(), prompt, control, model=patch(trained["v"][0]))


def test_areas_are_refused(world, demo):
    prompt, control = world.control("p2p", TARGET)
    with pytest.raises(ValueError, match="use a mask at Inverted Sampler instead"):
        world.sample(world.invert(), areas(prompt), control)


@pytest.mark.parametrize("wire", ["text", 3, torch.zeros(1)])
def test_something_else_as_control(world, demo, wire):
    with pytest.raises(
        ValueError, match=r"attention_control holds a .*: connect the attention_con"
    ):
        world.sample(world.invert(), demo.source["positive"], wire)


def test_a_longer_prompt_than_the_controls(world, demo):
    _, control = world.control("p2p", TARGET)
    longer = demo.prompt(" ".join([TARGET] * 4))
    with pytest.raises(ValueError, match="connect the target output of Prompt-to-Prompt"):
        world.sample(world.invert(), longer, control)


def test_a_control_that_ends_before_sampling_begins_says_so(world, caplog):
    prompt, control = world.control("p2p", TARGET, cross_replace=0.2, self_replace=0.2)
    world.sample(world.invert(skip_steps=4), prompt, control)
    assert "does nothing in steps 4 to 7 of 8, which are sampled" in caplog.text


@pytest.mark.parametrize("mask", [torch.zeros(0, 8, 8), torch.full((1, 8, 8), float("nan"))])
def test_a_broken_mask(world, mask):
    with pytest.raises(ValueError, match="is empty or holds NaN"):
        world.control("masactrl", TARGET, mask=mask)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_mask_of_any_batch(world, count):
    prompt, control = world.control("masactrl", TARGET, mask=torch.rand(count, 64, 20).round())
    assert world.sample(world.invert(), prompt, control).isfinite().all()


def test_hooks_do_not_pile_up(world):
    network = world.trained["v"][0].model.diffusion_model
    for _ in range(3):
        prompt, control = world.control("pnp", TARGET)
        world.sample(world.invert(), prompt, control)
    hooked = [block[0].out_layers.forward for block in network.output_blocks]
    assert not any(isinstance(f.args[0], partial) for f in hooked if isinstance(f, partial))


def test_a_target_that_begins_late(world):
    for name in ("p2p", "pix2pix-zero"):
        prompt, control = world.control(name, TARGET)
        late = [[prompt[0][0], {**prompt[0][1], "start_percent": 0.3, "end_percent": 1.0}]]
        assert world.sample(world.invert(), late, control).isfinite().all()


@pytest.mark.parametrize("source", [None, [], 3])
@pytest.mark.parametrize("node_id", ["PlugAndPlay", "MasaCtrl", "Pix2PixZero"])
def test_no_source_prompt(world, node_id, source):
    words = {"direction": "sentences", "direction.clip": world.clip}
    with pytest.raises(ValueError, match=r"source holds no prompt .*: connect"):
        world.node(node_id, source=source, **(words if node_id == "Pix2PixZero" else {}))


def test_memory_that_runs_out_in_a_source_call_is_asked_for_again(world, monkeypatch):
    """The second attempt of pix2pix-zero finds nothing of the first."""
    prompt, control = world.control("pix2pix-zero", TARGET)
    expected = world.sample(world.invert(), prompt, control)
    attention = Hooks._attention
    calls = []

    def short(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 30:
            self.awaited = (("self", None), None)  # as if the error came before the attention
            raise torch.OutOfMemoryError("out of memory")
        return attention(self, *args, **kwargs)

    monkeypatch.setattr(Hooks, "_attention", short)
    assert (world.sample(world.invert(), prompt, control) - expected).abs().max() <= 1e-4
    assert len(calls) > 30
