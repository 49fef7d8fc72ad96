"""The one door to the host's sampling: a GUIDER becomes a `denoise` callable inside the guider's
own run.

The guider loads the model, prepares conditioning of every kind and moves latents into model space;
`run` hands the resulting callable to a loop of `inversion` in place of a stock sampler.
"""

import logging
from collections.abc import Callable
from typing import NamedTuple

import comfy.model_management as mm
import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
import torch
from comfy_execution.utils import get_executing_context
from server import PromptServer
from torch import Tensor

from ..inversion import Denoise, NoiseMaps, OnStep, check_noise_maps

logger = logging.getLogger(__name__)

_FLOW = {"CONST"}
_NOT_FLOW = {"EPS", "COSMOS_RFLOW"}  # also v-prediction and EDM, which derive from EPS
_UNTREATED = {
    "IMG_TO_IMG",
    "IMG_TO_IMG_FLOW",
    "V_PREDICTION_DDPM",
}  # their latent is not alpha x_0 + sigma n


class Run(NamedTuple):
    """What a loop gets: the model, its latent in model space on the device, and how many steps may
    share a call.
    """

    denoise: Denoise
    x_0: Tensor
    together: int
    on_step: OnStep


class _Loop(comfy.samplers.Sampler):
    """A sampler for the host whose `sample` is a loop over a Run."""

    def __init__(self, loop: Callable[[Run], Tensor], steps: int, together: int):
        self.loop, self.steps, self.together = loop, steps, together

    def sample(
        self,
        model_wrap,
        sigmas,
        extra_args,
        callback,
        noise,
        latent_image=None,
        denoise_mask=None,
        disable_pbar=False,
    ):
        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            mm.throw_exception_if_processing_interrupted()
            try:
                return model_wrap(x, sigma, **extra_args)
            except Exception as error:
                if len(x) <= len(latent_image) or not mm.is_oom(error):
                    raise
            mm.soft_empty_cache()
            half = len(x) // len(latent_image) // 2 * len(latent_image)
            return torch.cat([denoise(x[:half], sigma[:half]), denoise(x[half:], sigma[half:])])

        together = min(self.together or _free_memory_steps(model_wrap, latent_image), self.steps)
        if together > 1 and not _same_at_every_step(model_wrap, extra_args["model_options"]):
            together = 1
        preview = latent_preview.prepare_callback(model_wrap.model_patcher, self.steps)

        def on_step(done: int, x: Tensor, denoised: Tensor) -> None:
            preview(done - 1, denoised, x, self.steps)

        return self.loop(Run(denoise, latent_image, together, on_step))


def run(
    guider, latent: Tensor, sigmas: Tensor, loop: Callable[[Run], Tensor], together: int = 1
) -> Tensor:
    """Runs `loop` inside the guider; the latent it returns, in the host's latent space.

    `together` is the largest number of steps in one model call, 0 for what fits into free memory.
    """
    sampler = _Loop(loop, len(sigmas) - 1, together)
    # One seed for inversion and replay: the few models that draw noise of their own then draw the
    # same.
    samples = guider.sample(
        torch.zeros_like(latent), latent, sampler, sigmas, disable_pbar=True, seed=0
    )
    return samples.to(mm.intermediate_device())


def _free_memory_steps(guider, latent: Tensor) -> int:
    """How many timesteps fit into one call; 1 on a CPU, where batching changes rounding and gains
    little.
    """
    device = guider.model_patcher.load_device
    if mm.is_device_cpu(device):
        return 1
    needed = guider.inner_model.memory_required([2 * len(latent), *latent.shape[1:]])
    return max(1, int(mm.get_free_memory(device) / (1.5 * needed)))


def _same_at_every_step(guider, model_options: dict) -> bool:
    """Whether the host treats every row of a batch by its own timestep: it reads ranges and hooks
    off the first.
    """
    if not _is_plain(guider) or not _is_empty(model_options):
        return False
    return not any(_depends_on_step(cond) for conds in guider.conds.values() for cond in conds)


def _is_empty(options: object) -> bool:
    """Whether nothing was patched in: options hold empty tables besides the schedule itself."""
    return isinstance(options, dict) and all(
        _is_empty(value) for key, value in options.items() if key != "sample_sigmas"
    )


def _depends_on_step(cond: dict) -> bool:
    control = cond.get("control")
    while control is not None:
        if getattr(control, "timestep_range", None) is not None:
            return True
        control = getattr(control, "previous_controlnet", None)
    timed = ("timestep_start", "timestep_end", "clip_start_percent", "clip_end_percent")
    mask = cond.get("mask")
    return any(cond.get(key) is not None for key in (*timed, "hooks")) or (
        mask is not None and mask.shape[0] > 1
    )


def is_flow(patcher) -> bool:
    """Whether the latent is (1 - sigma) x_0 + sigma n; ValueError where neither form holds."""
    sampling = patcher.get_model_object("model_sampling")
    kinds = {kind.__name__ for kind in type(sampling).__mro__}
    noise_scale = getattr(sampling, "noise_scale", 1.0)
    if kinds & _FLOW and not kinds & _UNTREATED and noise_scale != 1:
        raise ValueError(
            f"This model scales its noise by {noise_scale:g}, which inversion does not support: "
            "connect a model with noise scale 1."
        )
    if kinds & _UNTREATED or not kinds & (_FLOW | _NOT_FLOW):
        name = " + ".join(kind.__name__ for kind in type(sampling).__mro__[1:3])
        raise ValueError(
            f"The sampling of this model ({name}) cannot be inverted: connect an eps, v, EDM or "
            "flow model."
        )
    return bool(kinds & _FLOW)


def schedule(model, scheduler: str, steps: int) -> Tensor:
    """The host's sigmas (steps + 1,) for this model."""
    if steps < 1:
        raise ValueError(
            f"steps is {steps}, but inversion needs at least one step: set steps to 1 or more."
        )
    return comfy.samplers.calculate_sigmas(
        model.get_model_object("model_sampling"), scheduler, steps
    )


def cfg_guider(model, positive, negative, cfg: float) -> comfy.samplers.CFGGuider:
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(positive, negative)
    guider.set_cfg(cfg)
    return guider


def image_latent(patcher, latent: dict) -> Tensor:
    """The samples of a LATENT as this model takes them; ValueError where they hold no image."""
    samples = latent["samples"]
    if samples.is_nested:
        raise ValueError(
            "This latent holds several tensors (video with sound), which inversion cannot treat: "
            "connect a latent with one."
        )
    if samples.numel() == 0:
        raise ValueError(
            f"The latent has no elements (shape {tuple(samples.shape)}): connect the output of "
            "VAE Encode."
        )
    if not samples.isfinite().all():
        raise ValueError(
            "The latent holds NaN or infinite values: check the VAE (a float32 VAE helps) and "
            "the image."
        )
    if not samples.any():
        raise ValueError(
            "The latent is empty (all zeros), so there is no image to invert: connect the output "
            "of VAE Encode."
        )
    samples = comfy.sample.fix_empty_latent_channels(patcher, samples)
    check_latent(
        patcher,
        samples.shape,
        "The latent",
        "Encode the image with the VAE of the connected model.",
    )
    if "noise_mask" in latent:
        tell(
            "The latent's noise_mask is ignored; connect the mask to Inverted Sampler.",
            logging.INFO,
        )
    return samples


def check_latent(patcher, shape, what: str, remedy: str) -> None:
    """ValueError unless a latent of this shape fits the model."""
    latent_format = patcher.get_model_object("latent_format")
    expected = latent_format.latent_channels, latent_format.latent_dimensions
    found = shape[1], len(shape) - 2
    if found != expected:
        raise ValueError(
            f"{what} has {found[0]} channels in {found[1]} dimensions, the connected model works "
            f"on {expected[0]} in {expected[1]} ({type(latent_format).__name__}). {remedy}"
        )


def step_noise(latent: dict, samples: Tensor, steps: int, seed: int) -> Tensor:
    """Unit normal noise (steps + 1, *samples.shape), drawn item by item in the order of the
    LATENT's batch_index, so that an item gets the same noise alone and in a batch."""
    generator = torch.Generator().manual_seed(seed)
    indices = latent.get("batch_index", range(len(samples)))
    noise = torch.empty(steps + 1, *samples.shape)
    for index in range(max(indices) + 1):
        drawn = torch.randn(steps + 1, *samples.shape[1:], generator=generator)
        for row in (row for row, wanted in enumerate(indices) if wanted == index):
            noise[:, row] = drawn
    return noise


def check_bundle(patcher, maps: NoiseMaps) -> None:
    """ValueError unless the noise maps were made with a model like the connected one."""
    if not isinstance(maps, NoiseMaps):
        raise ValueError(
            f"noise_maps holds a {type(maps).__name__}: connect the noise_maps output of an "
            "Invert node."
        )
    check_noise_maps(maps)
    remedy = "Connect the model that the maps were made with."
    check_latent(patcher, maps.xs.shape[1:], "The latent in these noise maps", remedy)
    found, expected = (
        maps.info["latent_format"],
        type(patcher.get_model_object("latent_format")).__name__,
    )
    if found != expected:
        raise ValueError(
            f"These noise maps hold {found} latents, the connected model works on {expected}. "
            f"{remedy}"
        )
    kinds = {True: "a flow model", False: "an eps, v or EDM model"}
    if maps.flow != is_flow(patcher):
        raise ValueError(
            f"These noise maps were made with {kinds[maps.flow]}, the connected model is "
            f"{kinds[not maps.flow]}. {remedy}"
        )


def fit_mask(mask: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A MASK (batch, height, width) in a latent's shape, resized as the host's noise masks are."""
    return comfy.utils.reshape_mask(mask.reshape((-1, 1, *mask.shape[-2:])), torch.Size(shape))


def guidance(guider) -> float | None:
    """The guider's cfg, where one number describes it."""
    return float(guider.cfg) if _is_plain(guider) else None


def _is_plain(guider) -> bool:
    return type(guider).predict_noise is comfy.samplers.CFGGuider.predict_noise


def describe(guider, **info: str | float | int) -> dict[str, str | float | int | list[str]]:
    """The `info` of a bundle made by this guider."""
    patcher, cfg = guider.model_patcher, guidance(guider)
    return {
        **info,
        **({} if cfg is None else {"cfg": cfg}),
        "model": type(patcher.model).__name__,
        "latent_format": type(patcher.get_model_object("latent_format")).__name__,
        "edits": [],
    }


def tell(text: str, level: int = logging.WARNING) -> None:
    """Shows one line under the node that runs, and in the log."""
    logger.log(level, "Imprint: %s", text)
    context = get_executing_context()
    if context is not None and getattr(PromptServer, "instance", None) is not None:
        PromptServer.instance.send_progress_text(text, context.node_id)
