"""The mathematics of inversion on tensors; knows no host, draws no noise, chooses no device."""

from .ddim import ddim_path
from .ddpm import edit_friendly_path, extract, native_path, record, replay
from .noise_maps import NoiseMaps, check_noise_maps
from .null_text import Guide, NullText, optimize
from .schedule import (
    Denoise,
    OnStep,
    Step,
    check_eta,
    check_sigmas,
    check_skip,
    plan_step,
    plan_steps,
)
from .statistics import neighbour_correlation, recover_denoised, variance_per_step

__all__ = [
    "Denoise",
    "Guide",
    "NoiseMaps",
    "NullText",
    "OnStep",
    "Step",
    "check_eta",
    "check_noise_maps",
    "check_sigmas",
    "check_skip",
    "ddim_path",
    "edit_friendly_path",
    "extract",
    "native_path",
    "neighbour_correlation",
    "optimize",
    "plan_step",
    "plan_steps",
    "record",
    "recover_denoised",
    "replay",
    "variance_per_step",
]
