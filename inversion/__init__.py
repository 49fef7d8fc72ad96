"""The mathematics of inversion on tensors; knows no host, draws no noise, chooses no device."""

from .ddpm import edit_friendly_path, extract, native_path, record, replay
from .noise_maps import NoiseMaps, check_noise_maps
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
    "NoiseMaps",
    "OnStep",
    "Step",
    "check_eta",
    "check_noise_maps",
    "check_sigmas",
    "check_skip",
    "edit_friendly_path",
    "extract",
    "native_path",
    "neighbour_correlation",
    "plan_step",
    "plan_steps",
    "record",
    "recover_denoised",
    "replay",
    "variance_per_step",
]
