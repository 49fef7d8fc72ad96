"""Null text through the node: what it gives to both samplers, its gradients, and what it leaves."""

import importlib

import comfy.model_management as mm
import pytest
import torch
from comfy import model_base, model_patcher, sample, samplers, supported_models
from comfy.samplers import CFGGuider, calculate_sigmas, sampler_object
from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced

import nodes

STEPS, CFG = 8, 3.0
ONLINE = {"method": "online", "inner_steps": 1, "learning_rate": 0.05}
PAPER = {
    "method": "null_text",
    "inner_steps": 5,
    "learning_rate": 0.01,
    "tolerance": 1e-5,
    "start_from": "negative",
}
NPI = {"method": "negative_prompt"}


@pytest.fixture(scope="module")
def prompts(demo):
    with torch.inference_mode():
        return demo.prompt(demo.caption), demo.prompt("")


@pytest.fixture(scope="module")
def invert(node, demo, prompts):
    def run(model=demo.model, latent=demo.latent, prompts=prompts, scheduler="ddim_uniform"):
        return node("DDIMInvert", model, *prompts, latent, STEPS, 1.0, scheduler)

    return run


@pytest.fixture(scope="module")
def pivot(invert):
    with torch.inference_mode():
        return invert()[0]


@pytest.fixture(scope="module")
def optimize(node, demo, prompts, pivot):
    def run(method=ONLINE, model=demo.model, prompts=prompts, maps=pivot, cfg=CFG):
        return node("NullTextOptimize", model, *prompts, maps, cfg, method)

    return run


@pytest.fixture(scope="module")
def replay(node, demo, prompts):
    def run(maps, residual=0.0, model=demo.model, cfg=CFG):
        (out,) = node("InvertedSampler", model, *prompts, maps, cfg, 0, residual=residual)
        return out["samples"]

    return run


def stock(model, prompts):
    latent = torch.zeros(1, 3, 32, 32)
    noise = sample.prepare_noise(latent, 0)
    return sample.sample(
        model, noise, 5, CFG, "euler", "normal", *prompts, latent, disable_pbar=True, seed=0
    )


@pytest.mark.parametrize("method", [ONLINE, PAPER, NPI], ids=lambda m: m["method"])
def test_it_brings_guided_sampling_nearer_to_the_image(demo, optimize, replay, pivot, method):
    maps, *_ = optimize(method)
    before, after = ((replay(m) - demo.latent["samples"]).square().mean() for m in (pivot, maps))
    assert after < 0.9 * before
    assert (replay(maps, residual=1.0) - demo.latent["samples"]).abs().max() <= 1e-5
    assert maps.info["cfg"] == CFG


def test_batch_and_odd_size(node, demo, invert, optimize, replay):
    latent = torch.rand(2, 3, 33, 18, generator=torch.Generator().manual_seed(0)) * 2 - 1
    maps, *_ = optimize(maps=invert(latent={"samples": latent})[0])
    assert maps.uncond.shape[:2] == (STEPS, 2)
    assert (replay(maps, residual=1.0) - latent).abs().max() <= 1e-5


@pytest.mark.parametrize("method", [ONLINE, PAPER, NPI], ids=lambda m: m["method"])
def test_stock_ksampler_with_the_negative_output_equals_inverted_sampler(
    demo, invert, optimize, replay, method
):
    maps, positive, negative = optimize(method)
    assert len(negative) == STEPS
    _, latent, _ = invert()
    (out,) = nodes.KSamplerAdvanced().sample(
        demo.model, "disable", 0, STEPS, CFG, "euler", "ddim_uniform",
        positive, negative, latent, 0, 10000, "disable",
    )  # fmt: skip
    expected = replay(maps)
    assert (out["samples"] - expected).abs().max() <= 1e-4 * expected.std()


@pytest.fixture(scope="module")
def flow(node):
    with torch.inference_mode():
        return node("LoadDemoModel", "flow")[0]


def test_stock_sampler_of_a_flow_model_equals_inverted_sampler(
    flow, demo, prompts, invert, optimize, replay
):
    pivot, _, noise = invert(flow, scheduler="simple")
    maps, positive, negative = optimize(model=flow, maps=pivot)
    guider = CFGGuider(flow)
    guider.set_conds(positive, negative)
    guider.set_cfg(CFG)
    out = SamplerCustomAdvanced.execute(
        noise,
        guider,
        sampler_object("euler"),
        torch.tensor(maps.sigmas),
        {"samples": torch.zeros(1, 3, 32, 32)},
    ).result[0]["samples"]
    expected = replay(maps, model=flow)
    assert (out - expected).abs().max() <= 1e-4 * expected.std()


def with_sampling(model, base):
    """The model under another of the host's samplings."""
    from comfy import model_sampling

    kind = type(
        "Sampling", (getattr(model_sampling, base[0]), getattr(model_sampling, base[1])), {}
    )
    patched = model.clone()
    patched.add_object_patch("model_sampling", kind(model.model.model_config))
    return patched


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpm_2", "uni_pc", "dpmpp_2m"])
@pytest.mark.parametrize(
    "base",
    [
        ("ModelSamplingDiscrete", "EPS"),
        ("ModelSamplingDiscrete", "V_PREDICTION"),
        ("ModelSamplingContinuousEDM", "EDM"),
        ("ModelSamplingDiscreteFlow", "CONST"),
    ],
    ids=lambda base: base[1],
)
def test_exactly_one_negative_is_active_at_every_evaluation(demo, pivot, base, sampler):
    conditioning = importlib.import_module("imprint_pack.nodes._conditioning")
    model = with_sampling(demo.model, base)
    sigmas = calculate_sigmas(model.get_model_object("model_sampling"), "simple", 20)
    uncond = torch.randn(20, 1, 8, 64, generator=torch.Generator().manual_seed(0))
    maps = pivot._replace(sigmas=tuple(sigmas.tolist()), uncond=uncond)
    negative = conditioning.null_text(model, maps, [], {})
    active = []

    def count(args):
        conds, sigma = args["conds"], args["sigma"]
        found = [samplers.get_area_and_mult(c, args["input"], sigma) for c in conds[1]]
        active.append((sigma[0].item(), [i for i, c in enumerate(found) if c is not None]))
        return samplers.calc_cond_batch(args["model"], conds, *(args["input"], sigma), {})

    model.set_model_sampler_calc_cond_batch_function(count)
    latent = torch.zeros(1, 3, 32, 32)
    sample.sample_custom(
        model, torch.randn(1, 3, 32, 32), CFG, sampler_object(sampler), sigmas,
        demo.prompt("a red circle"), negative, latent, disable_pbar=True,
    )  # fmt: skip
    assert len(active) >= 20
    for sigma, entries in active:
        (entry,) = entries
        assert maps.sigmas[entry] * 1.0001 >= sigma or entry == 0
        assert sigma > maps.sigmas[entry + 1] or entry == 19


def tiny_unet(kind, dtype=torch.float32):
    """A tiny UNet of the host's SD 1.5 or SDXL family, with arbitrary weights."""
    config = {"SD15": supported_models.SD15, "SDXL": supported_models.SDXL}[kind](
        {
            "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 64,
            "num_res_blocks": [1, 1], "channel_mult": [1, 2], "transformer_depth": [1, 1],
            "transformer_depth_output": [1, 1, 1, 1], "transformer_depth_middle": 1,
            "context_dim": 64, "use_spatial_transformer": True, "legacy": False,
            "num_head_channels": 16, "use_linear_in_transformer": kind == "SDXL",
            **({"num_classes": "sequential", "adm_in_channels": 2816} if kind == "SDXL" else {}),
        }
    )  # fmt: skip
    config.set_inference_dtype(dtype, None)
    model = (model_base.SDXL if kind == "SDXL" else model_base.BaseModel)(
        config, device=torch.device("cpu")
    )
    generator = torch.Generator().manual_seed(0)
    for name, parameter in sorted(model.named_parameters()):
        fan_in = parameter.shape[1:].numel() or 1
        value = torch.randn(parameter.shape, generator=generator) / fan_in**0.5
        parameter.copy_(1 + 0.1 * value if "norm" in name and "weight" in name else value)
    return model_patcher.ModelPatcher(model, torch.device("cpu"), torch.device("cpu"))


def tiny_prompt(seed):
    generator = torch.Generator().manual_seed(seed)
    pooled = torch.randn(1, 1280, generator=generator)
    return [[torch.randn(1, 8, 64, generator=generator), {"pooled_output": pooled}]]


def tiny_null_text(node, model, method):
    latent = {"samples": torch.randn(1, 4, 8, 10, generator=torch.Generator().manual_seed(5))}
    prompts = tiny_prompt(1), tiny_prompt(2)
    maps, *_ = node("DDIMInvert", model, *prompts, latent, 2, 1.0, "ddim_uniform")
    return node("NullTextOptimize", model, *prompts, maps, CFG, method)


@pytest.mark.parametrize("kind", ["SD15", "SDXL"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_models_learn_what_float32_learns(node, kind, dtype):
    exact = tiny_null_text(node, tiny_unet(kind), PAPER)[0]
    half = tiny_null_text(node, tiny_unet(kind, dtype), PAPER)[0]
    start = tiny_prompt(2)[0][0]
    moved, expected = (m.uncond[0] - start for m in (half, exact))
    assert half.uncond.dtype == torch.float32
    cosine = torch.nn.functional.cosine_similarity(moved.flatten(), expected.flatten(), dim=0)
    assert cosine > 0.8  # Adam's first updates are signs, which small errors can turn


@pytest.mark.parametrize("kind", ["SD15", "SDXL"])
def test_npi_takes_the_source_embedding_and_its_pooled_vector(node, kind):
    maps, _, negative = tiny_null_text(node, tiny_unet(kind), NPI)
    ((embedding, options),) = tiny_prompt(1)
    assert all(entry.equal(embedding) for entry, _ in negative)
    assert all(o["pooled_output"].equal(options["pooled_output"]) for _, o in negative)
    assert maps.uncond_pooled.equal(options["pooled_output"])


def test_optimising_keeps_the_pooled_vector_of_the_negative_prompt(node):
    maps, _, negative = tiny_null_text(node, tiny_unet("SDXL"), ONLINE)
    assert maps.uncond_pooled is None
    ((_, options),) = tiny_prompt(2)
    assert all(o["pooled_output"].equal(options["pooled_output"]) for _, o in negative)


def test_lora_is_seen_and_left_in_place(demo, prompts, invert, optimize, replay):
    lora = demo.model.clone()
    name = "diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight"
    weight = lora.model_state_dict()[name]
    lora.add_patches({name: ("diff", (torch.randn_like(weight),))}, 1.0)
    before = stock(lora, prompts)
    maps, *_ = optimize(model=lora, maps=invert(lora)[0])
    assert not maps.uncond.equal(optimize()[0].uncond)
    assert (replay(maps, 1.0, lora) - demo.latent["samples"]).abs().max() <= 1e-5
    assert stock(lora, prompts).equal(before)


def test_recomputed_activations_give_the_same_null_text(demo, optimize, monkeypatch):
    gradients = importlib.import_module("imprint_pack.nodes._gradients")
    plain, *_ = optimize()
    monkeypatch.setattr(gradients, "_memory_is_short", lambda *args: True)
    asked = []
    original = gradients._recordable
    monkeypatch.setattr(
        gradients, "_recordable", lambda network, r: asked.append(r) or original(network, r)
    )
    recomputed, *_ = optimize()
    assert asked == [True]
    assert (plain.uncond - recomputed.uncond).abs().max() < 1e-5
    assert not any("forward" in vars(m) for m in demo.model.model.diffusion_model.modules())


def test_out_of_memory_in_the_backward_pass_starts_again_with_recomputation(
    optimize, monkeypatch, caplog
):
    caplog.set_level("INFO")
    inversion = importlib.import_module("imprint_pack.nodes.optimize")
    original, calls = inversion.optimize, []

    def run(*args, **kwargs):
        calls.append(1)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("backward")
        return original(*args, **kwargs)

    monkeypatch.setattr(inversion, "optimize", run)
    maps, *_ = optimize()
    assert len(calls) == 2
    assert maps.uncond.isfinite().all()
    assert "activations are computed twice" in caplog.text


class TestLeavesTheModelAlone:
    """Whatever ends the run, the next stock run has the same bits and autograd is off."""

    @pytest.fixture(autouse=True)
    def _unchanged(self, demo, prompts):
        network = demo.model.model.diffusion_model
        before, tables = stock(demo.model, prompts), dict(network.named_parameters())
        yield
        assert dict(network.named_parameters()).keys() == tables.keys()
        assert all(p is tables[name] for name, p in network.named_parameters())
        assert not any("forward" in vars(m) for m in network.modules())
        assert not mm.in_training
        assert stock(demo.model, prompts).equal(before)
        assert torch.is_inference_mode_enabled()
        assert not any(
            m.weight_function for m in network.modules() if hasattr(m, "weight_function")
        )

    def test_after_success(self, optimize):
        optimize()

    @pytest.mark.parametrize("short", [False, True])
    def test_after_an_error(self, demo, optimize, monkeypatch, short):
        gradients = importlib.import_module("imprint_pack.nodes._gradients")
        monkeypatch.setattr(gradients, "_memory_is_short", lambda *args: short)
        evaluations = []

        def fail(_, args):
            evaluations.append(1)
            if len(evaluations) == 9:
                raise RuntimeError("broken layer")

        hook = demo.model.model.diffusion_model.register_forward_pre_hook(fail)
        with pytest.raises(RuntimeError, match="broken layer"):
            optimize()
        hook.remove()

    def test_after_an_interrupt_within_one_evaluation(self, demo, optimize):
        evaluations = []

        def interrupt(_, args):
            evaluations.append(1)
            if len(evaluations) == 9:
                mm.interrupt_current_processing(True)

        hook = demo.model.model.diffusion_model.register_forward_pre_hook(interrupt)
        with pytest.raises(mm.InterruptProcessingException):
            optimize()
        hook.remove()
        assert len(evaluations) == 9


def test_second_run_is_identical_whatever_is_drawn_in_between(optimize):
    first, *_ = optimize()
    torch.randn(7)
    assert optimize()[0].uncond.equal(first.uncond)


def test_online_costs_three_evaluations_and_a_backward_pass_per_step(demo, optimize):
    evaluations = []
    hook = demo.model.model.diffusion_model.register_forward_pre_hook(
        lambda _, args: evaluations.append(len(args[0]))
    )
    optimize()
    hook.remove()
    # The prompt once, the embedding before and after its only update; the last steps have two.
    assert evaluations == [1] * (3 * STEPS + 2)


class TestErrors:
    """One sentence that names the wrong value."""

    def test_maps_with_noise(self, node, demo, prompts, optimize):
        (maps,) = node(
            "EFDDPMInvert", demo.model, *prompts, demo.latent, 0, STEPS, 1.0, "ddim_uniform", 0
        )
        with pytest.raises(
            ValueError, match=r"made with eta 1.*connect the noise_maps output of DD"
        ):
            optimize(maps=maps)

    def test_maps_of_another_cfg(self, optimize, pivot):
        with pytest.raises(ValueError, match="inverted at cfg 3, but null text needs the path of"):
            optimize(maps=pivot._replace(info={**pivot.info, "cfg": 3}))

    def test_maps_that_hold_null_text_already(self, optimize):
        with pytest.raises(ValueError, match="hold null text already"):
            optimize(maps=optimize()[0])

    def test_maps_of_another_model(self, optimize, node):
        with pytest.raises(ValueError, match=r"has 3 channels in 2 dim.*works on 4 in 2"):
            optimize(model=tiny_unet("SD15"))

    def test_cfg_1(self, optimize):
        with pytest.raises(ValueError, match="cfg is 1, where the negative prompt has no effect"):
            optimize(cfg=1.0)

    @pytest.mark.parametrize("count", [0, 2])
    def test_not_one_negative_prompt(self, optimize, prompts, count):
        with pytest.raises(ValueError, match=f"negative holds {count} prompts.*one CLIP Text En"):
            optimize(prompts=(prompts[0], count * prompts[1]))

    def test_prompt_that_is_no_tensor(self, optimize, prompts):
        with pytest.raises(ValueError, match="negative holds no embedding of tokens"):
            optimize(prompts=(prompts[0], [[None, {}]]))

    def test_model_that_makes_something_else_of_its_prompt(self, demo, optimize, monkeypatch):
        model = demo.model.clone()
        original = demo.model.model.extra_conds

        def other(**kwargs):
            return original(**{**kwargs, "cross_attn": 2 * kwargs["cross_attn"]})

        monkeypatch.setattr(demo.model.model, "extra_conds", other)
        with pytest.raises(ValueError, match="make something else of it: connect prompts without"):
            optimize(model=model)

    def test_areas_in_the_positive_prompt(self, optimize, prompts):
        ((embedding, options),) = prompts[0]
        area = [[embedding, {**options, "area": (16, 16, 0, 0), "strength": 1.0}]]
        with pytest.raises(ValueError, match="connect prompts without areas"):
            optimize(prompts=(prompts[0] + area, prompts[1]))

    @pytest.mark.parametrize(
        "method",
        [
            {"method": "newton"},
            {"method": "online"},
            {**ONLINE, "inner_steps": ["3", 0]},
            "online",
            None,
            ["3", 0],
        ],
    )
    def test_unknown_method(self, optimize, method):
        with pytest.raises(ValueError, match="choose online, null_text, negative_prompt in its"):
            optimize(method)

    @pytest.mark.parametrize("method", [ONLINE, NPI], ids=lambda m: m["method"])
    @pytest.mark.parametrize(
        "limit", [{"start_percent": 0.3}, {"mask": torch.ones(1, 32, 32)}, {"strength": 0.5}]
    )
    def test_limited_prompts(self, optimize, prompts, limit, method):
        limited = [[[embedding, {**options, **limit}] for embedding, options in p] for p in prompts]
        with pytest.raises(ValueError, match=f"is limited by {next(iter(limit))}, but null text"):
            optimize(method, prompts=limited)

    def test_model_with_its_own_evaluation(self, demo, optimize):
        model = demo.model.clone()
        model.set_model_sampler_calc_cond_batch_function(lambda args: None)
        with pytest.raises(ValueError, match="its own way to evaluate its prompts"):
            optimize(model=model)

    def test_model_that_answers_nan(self, demo, optimize):
        evaluations = []

        def spoil(_, args, out):
            evaluations.append(1)
            return out * float("nan") if len(evaluations) == 8 else out

        hook = demo.model.model.diffusion_model.register_forward_hook(spoil)
        with pytest.raises(
            ValueError, match="NaN or infinite values at step 2 of 8: use a float32"
        ):
            optimize()
        hook.remove()

    def test_guider_without_a_place_for_null_text(self, node, demo, prompts, optimize):
        from comfy_extras.nodes_custom_sampler import DualCFGGuider

        (guider,) = DualCFGGuider.execute(
            demo.model, prompts[0], prompts[0], prompts[1], CFG, 1.0, "regular"
        ).result
        with pytest.raises(ValueError, match="Guider_DualCFG cannot take: connect a CFGGuider"):
            node("InvertedSamplerCustom", guider, optimize()[0], 0)

    def test_null_text_of_another_text_encoder(self, optimize, replay):
        maps, *_ = optimize()
        wider = maps._replace(uncond=torch.cat([maps.uncond, maps.uncond], -1))
        with pytest.raises(ValueError, match=r"null text has tokens of width 128.*prompt.*64"):
            replay(wider)


def test_patches_that_change_activations_in_place(demo, optimize, invert, replay):
    from comfy_extras.nodes_freelunch import FreeU_V2

    model = FreeU_V2.execute(demo.model, 1.3, 1.4, 0.9, 0.2).result[0]
    maps, *_ = optimize(model=model, maps=invert(model)[0])
    assert (replay(maps, 1.0, model) - demo.latent["samples"]).abs().max() <= 1e-4


def test_guidance_patches_see_the_null_text(demo, optimize, replay):
    """Self-attention guidance evaluates the negative prompt again, and asks which row it is."""
    from comfy_extras.nodes_sag import SelfAttentionGuidance

    model = SelfAttentionGuidance.execute(demo.model, 0.5, 2.0).result[0]
    maps, *_ = optimize(model=model)
    assert (replay(maps, 1.0, model) - demo.latent["samples"]).abs().max() <= 1e-4


def test_another_cfg_warns(optimize, replay, caplog):
    replay(optimize()[0], cfg=5.0)
    assert "The null text was made for cfg 3, not for 5: set both to the same." in caplog.text


def test_custom_sampler_takes_null_text(node, demo, prompts, optimize, replay):
    maps, *_ = optimize()
    guider = CFGGuider(demo.model)
    guider.set_conds(*prompts)
    guider.set_cfg(CFG)
    (out,) = node("InvertedSamplerCustom", guider, maps, 0, residual=0.0)
    assert out["samples"].equal(replay(maps))
    assert len(guider.original_conds["negative"]) == 1  # the guider itself is left alone
