"""Inverted Sampler: from noise maps to the image, or to an edit of it."""

from functools import partial

import torch
from comfy_api.latest import io
from torch import Tensor

from ..inversion.noise_maps import NoiseMaps
from ..inversion.schedule import Schedule
from ..inversion.walk import replay
from ._host import latents, models, prompts, sampling
from ._host.messages import said, tell, warn
from ._host.progress import Cost
from ._host.steering import Steering
from .inputs import (
    CATEGORY,
    EDITING,
    MAX_STEPS,
    AttentionControlType,
    cfg_input,
    check_noise_maps,
    mask_input,
    model_inputs,
    noise_maps_input,
)

_ALIASES = [*EDITING, "edit friendly", "ddpm inversion", "replay", "resample"]


class InvertedSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImprintInvertedSampler",
            display_name="Inverted Sampler",
            category=CATEGORY,
            description="Samples with the noise maps of an image: the source prompt returns it, "
            "another prompt edits it.",
            search_aliases=_ALIASES,
            has_intermediate_output=True,
            inputs=[
                *model_inputs(
                    "What the result should show. The prompt and cfg of the inversion give back "
                    "the image itself.",
                    "What the result should not show. For an exact reconstruction, the negative "
                    "prompt of the inversion.",
                ),
                noise_maps_input(_MAPS),
                cfg_input(
                    7.5,
                    "Guidance of the edit (the paper's target strength, 7 to 18; 3 for the demo "
                    "model). Higher follows the prompt more and keeps less of the image.",
                ),
                *_replay_settings(),
            ],
            outputs=[_output()],
        )

    @classmethod
    def execute(
        cls, model, positive, negative, noise_maps, cfg, skip_steps, **settings
    ) -> io.NodeOutput:
        guider = prompts.cfg_guider(model, positive, negative, cfg)
        return io.NodeOutput(sample(guider, noise_maps, skip_steps, **settings), ui=said())


class InvertedSamplerCustom(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImprintInvertedSamplerCustom",
            display_name="Inverted Sampler (Custom)",
            category=CATEGORY,
            description="Inverted Sampler for any guider.",
            search_aliases=_ALIASES,
            has_intermediate_output=True,
            inputs=[
                io.Guider.Input("guider", tooltip="Model, prompts and cfg of the result."),
                noise_maps_input(_MAPS),
                *_replay_settings(),
            ],
            outputs=[_output()],
        )

    @classmethod
    def execute(cls, guider, noise_maps, skip_steps, **settings) -> io.NodeOutput:
        return io.NodeOutput(sample(guider, noise_maps, skip_steps, **settings), ui=said())


def sample(guider, noise_maps, skip_steps, mask=None, attention_control=None, residual=1.0) -> dict:
    """The LATENT that these noise maps give under this guider."""
    check_noise_maps(noise_maps)
    patcher, maps = guider.model_patcher, noise_maps
    models.check_fit(patcher, maps)
    schedule = maps.schedule.after(skip_steps, "; the inversion's own skipping is done already")
    guider = prompts.with_null_text(guider, maps)
    if maps.xs.shape[1] == 1:
        maps = maps.repeated(prompts.rows(guider))
    cfg = prompts.guidance(guider)
    other_cfg = None if cfg == maps.cfg or maps.cfg is None else cfg
    drift = None if other_cfg is None else _drift(maps, other_cfg)
    if drift:
        warn(drift)
    x, cost = _replayed(guider, maps, schedule, mask, attention_control, residual)
    unchanged = x.cpu().equal(maps.xs[-1])
    if mask is not None and not mask.any():
        warn("The mask is black, so nothing is edited: paint white where to edit.")
    elif unchanged and other_cfg is not None:
        _warn_of_no_change(maps.cfg, other_cfg)
    _tell_outcome(cost, unchanged, maps.cfg, other_cfg)
    return {"samples": latents.sampled_latent(patcher, x, schedule.sigmas[-1])}


def _replayed(
    guider, maps: NoiseMaps, schedule: Schedule, mask, control, residual: float
) -> tuple[Tensor, Cost]:
    """What the steps of `schedule`, the last ones of the bundle, make of it, and the cost."""
    patcher, skip = guider.model_patcher, len(maps.zs) - len(schedule.steps)
    steering = None if control is None else Steering(guider, control, maps)
    distances = models.rounding_distances(patcher, maps, prompts.strength(guider))
    finite = list[Tensor]()

    def loop(run: sampling.Run) -> Tensor:
        finite.clear()  # of a run that ran out of memory

        def on_step(done: int, x: Tensor, denoised: Tensor) -> None:
            finite.append(x.isfinite().all())
            run.on_step(done, x, denoised)

        fitted = None if mask is None else latents.fit_mask(mask, run.x_0.shape).to(run.x_0)
        steer, own = steering and steering.start(run), maps.to(run.x_0)
        return replay(run.denoise, own, skip, residual, fitted, distances, on_step, steer)

    # Not for the loop: inpainting and video models read the picture as part of their prompt.
    picture = latents.sampled_latent(patcher, maps.xs[-1], 0.0)
    sample = steering.sample if steering else partial(sampling.run, guider)
    x, cost = sample(picture, schedule, loop)
    _check_finite(torch.stack(finite), schedule)
    return x, cost


def _check_finite(finite: Tensor, schedule: Schedule) -> None:
    """ValueError that names the first step after which the latent was not finite."""
    if not finite.all():
        step = int(finite.sum())  # once broken, a latent stays so
        raise ValueError(
            f"The model returned NaN or infinite values at step {step} of {len(finite)} (sigma "
            f"{schedule.sigmas[step]:.3g}) under these prompts: use a float32 model, or a lower "
            "cfg."
        )


def _drift(maps: NoiseMaps, cfg: float) -> str | None:
    """What to say where this cfg, another than the inversion's, makes the image drift."""
    if maps.uncond is not None:
        return (
            f"The null text was made for cfg {maps.cfg:g}, not for {cfg:g}: set both to the same."
        )
    if maps.schedule.eta == 0 and cfg > 3:
        return (
            f"A DDIM inversion of cfg {maps.cfg:g} drifts at cfg {cfg:g}: lower cfg, or connect "
            "Null-Text Optimize."
        )
    return None


def _warn_of_no_change(cfg: float | None, other: float) -> None:
    warn(
        f"The image came back unchanged: to this model cfg {other:g} is the same as the "
        f"inversion's {cfg:g} under these prompts. Use other prompts, a cfg further away, or a "
        "float32 model."
    )


def _tell_outcome(cost: Cost, unchanged: bool, cfg: float | None, other: float | None) -> None:
    """Says what sampling cost, and whether its result is the bundle's own picture."""
    if unchanged:
        tell(
            f"Sampled: {cost}. An exact reconstruction: the picture of the noise maps, bit for bit."
        )
    elif other is not None:
        tell(f"Sampled: {cost}. An edit: inverted at cfg {cfg:g}, sampled at cfg {other:g}.")
    else:
        tell(f"Sampled: {cost}. An edit: the result is not the picture of the noise maps.")


_MAPS = "The image as noise maps, from an Invert node."


def _output() -> io.Output:
    return io.Latent.Output(
        display_name="latent", tooltip="The reconstruction or the edit, for VAE Decode."
    )


def _replay_settings() -> list:
    return [
        io.Int.Input(
            "skip_steps",
            default=0,
            min=0,
            max=MAX_STEPS,
            tooltip="Further first steps to leave out, beyond those that the inversion skipped. "
            "More keeps the result closer to the image.",
        ),
        mask_input(
            "Where to edit: white is edited, black stays exactly the inverted image, grey is in "
            "between."
        ),
        AttentionControlType.Input(
            "attention_control",
            optional=True,
            tooltip="How the result keeps to the image's layout, from Prompt-to-Prompt, "
            "Plug-and-Play, MasaCtrl or pix2pix-zero.",
        ),
        io.Float.Input(
            "residual",
            default=1.0,
            min=0.0,
            max=1.0,
            step=0.05,
            optional=True,
            advanced=True,
            tooltip="How much to use of the maps of steps that add no noise: the last map of an "
            "EF-DDPM inversion, all maps of a DDIM inversion. 1 reconstructs exactly; 0 leaves "
            "them out (plain DDIM, or the null-text paper's result).",
        ),
    ]
