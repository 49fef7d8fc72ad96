"""What users of the graph rely on: cost, masks, repeatability, interrupts, words under a node."""

import importlib

import comfy.model_management as mm
import pytest
import torch
from comfy import sample
from tiny_models import cfg_guider, counting, sigmas_of

STEPS = 10


@pytest.fixture(scope="module")
def invert(node, demo):
    def run(**settings):
        given = {**demo.source, "latent_image": demo.latent, "steps": STEPS, "cfg": 1.0}
        return node("EFDDPMInvert", **{"skip_steps": 0, **given, **settings})[0]

    return run


@pytest.fixture(scope="module")
def edit(node, demo):
    """Inverts a latent and edits it to blue."""

    def run(latent=None, *, mask=None, **settings):
        given = {"latent_image": latent or demo.latent, "steps": STEPS, "cfg": 2.0, "skip_steps": 3}
        (maps,) = node("EFDDPMInvert", **demo.source, **given, **settings)
        (out,) = node("InvertedSampler", **demo.target, noise_maps=maps, cfg=4.0, mask=mask)
        return out["samples"]

    return run


@pytest.fixture(scope="module")
def edited(edit):
    with torch.inference_mode():
        return edit()


@pytest.fixture(scope="module")
def batch(node, demo):
    with torch.inference_mode():
        pictures = [node("DemoImage", variation=i)[0] for i in range(2)]
        return {"samples": demo.vae.encode(torch.cat(pictures))}


@pytest.mark.parametrize(("cfg", "rows"), [(1.0, 16), (3.5, 32)])
def test_inversion_costs_one_evaluation_per_kept_step(invert, demo, cfg, rows):
    counted = counting(demo.model)
    invert(steps=25, cfg=cfg, skip_steps=9)
    counted.remove()
    assert sum(counted.rows) == rows  # conditional and unconditional rows


@pytest.mark.parametrize("batch_timesteps", [0, 4])
def test_batched_timesteps_share_model_calls(invert, demo, batch_timesteps):
    counted = counting(demo.model)
    invert(batch_timesteps=batch_timesteps)
    counted.remove()
    assert sum(counted.rows) == STEPS
    assert max(counted.rows) == (batch_timesteps or STEPS)


@pytest.mark.parametrize("path", ["edit_friendly", "native"])
def test_another_seed_gives_another_edit(edit, path):
    assert (edit(path=path) - edit(path=path, seed=1)).abs().max() > 0.01


@pytest.mark.parametrize("kind", ["v", "eps", "flow"])
def test_shifted_noise_is_that_of_as_many_timesteps_below(node, demo, trained, kind):
    model, _ = trained[kind]
    wires = {**demo.wired(demo.caption, model), "latent_image": demo.latent}
    settings = {"steps": 5, "skip_steps": 1, "scheduler": "sgm_uniform", "cfg": 1.0}
    (maps,) = node("EFDDPMInvert", **wires, **settings, noise_shift=200)
    sampling = model.get_model_object("model_sampling")
    level = torch.tensor(maps.schedule.sigmas[0])
    lower = sampling.sigma(sampling.timestep(level) - 200)
    # What the network sees, less its part of the picture.
    own, share = (1 - lower, 1) if kind == "flow" else (1, (1 + lower**2) ** -0.5)
    noise = sampling.calculate_input(level, maps.xs[0]) - share * own * maps.xs[-1]
    assert noise.std() == pytest.approx((share * lower).item(), rel=0.05)


def test_a_clamped_last_map_is_shorter(node, demo, invert):
    free, clamped = invert(), invert(last_map_norm=0.5)
    assert clamped.zs[-1].norm() < 0.9 * free.zs[-1].norm()
    assert clamped.zs[:-1].allclose(free.zs[:-1])


def test_mask_of_another_size_is_resized_as_the_host_does(edit):
    large, small = torch.zeros(1, 128, 128), torch.zeros(1, 32, 32)
    large[:, :, 64:] = 1
    small[:, :, 16:] = 1
    assert edit(mask=large).equal(edit(mask=small))


def test_one_mask_per_image(edit, batch):
    masks = torch.stack([torch.zeros(32, 32), torch.ones(32, 32)])
    change = (edit(batch, mask=masks) - batch["samples"]).abs()
    assert change[0].max() <= 1e-6
    assert change[1].max() > 0.1


def test_mask_on_the_latent_is_ignored_with_one_line(edit, edited, demo, caplog):
    caplog.set_level("INFO")
    assert edit({**demo.latent, "noise_mask": torch.zeros(1, 32, 32)}).equal(edited)
    lines = [line for line in caplog.messages if "noise_mask is ignored; connect the mask" in line]
    assert len(lines) == 1


@pytest.mark.parametrize(("skip", "warned"), [(6, False), (7, True)])
def test_skipping_most_steps_warns(invert, caplog, skip, warned):
    invert(skip_steps=skip)
    assert (f"{skip} of 10 steps are skipped, so the edit can hardly" in caplog.text) == warned


def test_another_cfg_is_said_in_one_line(edit, caplog):
    caplog.set_level("INFO")
    edit()
    assert caplog.text.count("An edit: inverted at cfg 2, sampled at cfg 4.") == 1


@pytest.mark.parametrize(("asked", "given"), [(20, 20), (30, 31)])
def test_a_scheduler_with_other_steps_is_said(invert, caplog, asked, given):
    caplog.set_level("INFO")
    assert len(invert(steps=asked, skip_steps=asked - 1).zs) == given - asked + 1
    assert (f"ddim_uniform gives {given} steps here instead of {asked}." in caplog.text) == (
        asked != given
    )


def test_out_of_memory_halves_the_batch(invert, demo, batch, caplog):
    """The network refuses more than 10 rows, as a full GPU would."""
    caplog.set_level("INFO")
    refused = []

    def refuse(count):
        if counted.rows[-1] > 10:
            refused.append(counted.rows.pop())
            raise torch.OutOfMemoryError("no memory for this batch")

    counted = counting(demo.model, refuse)
    halved = invert(latent_image=batch, batch_timesteps=STEPS)
    counted.remove()
    single = invert(latent_image=batch, batch_timesteps=1)
    assert "Memory does not suffice for 10 steps in one call: going on with 5." in caplog.text
    assert max(counted.rows) == 10
    assert refused == [20]  # the size that fits is remembered
    assert (halved.zs - single.zs).abs().max() < 1e-2  # up to rounding, at maps of size 10


@pytest.mark.parametrize("evaluation", range(3))
@pytest.mark.parametrize("place", ["input_blocks.0.0", "middle_block.0", "out"])
@pytest.mark.parametrize(
    ("node_id", "settings"), [("EFDDPMInvert", {"skip_steps": 0}), ("DDIMInvert", {})]
)
def test_out_of_memory_at_any_point_of_a_batch(
    node, demo, caplog, monkeypatch, node_id, settings, place, evaluation
):
    """Once, inside the network, in each of the calls of several timesteps."""
    caplog.set_level("INFO")
    batching = importlib.import_module("imprint_pack.nodes._host.batching")
    monkeypatch.setattr(batching, "_automatic", lambda guider, latent: 4)
    large, failed = [], []

    def refuse(_, args):
        if len(args[0]) > 1:
            large.append(len(args[0]))
            if len(large) == evaluation + 1:
                failed.append(large[-1])
                raise torch.OutOfMemoryError("no memory for this batch")

    hook = demo.model.model.diffusion_model.get_submodule(place).register_forward_pre_hook(refuse)
    wires = {**demo.source, "cfg": 1.0}
    maps, *_ = node(node_id, **wires, latent_image=demo.latent, steps=STEPS, **settings)
    hook.remove()
    lines = [line for line in caplog.messages if "Memory does not suffice" in line]
    going_on = failed[0] // 2
    assert lines == [
        f"Imprint: Memory does not suffice for {failed[0]} steps in one call: "
        f"going on with {going_on}."
    ]
    assert max(large[evaluation + 1 :], default=1) <= max(going_on, 1)
    (out,) = node("InvertedSampler", **wires, noise_maps=maps)
    assert (out["samples"] - demo.latent["samples"]).abs().max() <= 1e-6


def test_out_of_memory_of_a_single_timestep_is_the_users_to_know(invert, demo):
    def refuse(count):
        raise torch.OutOfMemoryError("no memory for this batch")

    counted = counting(demo.model, refuse)
    with pytest.raises(torch.OutOfMemoryError):
        invert(batch_timesteps=STEPS)
    counted.remove()
    assert counted.rows == [10, 5, 2, 1]


def test_interrupt_stops_within_one_evaluation_and_leaves_the_model_as_it_was(invert, demo):
    empty = torch.zeros(1, 3, 32, 32)
    noise = sample.prepare_noise(empty, 0)

    def stock():
        prompts = demo.source["positive"], demo.source["negative"]
        arguments = demo.model, noise, 5, 3.0, "euler", "normal", *prompts, empty
        return sample.sample(*arguments, disable_pbar=True, seed=0)

    before = stock()
    counted = counting(
        demo.model, lambda count: count == 7 and mm.interrupt_current_processing(True)
    )
    with pytest.raises(mm.InterruptProcessingException):
        invert(steps=50, batch_timesteps=1)
    counted.remove()
    assert len(counted.rows) == 7
    assert stock().equal(before)


def test_custom_nodes_equal_the_simple_ones(node, demo, invert, edited):
    maps = invert(cfg=2.0, skip_steps=3)
    source, target = cfg_guider(demo.source, 2.0), cfg_guider(demo.target, 4.0)
    sigmas = sigmas_of(demo.model, "ddim_uniform", STEPS)
    wires = {"guider": source, "sigmas": sigmas, "latent_image": demo.latent}
    (custom,) = node("EFDDPMInvertCustom", **wires, skip_steps=3)
    assert custom.zs.equal(maps.zs)
    (out,) = node("InvertedSamplerCustom", guider=target, noise_maps=custom)
    assert out["samples"].equal(edited)
