"""How prompts guide a sampler, and how null text takes the place of the negative one.

As CONDITIONING, null text is one negative prompt per step, each active at its own step.
"""

import copy
from collections.abc import Callable
from functools import partial

import comfy.conds
import comfy.model_management as mm
import comfy.samplers
import comfy.utils
import torch
from comfy import sampler_helpers
from torch import Tensor

from ...inversion.noise_maps import NoiseMaps

_LIMITS = (
    "area",
    "mask",
    "start_percent",
    "end_percent",
    "clip_start_percent",
    "clip_end_percent",
)


def cfg_guider(model, positive, negative, cfg: float) -> comfy.samplers.CFGGuider:
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(positive, negative)
    guider.set_cfg(cfg)
    return guider


def guidance(guider) -> float | None:
    """The guider's cfg, where one number describes it."""
    plain = type(guider).predict_noise is comfy.samplers.CFGGuider.predict_noise
    return float(guider.cfg) if plain else None


def strength(guider) -> float:
    """The guider's cfg, or the sum of all where it has several: by how much it may amplify."""
    cfg = guidance(guider)
    if cfg is not None:
        return cfg
    values = [v for k, v in vars(guider).items() if k.startswith("cfg") or k.endswith("_scale")]
    return max(1.0, sum(abs(v) for v in values if isinstance(v, int | float)))


def rows(guider) -> int:
    """How many images the positive prompt describes, one in each row; 1 where it has no rows."""
    embeddings = [c.get("cross_attn") for c in guider.original_conds.get("positive", [])]
    return max((len(e) for e in embeddings if isinstance(e, Tensor)), default=1)


def only_prompt(conditioning: list, name: str, images: int) -> tuple[Tensor, dict]:
    """The embedding (images, tokens, width) and the options of a CONDITIONING of one prompt."""
    if len(conditioning) != 1:
        raise ValueError(
            f"{name} holds {len(conditioning)} prompts, but null text replaces exactly one: "
            "connect one CLIP Text Encode."
        )
    ((embedding, options),) = conditioning
    if not isinstance(embedding, Tensor) or embedding.ndim != 3:
        raise ValueError(
            f"{name} holds no text embedding that null text could replace: connect CLIP Text "
            "Encode, with the CLIP of a model such as SD 1.5 or SDXL."
        )
    limits = [key for key in _LIMITS if options.get(key) is not None]
    if limits or options.get("strength", 1.0) != 1.0:
        raise ValueError(
            f"{name} is limited by {', '.join(limits) or 'strength'}, but null text needs a prompt "
            "of full strength for the whole image and all steps: connect CLIP Text Encode."
        )
    return comfy.utils.repeat_to_batch_size(embedding, images), options


def null_text_conditioning(model, maps: NoiseMaps, positive: list[dict], options: dict) -> list:
    """CONDITIONING with one embedding of `maps.uncond` per step, whose windows tile all sigmas.

    Entry i is active from sigmas[i] down to just above sigmas[i + 1], so that a sampler which also
    looks between two sigmas meets exactly one. `options` are those of the negative prompt.
    """
    sampling = model.get_model_object("model_sampling")
    edges = [
        _percent(sampling, step.sigma_next**0.99 * step.sigma**0.01)
        for step in maps.schedule.steps[:-1]
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
    if guidance(guider) is None:
        raise ValueError(
            f"These noise maps hold null text in place of the negative prompt, which a "
            f"{type(guider).__name__} cannot use: connect a CFGGuider, or the noise maps of DDIM "
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
    entries = null_text_conditioning(guider.model_patcher, maps, conds["positive"], options)
    changed = copy.copy(guider)
    changed.original_conds = {**conds, "negative": sampler_helpers.convert_cond(entries)}
    return changed


def in_one_call(model_options: dict) -> bool:
    """Whether both prompts must share a call, as some patches (normalised attention guidance) act
    only there.
    """
    patches = model_options.get("transformer_options", {}).get("patches", {})
    return any(name.startswith("attn") for name in patches)


def with_options_of(positive: list[dict], source: list[dict]) -> list[dict]:
    """The source prompt with what was set on the positive one behind its text encoder, such as
    ControlNet, guidance of Flux, or the picture to inpaint.
    """
    own = ("cross_attn", "pooled_output", "model_conds", "uuid", "strength", *_LIMITS)
    options = {k: v for k, v in next(iter(positive), {}).items() if k not in own}
    return [{**options, **prompt} for prompt in source]


class UncondGuide:
    """The guider's prediction as a function of the embedding of its only negative prompt.

    An `inversion.null_text.Guide` for a loop inside that guider; `extra_args` are its Run's.
    """

    def __init__(self, guider, extra_args: dict):
        self.guider, self.conds = guider, guider.conds
        self.options, self.seed = extra_args["model_options"], extra_args["seed"]
        if _EVALUATION in self.options:
            raise ValueError(
                "A patch of the connected model (such as skip layer guidance) changes how prompts "
                "are evaluated, so null text cannot be fitted: connect the model without the patch."
            )
        self.in_one_call = in_one_call(self.options)

    def __call__(self, x: Tensor, sigma: Tensor) -> Callable[[Tensor], Tensor]:
        options = self.options
        if not self.in_one_call:
            with torch.no_grad():
                pair = [self.conds["positive"], None]
                conditional = self._predict(0, pair, x, sigma, self.options)

            def both(args: dict) -> list[Tensor]:
                alone = self._predict(1, args["conds"], x, sigma, args["model_options"])
                return [conditional, alone]

            options = {**self.options, _EVALUATION: both}
        return partial(self._denoised, x, sigma, options)

    def _denoised(self, x: Tensor, sigma: Tensor, options: dict, uncond: Tensor) -> Tensor:
        mm.throw_exception_if_processing_interrupted()
        prompt, context = _only_context(self.conds["negative"])
        context = {**prompt["model_conds"], "c_crossattn": context._copy_with(uncond)}
        negative = {**prompt, "cross_attn": uncond, "model_conds": context}
        # For patches that read the prompts.
        self.guider.conds = {**self.conds, "negative": [negative]}
        try:
            return self.guider(x, sigma, options, self.seed)
        finally:
            self.guider.conds = self.conds

    def _predict(self, row: int, pair: list, x: Tensor, sigma: Tensor, options: dict) -> Tensor:
        """One prompt's prediction, from its place in the pair: patches ask whether a row is the
        positive or the negative one.
        """
        alone = [prompt if i == row else None for i, prompt in enumerate(pair)]
        return comfy.samplers.calc_cond_batch(self.guider.inner_model, alone, x, sigma, options)[
            row
        ]


_EVALUATION = "sampler_calc_cond_batch_function"  # the host's hook in place of its evaluation


def _only_context(conds: list[dict]) -> tuple[dict, comfy.conds.CONDRegular]:
    """The only prompt and what the network gets of it, if that is the embedding itself."""
    context = conds[0]["model_conds"].get("c_crossattn") if len(conds) == 1 else None
    if (
        context is None
        or not isinstance(context.cond, Tensor)
        or not context.cond.equal(conds[0]["cross_attn"].to(context.cond))
    ):
        raise ValueError(
            "Null text replaces the one embedding that the network gets as negative prompt, but "
            "this model or these prompts give it something else: connect prompts without areas, "
            "and a model that reads the text embedding as it is, such as SD 1.5 or SDXL."
        )
    return conds[0], context


def _control(positive: list[dict]) -> dict:
    """The ControlNet that steers both prompts, if any: the host would give it to one entry only."""
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
