"""How a loop of `inversion` runs inside a guider.

The guider loads the model, prepares conditioning of every kind and moves latents into model space;
`run` hands the resulting model to a loop in place of a stock sampler.
"""

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, TypeVar

import comfy.samplers
import latent_preview
import torch
from torch import Tensor

from ...inversion.schedule import Schedule
from . import batching, models, prompts
from .progress import Cost, Progress

T = TypeVar("T")

_PYPROJECT = (Path(__file__).parents[2] / "pyproject.toml").read_text()
PACK_VERSION = re.findall(r'^version = "(.+)"', _PYPROJECT, re.MULTILINE)[0]


class Run(NamedTuple):
    """What a loop gets: the model, its latent in model space on the device, how many steps may
    share a call, the arguments that the host passes to each call, and what to call before it walks
    the schedule once more.
    """

    denoise: batching.BatchedDenoise
    x_0: Tensor
    batch_timesteps: int
    on_step: Progress
    extra_args: dict
    restart: Callable[[], None]


def run(
    guider,
    latent: Tensor,
    schedule: Schedule,
    loop: Callable[[Run], T],
    batch_timesteps: int = 1,
    passes: int = 1,
) -> tuple[T, Cost]:
    """What `loop` returns, run inside the guider, and what that cost without loading the model.

    `batch_timesteps` is the largest number of steps in one model call, for loops that batch them, 0
    for automatic. `passes` is how often the loop walks the schedule, for the progress bar.
    """
    sampler = _Loop(loop, len(schedule.steps), batch_timesteps, passes)
    # One seed for inversion and replay: the few models that draw noise of their own then draw the
    # same.
    sigmas = torch.tensor(schedule.sigmas)
    guider.sample(torch.zeros_like(latent), latent, sampler, sigmas, disable_pbar=True, seed=0)
    return sampler.result, sampler.cost


class _Loop(comfy.samplers.Sampler):
    """A sampler for the host whose `sample` is a loop over a Run."""

    result: Any = None
    cost: Cost

    def __init__(self, loop: Callable[[Run], Any], steps: int, batch_timesteps: int, passes: int):
        self.loop, self.steps = loop, steps
        self.batch_timesteps, self.passes = batch_timesteps, passes

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
        def predict(x: Tensor, sigma: Tensor) -> Tensor:
            return model_wrap(x, sigma, **extra_args)

        whole = self.steps * self.passes
        on_step = Progress(whole, latent_preview.prepare_callback(model_wrap.model_patcher, whole))
        batch_timesteps = batching.timesteps_per_call(
            model_wrap, latent_image, extra_args["model_options"], self.batch_timesteps, self.steps
        )
        denoise = batching.BatchedDenoise(predict, len(latent_image))

        def restart() -> None:
            # Guidance with momentum forgets where the level rises; one call at the lowest makes the
            # next one do so.
            if extra_args["model_options"].get("sampler_pre_cfg_function"):
                denoise(latent_image, sigmas[-2].to(latent_image).expand(len(latent_image)))

        restart()
        self.result = self.loop(
            Run(denoise, latent_image, batch_timesteps, on_step, extra_args, restart)
        )
        sigmas[0].item()  # waits for the device
        self.cost = denoise.cost(on_step.seconds)
        return latent_image  # the host wants a latent back; what counts is the result


def describe(guider, **info: str | int) -> dict:
    """The fields of a bundle that tell what made it."""
    patcher = guider.model_patcher
    model = {"model": type(patcher.model).__name__, "edits": [], "pack": PACK_VERSION}
    return {
        "latent_format": type(patcher.get_model_object("latent_format")).__name__,
        "cfg": prompts.guidance(guider),
        "unit_roundoff": models.unit_roundoff(patcher),
        "info": {**info, **model},
    }


def noise_scale(patcher, schedule: Schedule) -> float:
    """By what a stock sampler multiplies its noise on an empty latent."""
    sampling = patcher.get_model_object("model_sampling")
    model_wrap = SimpleNamespace(inner_model=SimpleNamespace(model_sampling=sampling))
    top = comfy.samplers.Sampler().max_denoise(model_wrap, schedule.sigmas)
    sigma, one, zero = torch.tensor(schedule.sigmas[0]), torch.ones(()), torch.zeros(())
    return sampling.noise_scaling(sigma, one, zero, top)
