"""Null-Text Optimize: from a DDIM inversion to one unconditional embedding per step."""

import math
from collections.abc import Callable, Iterable

import torch
from comfy_api.latest import io
from torch import Tensor

from ..inversion.fast_null_text import fast_null_text_inversion
from ..inversion.noise_maps import NoiseMaps
from ..inversion.null_text import NullText, null_text_inversion
from ._host import gradients, latents, models, prompts, sampling
from ._host.messages import said, tell
from ._host.progress import curve, duration
from .inputs import (
    CATEGORY,
    NoiseMapsType,
    cfg_input,
    check_noise_maps,
    chosen,
    model_inputs,
    noise_maps_input,
)

_INVERSIONS = {"fast": fast_null_text_inversion, "null_text": null_text_inversion}


def _learning_rate(default: float) -> io.Float.Input:
    return io.Float.Input(
        "learning_rate",
        default=default,
        min=0.0001,
        max=1.0,
        step=0.001,
        round=0.0001,
        tooltip="Size of each update of the embedding. Higher follows the image faster, but may "
        "overshoot. It falls by half from the first step to the last.",
    )


def _inner_steps(default: int) -> io.Int.Input:
    return io.Int.Input(
        "inner_steps",
        default=default,
        min=1,
        max=1000,
        tooltip="Updates per step at most, each a forward and a backward pass of the network; "
        "fast makes twice as many in the last steps. More reconstructs better, but takes longer, "
        "and edits change less freely.",
    )


_PAPERS_INPUTS = [
    _inner_steps(10),
    _learning_rate(0.01),
    io.Float.Input(
        "tolerance",
        default=1e-5,
        min=0.0,
        max=1.0,
        step=1e-6,
        round=1e-7,
        tooltip="Stop updating a step below this error; the limit grows by 0.001 over the "
        "schedule. Higher is faster.",
    ),
    io.Combo.Input(
        "start_from",
        options=["negative", "positive"],
        default="negative",
        tooltip="Which prompt the first step starts from. negative is the paper's; positive needs "
        "fewer updates, and its edits are as strong as with negative_prompt.",
    ),
]

_METHOD = io.DynamicCombo.Input(
    "method",
    options=[
        io.DynamicCombo.Option("fast", [_inner_steps(1), _learning_rate(0.05)]),
        io.DynamicCombo.Option("null_text", _PAPERS_INPUTS),
        io.DynamicCombo.Option("negative_prompt", []),
    ],
    tooltip="fast: one or two updates per step, the paper's quality for a fifth of its cost. "
    "null_text: the paper's own loop. negative_prompt: nothing is optimised, the source prompt "
    "becomes the negative one (NPI); it reconstructs best, but its edits drift furthest.",
)


class NullTextOptimize(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImprintNullTextOptimize",
            display_name="Null-Text Optimize",
            category=CATEGORY,
            description="Fits the negative prompt of each step, so that sampling at a high cfg "
            "returns to the image of a DDIM inversion.",
            search_aliases=["null text inversion", "npi", "negative prompt inversion", "pivotal"],
            has_intermediate_output=True,
            inputs=[
                *model_inputs(
                    "The prompt of the inversion: what the image shows.",
                    "The negative prompt to start from, usually empty; it is replaced.",
                ),
                noise_maps_input("The image from DDIM Invert at cfg 1, the pivot."),
                cfg_input(
                    7.5,
                    "Guidance of the edit (the paper's 7.5; 3 for the demo model). Sample with the "
                    "same: each cfg has its own null text.",
                ),
                _METHOD,
            ],
            outputs=_outputs(),
        )

    @classmethod
    def execute(cls, model, positive, negative, noise_maps, cfg, method=None) -> io.NodeOutput:
        _check_pivot(model, noise_maps, cfg)
        _, options = prompts.only_prompt(negative, "negative", 1)
        name, settings = chosen("Null-Text Optimize", _METHOD, method)
        if name == "negative_prompt":
            _check_unused_at_cfg_1(model)
            maps = _with_source_prompt(noise_maps, positive)
        else:
            run = model, positive, negative, noise_maps, cfg
            maps = fit_null_text(*run, _INVERSIONS[name], **settings)
        used = f"{noise_maps.info.get('method', 'DDIM')}, {name}"
        maps = maps.replace(cfg=cfg).with_info(method=used)
        steering = [options for _, options in positive]
        entries = prompts.null_text_conditioning(model, maps, steering, options)
        return io.NodeOutput(maps, positive, entries, ui=said())


def fit_null_text(
    model,
    positive,
    negative,
    maps: NoiseMaps,
    cfg: float,
    inversion: Callable[..., NullText],
    start_from="negative",
    **settings,
) -> NoiseMaps:
    """The bundle of this pivot with the embeddings that `inversion` finds."""
    start = {"negative": negative, "positive": positive}[start_from]
    uncond, _ = prompts.only_prompt(start, start_from, maps.xs.shape[1])
    guider = prompts.cfg_guider(gradients.differentiable(model), positive, negative, cfg)

    def loop(run: sampling.Run) -> NullText:
        losses = list[Tensor]()

        def on_step(done: int, x: Tensor, denoised: Tensor, loss: Tensor) -> None:
            losses.append(loss.mean())
            run.on_step(done, x, denoised, lambda: _errors(losses))

        # Copies, as these were made under inference mode.
        pivot, given = maps.xs.to(run.x_0).clone(), uncond.to(run.x_0).clone()
        guide = prompts.UncondGuide(guider, run.extra_args)
        return inversion(guide, pivot, maps.schedule, given, on_step=on_step, **settings)

    picture = latents.sampled_latent(model, maps.xs[-1], 0.0)
    found, cost = gradients.run_with_gradients(guider, picture, maps.schedule, loop)
    xs, uncond, updates, losses = (part.cpu() for part in found)
    count = updates.float().mean(1).sum().item()  # of one image
    tell(
        f"Null text: {count:.0f} updates in {len(updates)} steps, {duration(cost.seconds)}, "
        f"{_errors(losses.mean(1))}."
    )
    zs = maps.zs.new_zeros(maps.zs.shape)
    zs[-1] = maps.xs[-1] - xs[-1]
    xs[-1] = maps.xs[-1]
    unit = max(maps.unit_roundoff, models.unit_roundoff(model))
    return maps.replace(xs=xs, zs=zs, uncond=uncond, unit_roundoff=unit).with_info(updates=count)


def _errors(losses: Iterable[Tensor]) -> str:
    """The errors of the steps so far: the last one, and all as a curve."""
    values = torch.stack([*losses]).tolist()
    return f"error {values[-1]:.2g} {curve(values)}"


def _with_source_prompt(maps: NoiseMaps, positive) -> NoiseMaps:
    """Negative-prompt inversion (Miyake et al. 2023): the source prompt takes the place of the
    negative one at every step.
    """
    uncond, options = prompts.only_prompt(positive, "positive", maps.xs.shape[1])
    uncond, pooled = uncond.float().cpu(), options.get("pooled_output")
    return maps.replace(
        uncond=uncond.expand(len(maps.zs), *uncond.shape).contiguous(),
        uncond_pooled=None if pooled is None else pooled.float().cpu(),
    )


def _check_unused_at_cfg_1(model) -> None:
    """ValueError where the pivot depends on the negative prompt that would be replaced."""
    if model.model_options.get("disable_cfg1_optimization"):
        raise ValueError(
            "A patch of the connected model (such as normalised attention guidance) lets the "
            "negative prompt act at cfg 1 too, so negative_prompt cannot replace it: set method to "
            "fast, or connect the model without the patch."
        )


def _check_pivot(patcher, maps: NoiseMaps, cfg: float) -> None:
    """ValueError unless null text can be fitted to these noise maps at this cfg."""
    check_noise_maps(maps)
    models.check_fit(patcher, maps)
    models.check_without_cache(patcher)
    if maps.schedule.eta > 0:
        raise ValueError(
            f"These noise maps were made with eta {maps.schedule.eta:g}, but null text follows a "
            "path without noise (eta 0): connect the noise_maps output of DDIM Invert."
        )
    if maps.uncond is not None:
        raise ValueError(
            "These noise maps hold null text already: connect the noise_maps output of DDIM Invert."
        )
    if maps.cfg != 1:
        found = "an unknown cfg" if maps.cfg is None else f"cfg {maps.cfg:g}"
        raise ValueError(
            f"These noise maps were inverted at {found}, but null text needs the path of cfg 1: "
            "set cfg of DDIM Invert to 1."
        )
    if math.isclose(cfg, 1.0):  # as the host asks
        raise ValueError(
            "cfg is 1, where the negative prompt has no effect and there is nothing to optimise: "
            "set the cfg of the edit, usually 7.5."
        )


def _outputs() -> list:
    return [
        NoiseMapsType.Output(
            display_name="noise_maps",
            tooltip="The image with its null text, for Inverted Sampler.",
        ),
        io.Conditioning.Output(display_name="positive", tooltip="The positive prompt, unchanged."),
        io.Conditioning.Output(
            display_name="negative",
            tooltip="The null text as negative prompt for stock samplers, one entry per step. Put "
            "no Conditioning Set Timestep Range after it: that would overwrite the entries.",
        ),
    ]
