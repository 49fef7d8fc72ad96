"""The one door to the host's sampling: a GUIDER becomes a `denoise` callable inside the guider's
own run.

The guider loads the model, prepares conditioning of every kind and moves latents into model space;
`run` hands the resulting callable to a loop of `inversion` in place of a stock sampler.
"""

import hashlib
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import comfy.latent_formats
import comfy.model_management as mm
import comfy.samplers
import latent_preview
import torch
from comfy_execution.utils import get_executing_context
from server import PromptServer
from torch import Tensor

from ..inversion import Denoise, Info, NoiseMaps, OnStep

logger = logging.getLogger(__name__)

_PYPROJECT = (Path(__file__).parents[1] / "pyproject.toml").read_text()
PACK_VERSION = re.findall(r'^version = "(.+)"', _PYPROJECT, re.MULTILINE)[0]


class Run(NamedTuple):
    """What a loop gets: the model, its latent in model space on the device, how many steps may
    share a call, and the arguments that the host passes to each call.
    """

    denoise: Denoise
    x_0: Tensor
    batch_timesteps: int
    on_step: OnStep
    extra_args: dict


class _Loop(comfy.samplers.Sampler):
    """A sampler for the host whose `sample` is a loop over a Run."""

    def __init__(
        self, loop: Callable[[Run], Tensor], steps: int, batch_timesteps: int, passes: int
    ):
        self.loop, self.steps, self.batch_timesteps = loop, steps, batch_timesteps
        self.passes = passes

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
        largest = len(latent_image) * self.steps  # rows of one model call

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            nonlocal largest
            if len(x) > largest:
                parts = zip(x.split(largest), sigma.split(largest), strict=True)
                return torch.cat([denoise(*part) for part in parts])
            mm.throw_exception_if_processing_interrupted()
            try:
                return model_wrap(x, sigma, **extra_args)
            except Exception as error:
                if len(x) <= len(latent_image) or not mm.is_oom(error):
                    raise
            mm.soft_empty_cache()
            largest = len(x) // len(latent_image) // 2 * len(latent_image)
            return denoise(x, sigma)

        fitting = self.batch_timesteps or _free_memory_steps(model_wrap, latent_image)
        batch_timesteps = min(fitting, self.steps)
        if batch_timesteps > 1 and not _may_batch(
            model_wrap, extra_args["model_options"], len(latent_image)
        ):
            batch_timesteps = 1
        preview = latent_preview.prepare_callback(
            model_wrap.model_patcher, self.steps * self.passes
        )

        def on_step(done: int, x: Tensor, denoised: Tensor) -> None:
            preview(done - 1, denoised, x, self.steps * self.passes)

        x = self.loop(Run(denoise, latent_image, batch_timesteps, on_step, extra_args))
        return model_wrap.inner_model.model_sampling.inverse_noise_scaling(sigmas[-1], x)


def run(
    guider,
    latent: Tensor,
    sigmas: Tensor,
    loop: Callable[[Run], Tensor],
    batch_timesteps: int = 1,
    passes: int = 1,
) -> Tensor:
    """Runs `loop` inside the guider; the latent it returns, as a stock sampler would return it.

    `batch_timesteps` is the largest number of steps in one model call, 0 for what fits into free
    memory. `passes` is how often the loop walks the schedule, for the progress bar.
    """
    sampler = _Loop(loop, len(sigmas) - 1, batch_timesteps, passes)
    # One seed for inversion and replay: the few models that draw noise of their own then draw the
    # same.
    samples = guider.sample(
        torch.zeros_like(latent), latent, sampler, sigmas, disable_pbar=True, seed=0
    )
    return samples.to(mm.intermediate_device())


def _free_memory_steps(guider, latent: Tensor) -> int:
    """How many timesteps fit into one call."""
    free = mm.get_free_memory(guider.model_patcher.load_device)
    needed = guider.inner_model.memory_required([2 * len(latent), *latent.shape[1:]])
    return max(1, int(free / (1.5 * needed)))


def _may_batch(guider, model_options: dict, rows: int) -> bool:
    """Whether the host treats every row of a batch by its own timestep and prompt.

    It reads time ranges and hooks off the first row, and repeats conditioning in turn.
    """
    if not _is_plain(guider) or not _is_empty(model_options):
        return False
    return not any(_depends_on_row(cond, rows) for conds in guider.conds.values() for cond in conds)


def _is_empty(options: object) -> bool:
    """Whether nothing was patched in: options hold empty tables besides the schedule itself."""
    return isinstance(options, dict) and all(
        _is_empty(value) for key, value in options.items() if key != "sample_sigmas"
    )


def _depends_on_row(cond: dict, rows: int) -> bool:
    timed = ("timestep_start", "timestep_end", "clip_start_percent", "clip_end_percent")
    if any(cond.get(key) is not None for key in (*timed, "hooks", "control")):
        return True
    mask = cond.get("mask")
    if mask is not None and mask.shape[0] > 1:
        return True
    values = [getattr(value, "cond", None) for value in cond["model_conds"].values()]
    tensors = [v for value in values for v in (value if isinstance(value, list) else [value])]
    return any(isinstance(t, Tensor) and t.ndim and t.shape[0] not in (1, rows) for t in tensors)


def schedule(model, scheduler: str, steps: int) -> Tensor:
    """The host's sigmas (steps + 1,) for this model."""
    if steps < 1:
        raise ValueError(
            f"steps is {steps}, but inversion needs at least one step: set steps to 1 or more."
        )
    sampling = model.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(sampling, scheduler, steps)
    if len(sigmas) - 1 != steps:
        tell(f"{scheduler} gives {len(sigmas) - 1} steps here instead of {steps}.", logging.INFO)
    return sigmas


def input_scales(model, sigmas: Tensor) -> list[float]:
    """By what this model's network sees its latent scaled at each of sigmas (steps + 1,)."""
    sampling = model.get_model_object("model_sampling")
    return sampling.calculate_input(sigmas, torch.ones_like(sigmas)).tolist()


def cfg_guider(model, positive, negative, cfg: float) -> comfy.samplers.CFGGuider:
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(positive, negative)
    guider.set_cfg(cfg)
    return guider


def guidance(guider) -> float | None:
    """The guider's cfg, where one number describes it."""
    return float(guider.cfg) if _is_plain(guider) else None


def _is_plain(guider) -> bool:
    return type(guider).predict_noise is comfy.samplers.CFGGuider.predict_noise


def describe(guider, **info: str | float | int) -> Info:
    """The `info` of a bundle made by this guider."""
    patcher, cfg = guider.model_patcher, guidance(guider)
    return {
        **info,
        **({} if cfg is None else {"cfg": cfg}),
        "model": type(patcher.model).__name__,
        "latent_format": type(patcher.get_model_object("latent_format")).__name__,
        "edits": [],
        "pack": PACK_VERSION,
    }


def latent_format(maps: NoiseMaps) -> comfy.latent_formats.LatentFormat:
    """Of the latents in a bundle, by the name that it holds."""
    name = maps.info.get("latent_format", "unknown")
    kind = getattr(comfy.latent_formats, str(name), None)
    if not isinstance(kind, type) or not issubclass(kind, comfy.latent_formats.LatentFormat):
        raise ValueError(
            f"These noise maps hold {name} latents, which this ComfyUI does not know: update "
            "ComfyUI, or invert again."
        )
    return kind()


def tell(text: str, level: int = logging.WARNING) -> None:
    """Shows one line under the node that runs, and in the log."""
    logger.log(level, "Imprint: %s", text)
    show(text)


def show(text: str) -> None:
    """Shows one line under the node that runs."""
    context = get_executing_context()
    if context is not None and getattr(PromptServer, "instance", None) is not None:
        PromptServer.instance.send_progress_text(text, context.node_id)


def step_noise(latent: dict, samples: Tensor, steps: int, seed: int) -> Tensor:
    """Unit normal noise (steps + 1, *samples.shape), each item's drawn from the seed and its number
    in the LATENT's batch_index: alone and in a batch it gets the same.
    """
    noise = torch.empty(steps + 1, *samples.shape)
    for row, index in enumerate(latent.get("batch_index", range(len(samples)))):
        digest = hashlib.sha256(f"{seed} {index}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big"))
        noise[:, row] = torch.randn(steps + 1, *samples.shape[1:], generator=generator)
    return noise
