"""Null text as ordinary CONDITIONING: one negative prompt per step, each active at its own step."""

import copy

from comfy import sampler_helpers
from torch import Tensor

from ..inversion import NoiseMaps
from . import _host as host

_LIMITS = (
    "area",
    "mask",
    "start_percent",
    "end_percent",
    "clip_start_percent",
    "clip_end_percent",
)


def only_prompt(conditioning: list, name: str) -> tuple[Tensor, dict]:
    """The embedding (batch, tokens, width) and the options of a CONDITIONING of one prompt."""
    if len(conditioning) != 1:
        raise ValueError(
            f"{name} holds {len(conditioning)} prompts, but null text takes exactly one: connect "
            "one CLIP Text Encode."
        )
    ((embedding, options),) = conditioning
    if not isinstance(embedding, Tensor) or embedding.ndim != 3:
        raise ValueError(
            f"{name} holds no embedding of tokens that null text could replace: connect a model "
            "and prompt whose context is one tensor."
        )
    limits = [key for key in _LIMITS if options.get(key) is not None]
    if limits or options.get("strength", 1.0) != 1.0:
        raise ValueError(
            f"{name} is limited by {', '.join(limits) or 'strength'}, but null text needs a prompt "
            "of full strength for the whole image and all steps: connect CLIP Text Encode."
        )
    return embedding, options


def null_text(model, maps: NoiseMaps, positive: list[dict], options: dict) -> list:
    """CONDITIONING with one embedding of `maps.uncond` per step, whose windows tile all sigmas.

    Entry i is active from sigmas[i] down to just above sigmas[i + 1], so that a sampler which also
    looks between two sigmas meets exactly one. `options` are those of the negative prompt.
    """
    sampling = model.get_model_object("model_sampling")
    edges = [
        _percent(sampling, sigma_next**0.99 * sigma**0.01)
        for sigma, sigma_next in zip(maps.sigmas, maps.sigmas[1:-1], strict=False)
    ]
    shared = {**_control(positive), **options}
    if maps.uncond_pooled is not None:
        shared["pooled_output"] = maps.uncond_pooled
    return [
        [embedding, {**shared, "start_percent": start, "end_percent": end}]
        for embedding, start, end in zip(maps.uncond, [0.0, *edges], [*edges, 1.0], strict=True)
    ]


def with_null_text(guider, maps: NoiseMaps):
    """A guider whose negative prompt is the bundle's null text, where it has one."""
    conds = guider.original_conds
    if maps.uncond is None or "negative" not in conds:
        return guider
    if host.guidance(guider) is None:
        raise ValueError(
            f"These noise maps bring their own negative prompt (null text), which a "
            f"{type(guider).__name__} cannot take: connect a CFGGuider, or the noise maps of DDIM "
            "Invert."
        )
    widths = [c["cross_attn"].shape[-1] for c in conds["positive"] if "cross_attn" in c]
    if widths and widths[0] != maps.uncond.shape[-1]:
        raise ValueError(
            f"The null text has tokens of width {maps.uncond.shape[-1]}, the positive prompt of "
            f"{widths[0]}: connect the model and CLIP that the null text was made with."
        )
    own = ("cross_attn", "model_conds", "uuid")
    options = {k: v for k, v in next(iter(conds["negative"]), {}).items() if k not in own}
    entries = null_text(guider.model_patcher, maps, conds["positive"], options)
    changed = copy.copy(guider)
    changed.original_conds = {**conds, "negative": sampler_helpers.convert_cond(entries)}
    return changed


def _control(positive: list[dict]) -> dict:
    """A ControlNet that is to steer both prompts: the host would give it to one entry only."""
    for options in positive:
        if options.get("control_apply_to_uncond"):
            return {"control": options["control"], "control_apply_to_uncond": False}
    return {}


def _percent(sampling, sigma: float) -> float:
    """Where in the model's schedule `sigma` lies, by bisection: the host has only the inverse."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if sampling.percent_to_sigma(middle) > sigma:
            low = middle
        else:
            high = middle
    return high
