"""What users of the graph rely on: cost, batches, masks, repeatability, video."""

import pytest
import torch

STEPS = 10


@pytest.fixture
def edit(node, demo):
    """Inverts a latent and edits it to blue."""

    def run(latent, *, mask=None, seed=0, path="edit_friendly", target="a blue circle on grass"):
        source, empty = demo.prompt(demo.caption), demo.prompt("")
        (maps,) = node(
            "EFDDPMInvert",
            demo.model,
            source,
            empty,
            latent,
            seed,
            STEPS,
            2.0,
            "ddim_uniform",
            3,
            path=path,
        )
        (out,) = node("InvertedSampler", demo.model, demo.prompt(target), empty, maps, 4.0, 0, mask)
        return out["samples"]

    return run


def batch_of(demo, node, count):
    images = [node("DemoImage", "circle", "red", "grass", i)[0] for i in range(count)]
    return {"samples": demo.vae.encode(torch.cat(images))}


@pytest.mark.parametrize(("cfg", "rows"), [(1.0, 64), (3.5, 128)])
def test_inversion_costs_one_evaluation_per_kept_step(node, demo, cfg, rows):
    evaluated = []
    hook = demo.model.model.diffusion_model.register_forward_pre_hook(
        lambda _, args: evaluated.append(len(args[0]))
    )
    prompts = demo.prompt(demo.caption), demo.prompt("")
    node("EFDDPMInvert", demo.model, *prompts, demo.latent, 0, 100, cfg, "ddim_uniform", 36)
    hook.remove()
    assert sum(evaluated) == rows  # conditional and unconditional rows


@pytest.mark.parametrize("path", ["edit_friendly", "native"])
def test_second_run_is_identical_whatever_is_drawn_in_between(edit, demo, path):
    first = edit(demo.latent, path=path)
    torch.randn(100)
    assert edit(demo.latent, path=path).equal(first)


def test_global_random_state_is_left_alone(edit, demo):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    edit(demo.latent)
    assert torch.rand(1).equal(expected)


def test_another_seed_gives_another_edit(edit, demo):
    assert (edit(demo.latent) - edit(demo.latent, seed=1)).abs().max() > 0.01


def test_inputs_are_left_alone(edit, demo):
    before = demo.latent["samples"].clone()
    edit(demo.latent)
    assert demo.latent["samples"].equal(before)
    assert set(demo.latent) == {"samples"}


def test_item_alone_equals_the_item_in_a_batch(edit, node, demo):
    batch = batch_of(demo, node, 3)["samples"]
    together = edit({"samples": batch})
    alone = edit({"samples": batch[1:2], "batch_index": [1]})
    assert (together[1:2] - alone).abs().max() < 1e-4  # a batch sums in another order


def test_mask_keeps_the_outside_exactly(edit, demo):
    mask = torch.zeros(1, 32, 32)
    mask[:, :, 16:] = 1
    edited, source = edit(demo.latent, mask=mask), demo.latent["samples"]
    assert (edited - source)[..., :16].abs().max() <= 1e-6
    assert (edited - source)[..., 16:].abs().max() > 0.1


def test_mask_of_another_size_is_resized_as_the_host_does(edit, demo):
    large, small = torch.zeros(1, 128, 128), torch.zeros(1, 32, 32)
    large[:, :, 64:] = 1
    small[:, :, 16:] = 1
    assert edit(demo.latent, mask=large).equal(edit(demo.latent, mask=small))


def test_one_mask_per_image(edit, node, demo):
    batch = batch_of(demo, node, 2)
    masks = torch.stack([torch.zeros(32, 32), torch.ones(32, 32)])
    edited = edit(batch, mask=masks)
    assert (edited - batch["samples"])[0].abs().max() <= 1e-6
    assert (edited - batch["samples"])[1].abs().max() > 0.1


def test_mask_on_the_latent_is_ignored_with_one_line(edit, demo, caplog):
    caplog.set_level("INFO")
    edited = edit({**demo.latent, "noise_mask": torch.zeros(1, 32, 32)})
    assert edited.equal(edit(demo.latent))
    assert sum("noise_mask is ignored" in line for line in caplog.messages) == 1


def test_skipping_most_steps_warns(node, demo, caplog):
    prompts = demo.prompt(demo.caption), demo.prompt("")
    node("EFDDPMInvert", demo.model, *prompts, demo.latent, 0, STEPS, 1.0, "ddim_uniform", 7)
    assert "7 of 10 steps are skipped" in caplog.text


def test_another_cfg_is_said_in_one_line(edit, demo, caplog):
    caplog.set_level("INFO")
    edit(demo.latent)
    assert "Inverted at cfg 2, sampled at 4" in caplog.text


def test_out_of_memory_halves_the_batch(node, demo):
    """The network refuses more than 10 rows, as a full GPU would."""
    largest, refused = [], []

    def refuse(_, args):
        if len(args[0]) > 10:
            refused.append(len(args[0]))
            raise torch.OutOfMemoryError("no memory for this batch")
        largest.append(len(args[0]))

    prompts = demo.prompt(demo.caption), demo.prompt("")
    arguments = demo.model, *prompts, batch_of(demo, node, 2), 0, STEPS, 1.0, "ddim_uniform", 0
    hook = demo.model.model.diffusion_model.register_forward_pre_hook(refuse)
    (halved,) = node("EFDDPMInvert", *arguments, batch_timesteps=STEPS)
    hook.remove()
    (single,) = node("EFDDPMInvert", *arguments, batch_timesteps=1)
    assert max(largest) == 10
    assert refused == [20]  # the size that fits is remembered
    assert (halved.zs - single.zs).abs().max() < 1e-2  # up to rounding, at maps of size 10


def test_interrupt_stops_within_one_evaluation_and_leaves_the_model_as_it_was(node, demo):
    import comfy.model_management as mm
    from comfy import sample

    prompts = demo.prompt(demo.caption), demo.prompt("")

    def stock():
        latent = torch.zeros(1, 3, 32, 32)
        noise = sample.prepare_noise(latent, 0)
        return sample.sample(
            demo.model,
            noise,
            5,
            3.0,
            "euler",
            "normal",
            *prompts,
            latent,
            disable_pbar=True,
            seed=0,
        )

    before, evaluations = stock(), []

    def interrupt(_, args):
        evaluations.append(len(args[0]))
        if len(evaluations) == 7:
            mm.interrupt_current_processing(True)

    hook = demo.model.model.diffusion_model.register_forward_pre_hook(interrupt)
    with pytest.raises(mm.InterruptProcessingException):
        node("EFDDPMInvert", demo.model, *prompts, demo.latent, 0, 50, 1.0, "ddim_uniform", 0)
    hook.remove()
    assert len(evaluations) == 7
    assert stock().equal(before)


def test_custom_nodes_equal_the_simple_ones(node, demo):
    from comfy.samplers import CFGGuider, calculate_sigmas

    source, target, empty = (
        demo.prompt(text) for text in (demo.caption, "a blue circle on grass", "")
    )
    (maps,) = node(
        "EFDDPMInvert", demo.model, source, empty, demo.latent, 4, STEPS, 2.0, "ddim_uniform", 3
    )
    (simple,) = node("InvertedSampler", demo.model, target, empty, maps, 4.0, 0)
    guiders = []
    for positive, cfg in ((source, 2.0), (target, 4.0)):
        guiders.append(CFGGuider(demo.model))
        guiders[-1].set_conds(positive, empty)
        guiders[-1].set_cfg(cfg)
    sigmas = calculate_sigmas(demo.model.get_model_object("model_sampling"), "ddim_uniform", STEPS)
    (custom,) = node("EFDDPMInvertCustom", guiders[0], sigmas, demo.latent, 4, 3)
    assert custom.zs.equal(maps.zs)
    assert node("InvertedSamplerCustom", guiders[1], custom, 0)[0]["samples"].equal(
        simple["samples"]
    )


def test_residual_0_is_the_authors_reconstruction(node, demo):
    prompts = demo.prompt(demo.caption), demo.prompt("")
    (maps,) = node(
        "EFDDPMInvert", demo.model, *prompts, demo.latent, 0, STEPS, 1.0, "ddim_uniform", 0
    )
    (out,) = node("InvertedSampler", demo.model, *prompts, maps, 1.0, 0, residual=0.0)
    error = (out["samples"] - demo.latent["samples"]).abs().max()
    assert error == pytest.approx(maps.zs[-1].abs().max().item(), rel=1e-3)
    assert error > 1e-3


def test_video_latents_return_exactly(node):
    """A tiny model of the host's WAN family: flow, 16 channels, (batch, channels, frames, height,
    width).
    """
    from comfy import latent_formats, model_base, model_patcher, supported_models

    config = supported_models.WAN21_T2V(
        {
            "image_model": "wan2.1",
            "model_type": "t2v",
            "dim": 48,
            "ffn_dim": 64,
            "num_heads": 2,
            "num_layers": 2,
            "text_dim": 16,
            "freq_dim": 32,
            "in_dim": 16,
            "out_dim": 16,
        }
    )
    config.set_inference_dtype(torch.float32, None)
    model = model_base.WAN21(config, device=torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))
    patcher = model_patcher.ModelPatcher(model, torch.device("cpu"), torch.device("cpu"))
    prompt = [[torch.randn(1, 8, 16, generator=generator), {}]]
    latent = {"samples": torch.randn(1, 16, 3, 6, 10, generator=generator)}
    assert isinstance(model.latent_format, latent_formats.Wan21)
    (maps,) = node("EFDDPMInvert", patcher, prompt, prompt, latent, 0, STEPS, 1.0, "simple", 0)
    (out,) = node("InvertedSampler", patcher, prompt, prompt, maps, 1.0, 0)
    assert (out["samples"] - latent["samples"]).abs().max() <= 1e-5
    mask = torch.zeros(1, 48, 80)
    (masked,) = node("InvertedSampler", patcher, prompt, prompt, maps, 1.0, 0, mask)
    assert (masked["samples"] - latent["samples"]).abs().max() <= 1e-5


def test_demo_words_that_are_unknown_are_ignored_with_one_line(demo, caplog):
    known, longer = demo.prompt("a red circle on grass"), demo.prompt("a red shiny circle on grass")
    assert known[0][0].equal(longer[0][0])
    assert "does not know ['shiny']" in caplog.text


@pytest.mark.parametrize("text", ["", "a " * 30, "(red:1.4) circle"])
def test_demo_prompts_of_any_length_encode(demo, text):
    context = demo.prompt(text)[0][0]
    assert context.isfinite().all()
    assert context.shape[1] % 8 == 0
