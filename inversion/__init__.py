"""The mathematics of inversion on tensors; knows no host, draws no noise, chooses no device."""

from .ddim import ddim_path
from .ddpm import edit_friendly_path, extract, native_path, record, replay
from .edits import (
    Fill,
    blend,
    flip,
    gain,
    mix,
    push_colour,
    renoise_freely,
    renoise_path,
    rotate,
    shift,
)
from .noise_maps import Info, NoiseMaps, check_noise_maps, read_noise_maps, write_noise_maps
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
from .statistics import (
    neighbour_angles,
    neighbour_correlation,
    recover_denoised,
    variance_per_step,
    white_angle_density,
)

__all__ = [
    "Denoise",
    "Fill",
    "Guide",
    "Info",
    "NoiseMaps",
    "NullText",
    "OnStep",
    "Step",
    "blend",
    "check_eta",
    "check_noise_maps",
    "check_sigmas",
    "check_skip",
    "ddim_path",
    "edit_friendly_path",
    "extract",
    "flip",
    "gain",
    "mix",
    "native_path",
    "neighbour_angles",
    "neighbour_correlation",
    "optimize",
    "plan_step",
    "plan_steps",
    "push_colour",
    "read_noise_maps",
    "record",
    "recover_denoised",
    "renoise_freely",
    "renoise_path",
    "replay",
    "rotate",
    "shift",
    "variance_per_step",
    "white_angle_density",
    "write_noise_maps",
]
