"""Invert and replay through the nodes, with the host's own classes."""

import importlib

import pytest
import torch
from imprint_pack.inversion import (
    neighbour_correlation,
    plan_step,
    record,
    variance_per_step,
)

STEPS = 20
EXACT = 1e-5
SCHEDULERS = (
    "simple",
    "sgm_uniform",
    "karras",
    "exponential",
    "ddim_uniform",
    "beta",
    "normal",
    "linear_quadratic",
    "kl_optimal",
)


def random_model(prediction):
    """The demo network with arbitrary weights, as the host loads it."""
    demo = importlib.import_module("imprint_pack.demo.model")
    from comfy import model_patcher

    model = demo.build_model(prediction)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model_patcher.ModelPatcher(model, torch.device("cpu"), torch.device("cpu"))


@pytest.fixture(scope="module", params=["v", "eps", "flow"])
def trained(request, node):
    with torch.inference_mode():
        return node("LoadDemoModel", request.param)[
            0
        ], "simple" if request.param == "flow" else "ddim_uniform"


@pytest.fixture(scope="module", params=["v", "eps", "flow"])
def arbitrary(request):
    with torch.inference_mode():
        return random_model(request.param), "simple" if request.param == "flow" else "ddim_uniform"


def round_trip(
    node,
    demo,
    model,
    scheduler,
    *,
    cfg=3.5,
    eta=1.0,
    latent=None,
    positive=None,
    together=1,
):
    positive = positive or demo.prompt(demo.caption)
    prompts = positive, demo.prompt("")
    latent = latent or demo.latent
    (maps,) = node(
        "EFDDPMInvert",
        model,
        *prompts,
        latent,
        0,
        STEPS,
        cfg,
        scheduler,
        0,
        eta,
        batch_timesteps=together,
    )
    (replayed,) = node("InvertedSampler", model, *prompts, maps, cfg, 0)
    return (replayed["samples"] - latent["samples"]).abs().max()


@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_trained_models_return_the_latent(node, demo, trained, eta):
    assert round_trip(node, demo, *trained, eta=eta) <= EXACT


@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_any_network_returns_the_latent(node, demo, arbitrary, eta):
    assert round_trip(node, demo, *arbitrary, eta=eta) <= EXACT


@pytest.mark.parametrize("cfg", [0.0, 1.0, 15.0])
def test_every_cfg_returns_the_latent(node, demo, cfg):
    assert round_trip(node, demo, demo.model, "ddim_uniform", cfg=cfg) <= EXACT


def test_batched_timesteps_return_the_latent_up_to_rounding(node, demo, trained):
    # A batch sums in another order than single calls and sees latents from before the correction.
    assert round_trip(node, demo, *trained, together=8) <= 1e-3


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_every_scheduler_returns_the_latent(node, demo, scheduler):
    assert round_trip(node, demo, demo.model, scheduler) <= EXACT


@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (1, 3, 24, 40), (1, 3, 33, 47)])
def test_batches_and_odd_sizes_return_the_latent(node, demo, shape):
    latent = {"samples": torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1}
    assert round_trip(node, demo, demo.model, "ddim_uniform", latent=latent) <= EXACT


def test_reconstruction_check_calls_it_exact(node, demo):
    prompts = demo.prompt(demo.caption), demo.prompt("")
    (maps,) = node(
        "EFDDPMInvert", demo.model, *prompts, demo.latent, 0, STEPS, 3.5, "ddim_uniform", 0
    )
    (replayed,) = node("InvertedSampler", demo.model, *prompts, maps, 3.5, 0)
    reference = demo.vae.decode(demo.latent["samples"])
    psnr, report, difference = node(
        "ReconstructionCheck", reference, demo.vae.decode(replayed["samples"])
    )
    assert psnr >= 100
    assert "(exact)" in report
    assert difference.shape == reference.shape


@pytest.mark.parametrize("path", ["edit_friendly", "native"])
def test_skipping_in_the_inversion_equals_skipping_in_the_sampler(node, demo, path):
    source, target, empty = (
        demo.prompt(text) for text in (demo.caption, "a blue circle on grass", "")
    )

    def edit(invert_skip, sample_skip):
        (maps,) = node(
            "EFDDPMInvert",
            demo.model,
            source,
            empty,
            demo.latent,
            0,
            STEPS,
            2.0,
            "ddim_uniform",
            invert_skip,
            path=path,
        )
        return node("InvertedSampler", demo.model, target, empty, maps, 4.0, sample_skip)[0][
            "samples"
        ]

    # Equal up to the rounding of the correction, which starts at another step.
    assert (edit(8, 0) - edit(0, 8)).abs().max() < 1e-4


class TestConditioning:
    """Every kind of conditioning inverts exactly, and a batch of timesteps is only used where the
    host treats its rows by their own timestep."""

    def check(self, node, demo, positive, model=None):
        model, scheduler = model or demo.model, "ddim_uniform"
        assert round_trip(node, demo, model, scheduler, positive=positive) <= EXACT
        # Maps, not round trips: two prompts that contradict each other amplify rounding.
        single, batched = (
            node("EFDDPMInvert", model, positive, demo.prompt(""), demo.latent, 0, STEPS, 3.5,
                 scheduler, 0, batch_timesteps=together)[0].zs
            for together in (1, 8)
        )  # fmt: skip
        assert (batched - single).abs().max() <= 1e-3

    def two(self, demo, changed):
        return changed + demo.prompt("a blue square on sand")

    def test_area(self, node, demo):
        import nodes

        area = nodes.ConditioningSetArea().append(demo.prompt(demo.caption), 128, 128, 0, 64, 1.0)[
            0
        ]
        self.check(node, demo, self.two(demo, area))

    @pytest.mark.parametrize("rows", [1, 2])
    def test_mask(self, node, demo, rows):
        import nodes

        mask = nodes.ConditioningSetMask().append(
            demo.prompt(demo.caption), demo.mask.repeat(rows, 1, 1), "default", 1.0
        )[0]
        self.check(node, demo, self.two(demo, mask))

    def test_timestep_range(self, node, demo):
        import nodes

        early = nodes.ConditioningSetTimestepRange().set_range(demo.prompt(demo.caption), 0.0, 0.5)[
            0
        ]
        late = nodes.ConditioningSetTimestepRange().set_range(
            demo.prompt("a blue square on sand"), 0.5, 1.0
        )[0]
        self.check(node, demo, early + late)

    def test_lora(self, node, demo):
        model = demo.model.clone()
        key = "diffusion_model.input_blocks.0.0.weight"
        model.add_patches({key: ("diff", (torch.full((32, 12, 3, 3), 0.01),))})
        self.check(node, demo, demo.prompt(demo.caption), model)

    def test_model_patch_that_reads_the_timestep(self, node, demo):
        model = demo.model.clone()
        model.set_model_sampler_post_cfg_function(
            lambda args: args["denoised"] * (1 + 0.1 * (args["sigma"][0] > 0.2).float())
        )
        self.check(node, demo, demo.prompt(demo.caption), model)

    def test_lora_hook(self, node, demo):
        from comfy import hooks

        hook = hooks.WeightHook(strength_model=1.0)
        key = "diffusion_model.input_blocks.0.0.weight"
        hook.weights = {key: ("diff", (torch.full((32, 12, 3, 3), 0.01),))}
        group = hooks.HookGroup()
        group.add(hook)
        positive = hooks.set_hooks_for_conditioning(demo.prompt(demo.caption), group)
        self.check(node, demo, positive)

    def test_control(self, node, demo):
        from comfy.controlnet import ControlBase

        class Push(ControlBase):
            """Adds a constant to the middle block in the first half of the schedule."""

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

        control = Push()
        control.timestep_percent_range = (0.0, 0.5)
        positive = [[c, {**d, "control": control}] for c, d in demo.prompt(demo.caption)]
        plain = node(
            "EFDDPMInvert", demo.model, demo.prompt(demo.caption), demo.prompt(""), demo.latent, 0,
            STEPS, 3.5, "ddim_uniform", 0,
        )[0]  # fmt: skip
        self.check(node, demo, positive)
        controlled = node(
            "EFDDPMInvert", demo.model, positive, demo.prompt(""), demo.latent, 0,
            STEPS, 3.5, "ddim_uniform", 0,
        )[0]  # fmt: skip
        assert (controlled.zs - plain.zs).abs().max() > 0.01

    def test_more_rows_than_images(self, node, demo):
        rows = [demo.prompt(text)[0][0] for text in (demo.caption, "a blue square on sand")]
        self.check(node, demo, [[torch.cat(rows), {}]])


def guiders(demo):
    from comfy.samplers import CFGGuider
    from comfy_extras.nodes_custom_sampler import BasicGuider, DualCFGGuider
    from comfy_extras.nodes_perpneg import PerpNegGuider

    source, other, empty = (demo.prompt(t) for t in (demo.caption, "a blue square on sand", ""))
    guider = CFGGuider(demo.model)
    guider.set_conds(source, empty)
    guider.set_cfg(3.0)
    return {
        "CFGGuider": guider,
        "BasicGuider": BasicGuider.execute(demo.model, source).result[0],
        "DualCFGGuider": DualCFGGuider.execute(
            demo.model, source, other, empty, 2.0, 3.0, "regular"
        ).result[0],
        "PerpNegGuider": PerpNegGuider.execute(demo.model, source, other, empty, 3.0, 1.0).result[
            0
        ],
    }


@pytest.mark.parametrize("name", ["CFGGuider", "BasicGuider", "DualCFGGuider", "PerpNegGuider"])
@pytest.mark.parametrize("together", [1, 8])
def test_every_guider_returns_the_latent(node, demo, name, together):
    from comfy.samplers import calculate_sigmas

    guider = guiders(demo)[name]
    sigmas = calculate_sigmas(demo.model.get_model_object("model_sampling"), "ddim_uniform", STEPS)
    (maps,) = node(
        "EFDDPMInvertCustom", guider, sigmas, demo.latent, 0, 0, batch_timesteps=together
    )
    (out,) = node("InvertedSamplerCustom", guider, maps, 0)
    error = (out["samples"] - demo.latent["samples"]).abs().max()
    assert error <= (EXACT if together == 1 else 1e-3)


@pytest.mark.parametrize("prediction", ["v", "flow"])
def test_first_part_of_a_schedule_leaves_what_a_stock_sampler_continues_from(
    node, demo, prediction
):
    from comfy import sample, samplers

    model = node("LoadDemoModel", prediction)[0]
    prompts = demo.prompt(demo.caption), demo.prompt("")
    sampling = model.get_model_object("model_sampling")
    sigmas = samplers.calculate_sigmas(sampling, "simple", STEPS)
    guider = samplers.CFGGuider(model)
    guider.set_conds(*prompts)
    (whole,) = node("EFDDPMInvertCustom", guider, sigmas, demo.latent, 0, 0)
    (part,) = node("EFDDPMInvertCustom", guider, sigmas[:13], demo.latent, 0, 0)
    (noisy,) = node("InvertedSamplerCustom", guider, part, 0)
    # A stock sampler starts from noise_scaling(sigma, no noise, latent): it must be our latent.
    nothing = torch.zeros_like(noisy["samples"])
    start = sampling.noise_scaling(sigmas[12], nothing, noisy["samples"])
    assert (start - part.xs[-1]).abs().max() <= 1e-5
    assert whole.xs.shape[0] == STEPS + 1
    euler = samplers.sampler_object("euler")
    continued = sample.sample_custom(
        model, nothing, 1.0, euler, sigmas[12:], *prompts, noisy["samples"], disable_pbar=True
    )
    assert (continued - demo.latent["samples"]).abs().mean() < 0.2


@pytest.mark.parametrize("eta", [0.3, 1.0])
@pytest.mark.parametrize(("sigma", "sigma_next"), [(14.6, 9.0), (1.3, 1.2), (0.03, 0.001)])
def test_step_at_alpha_1_is_the_hosts_ancestral_step(eta, sigma, sigma_next):
    from comfy.k_diffusion.sampling import get_ancestral_step

    down, up = get_ancestral_step(sigma, sigma_next, eta)
    step = plan_step(sigma, sigma_next, eta, flow=False)
    assert step.direction == pytest.approx(down, rel=1e-12)
    assert step.std == pytest.approx(up, rel=1e-12)


def test_edit_friendly_maps_have_the_papers_statistics(node, demo):
    prompts = demo.prompt(demo.caption), demo.prompt("")
    samples = torch.cat(
        [demo.vae.encode(node("DemoImage", "circle", "red", "grass", i)[0]) for i in range(8)]
    )
    (maps,) = node(
        "EFDDPMInvert", demo.model, *prompts, {"samples": samples}, 0, 50, 1.0, "ddim_uniform", 0
    )
    sigma, sigma_next = torch.tensor(maps.sigmas[:-1]), torch.tensor(maps.sigmas[1:])
    high = sigma_next > 1
    ratio = (sigma_next / sigma) ** 2
    expected = (1 + ratio) / (1 - ratio)
    assert (variance_per_step(maps.zs) / expected - 1)[high].abs().max() < 0.1
    correlation = neighbour_correlation(maps.zs)[high[1:]]
    assert correlation.min() > -0.55
    assert correlation.max() < -0.4


def test_recorded_maps_are_white(node, demo):
    host = importlib.import_module("imprint_pack.nodes._host")
    prompts = demo.prompt(demo.caption), demo.prompt("")
    guider = host.cfg_guider(demo.model, *prompts, 1.0)
    sigmas = host.schedule(demo.model, "ddim_uniform", STEPS)
    noise = torch.randn(STEPS + 1, 8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = []

    def loop(run):
        found.extend(
            record(run.denoise, sigmas[0] * noise[0], sigmas.tolist(), 1.0, False, noise[1:])
        )
        return found[0][-1]

    image = host.run(guider, torch.zeros(8, 3, 32, 32), sigmas, loop)
    (maps,) = node(
        "EFDDPMInvert", demo.model, *prompts, {"samples": image}, 0, STEPS, 1.0, "ddim_uniform", 0
    )
    recorded, friendly = found[1][:-1], maps.zs[:-1]
    assert (variance_per_step(recorded) - 1).abs().max() < 0.05
    assert neighbour_correlation(recorded).abs().max() < 0.05
    assert variance_per_step(friendly).min() > 1.5
