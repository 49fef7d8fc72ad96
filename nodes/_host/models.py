"""What kind of model this is, which schedule it has, and whether noise maps belong to it."""

from collections.abc import Sequence

import comfy.samplers
import torch
from torch import Tensor

from ...inversion import anchoring, walk
from ...inversion.noise_maps import NoiseMaps
from ...inversion.schedule import Schedule
from .messages import tell, warn

SCHEDULERS = comfy.samplers.SCHEDULER_NAMES

_FLOW = {"CONST"}
_NOT_FLOW = {"EPS", "COSMOS_RFLOW"}  # also v-prediction and EDM, which derive from EPS
_TF32 = 2.0**-11  # of float32 convolutions on a GPU
# Their latent is not alpha x_0 + sigma n.
_UNTREATED = {"IMG_TO_IMG", "IMG_TO_IMG_FLOW", "V_PREDICTION_DDPM"}


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
        name = " + ".join(sorted(kinds & _UNTREATED) or [type(sampling).__name__])
        raise ValueError(
            f"The sampling of this model ({name}) cannot be inverted: connect an eps, v, EDM or "
            "flow model."
        )
    return bool(kinds & _FLOW)


def model_sigmas(model, scheduler: str, steps: int) -> Tensor:
    """The host's sigmas (steps + 1,) for this model."""
    if steps < 1:
        raise ValueError(
            f"steps is {steps}, but inversion needs at least one step: set steps to 1 or more."
        )
    sampling = model.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(sampling, scheduler, steps)
    if len(sigmas) - 1 != steps:
        tell(f"{scheduler} gives {len(sigmas) - 1} steps here instead of {steps}.")
    return sigmas


def schedule_of(patcher, sigmas: Tensor, eta: float) -> Schedule:
    """The schedule of these sigmas (steps + 1,) for this model."""
    schedule = Schedule(tuple(sigmas.tolist()), is_flow(patcher), eta)
    if schedule.sigmas[-1] > 0:
        warn(
            f"The schedule ends at sigma {schedule.sigmas[-1]:.3g}, not at 0, so the sampler will "
            "return a noisy latent: connect sigmas that end at 0 for a clean one."
        )
    return schedule


def input_scales(patcher, sigmas: Sequence[float]) -> list[float]:
    """By what this model's network sees its latent scaled at each of these levels."""
    levels = torch.tensor(sigmas)
    sampling = patcher.get_model_object("model_sampling")
    return sampling.calculate_input(levels, torch.ones_like(levels)).tolist()


def lower_sigmas(patcher, schedule: Schedule, timesteps: int) -> list[float]:
    """The levels (steps + 1,) that lie this many of a thousand training timesteps lower; the last
    one stays.
    """
    sampling = patcher.get_model_object("model_sampling")
    sigmas, share = torch.tensor(schedule.sigmas[:-1]), timesteps / 1000
    if schedule.flow:
        lower = (sigmas - share).clamp(min=0)  # where the host's timesteps hold no shift
    else:
        ends = torch.tensor([float(sampling.sigma_min), float(sampling.sigma_max)])
        least, most = sampling.timestep(ends)
        lower = sampling.timestep(sigmas) - share * (most - least)
        lower = sampling.sigma(lower.clamp(min=least))
    return [*lower.tolist(), schedule.sigmas[-1]]


def longest_last_map(patcher, schedule: Schedule, norm: float) -> float:
    """The largest norm of a last map that `walk` is to allow."""
    sigma_min = float(patcher.get_model_object("model_sampling").sigma_min)
    return walk.longest_last_map(schedule, norm, sigma_min)


def rounding_distances(patcher, maps: NoiseMaps, cfg: float) -> list[float]:
    """Within which distance of a bundle's latents this model's are the same up to rounding."""
    sigmas = torch.tensor(maps.schedule.sigmas[:-1])
    sampling = patcher.get_model_object("model_sampling")
    one, zero = torch.ones_like(sigmas), torch.zeros_like(sigmas)
    output_scales = sampling.calculate_denoised(sigmas, one, zero).abs().tolist()
    unit = max(unit_roundoff(patcher), maps.unit_roundoff)
    return anchoring.rounding_distances(maps.schedule, output_scales, unit, cfg)


def unit_roundoff(patcher) -> float:
    """The largest relative error of one rounding in the arithmetic of this model's network."""
    dtype = patcher.get_model_object("manual_cast_dtype") or patcher.model.get_dtype()
    if dtype.itemsize < 2:
        dtype = torch.bfloat16  # what the host computes in where it stores less
    unit = torch.finfo(dtype).eps / 2
    tf32 = patcher.load_device.type == "cuda" and torch.backends.cudnn.allow_tf32
    return max(unit, _TF32) if tf32 else unit


def check_fit(patcher, maps: NoiseMaps) -> None:
    """ValueError unless the noise maps were made with a model like the connected one."""
    remedy = "Connect the model that the maps were made with."
    check_shape(patcher, maps.xs.shape[1:], "The latent in these noise maps", remedy)
    expected = type(patcher.get_model_object("latent_format")).__name__
    if maps.latent_format != expected:
        raise ValueError(
            f"These noise maps hold {maps.latent_format} latents, the connected model works on "
            f"{expected}. {remedy}"
        )
    kinds = {True: "a flow model", False: "an eps, v or EDM model"}
    flow = maps.schedule.flow
    if flow != is_flow(patcher):
        raise ValueError(
            f"These noise maps were made with {kinds[flow]}, the connected model is "
            f"{kinds[not flow]}. {remedy}"
        )


def check_without_cache(patcher) -> None:
    """ValueError where the model may answer with what it predicted at another call."""
    if "easycache" in patcher.model_options["transformer_options"]:
        raise ValueError(
            "EasyCache and LazyCache guess predictions from those at higher noise levels, which "
            "DDIM inversion, null text and attention control cannot use: connect the model without "
            "them."
        )


def check_shape(patcher, shape: tuple[int, ...], what: str, remedy: str) -> None:
    """ValueError unless a latent of this shape fits the model."""
    latent_format = patcher.get_model_object("latent_format")
    expected = latent_format.latent_channels, latent_format.latent_dimensions
    found = shape[1], len(shape) - 2
    if found != expected:
        raise ValueError(
            f"{what} has {found[0]} channels in {found[1]} dimensions, the connected model works "
            f"on {expected[0]} in {expected[1]} ({type(latent_format).__name__}). {remedy}"
        )
