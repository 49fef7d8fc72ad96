"""What `noise_space` measures on noise maps themselves, of 2-D data and of the demo model."""

from typing import NamedTuple

import torch
from comfy.samplers import calculate_sigmas
from torch import Tensor

from ..inversion.noise_maps import NoiseMaps
from ..inversion.paths import edit_friendly_path, recorded_path
from ..inversion.schedule import Schedule
from ..inversion.statistics import (
    edit_friendly_variance,
    neighbour_angles,
    neighbour_correlation,
    variance_per_step,
)
from ..inversion.walk import extract_noise_maps
from ..nodes.record import RecordDDPM
from .task import SCHEDULER, Task, outputs

TOY_STEPS, TOY_POINTS = 40, 4000


class Maps(NamedTuple):
    """Noise maps without the last, which is a residual, and the variance they should have."""

    zs: Tensor
    expected: Tensor
    schedule: Schedule


class Path(NamedTuple):
    """Latents in the papers' scale, where every level's noise has variance 1, of one point; the
    length of each step, the mean over all points; and the noise maps.
    """

    points: Tensor
    lengths: Tensor
    maps: Maps


def edit_friendly(zs: Tensor, schedule: Schedule) -> Maps:
    return Maps(zs[:-1], edit_friendly_variance(schedule)[:-1], schedule)


def native(zs: Tensor, schedule: Schedule) -> Maps:
    return Maps(zs[:-1], torch.ones(len(zs) - 1), schedule)


def record(task: Task, steps: int) -> tuple[NoiseMaps, Tensor]:
    """Sampled pictures with their true noise maps, and their latents."""
    settings = {"seed": 0, "steps": steps, "scheduler": SCHEDULER}
    size = {"samples": torch.zeros_like(task.x_0)}
    prompts = task.prompts(task.source_prompt, 1.0)
    maps, latent = outputs(RecordDDPM, **prompts, latent_image=size, **settings)
    return maps, latent["samples"]


def statistics(maps: Maps) -> dict[str, float]:
    """Bounds over the steps; those with the suffix "noisy" over steps to a sigma above 1, where the
    noise outweighs the picture.
    """
    variance, correlation = variance_per_step(maps.zs), neighbour_correlation(maps.zs)
    noisy = torch.tensor([step.sigma_next > 1 for step in maps.schedule.steps[:-1]])
    off = (variance / maps.expected - 1)[noisy].abs().max()
    return {
        "least variance": variance.min().item(),
        "most variance": variance.max().item(),
        "off expected, noisy": off.item(),
        "least correlation, noisy": correlation[noisy[1:]].min().item(),
        "most correlation, noisy": correlation[noisy[1:]].max().item(),
        "mean angle": neighbour_angles(maps.zs).mean().item(),
    }


def toy(model) -> dict[str, Path]:
    """Data N((10, 10), I) with its exact denoiser: sampled points with their true maps, and
    edit-friendly maps of the same points.
    """

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        square = sigma.view(-1, 1, 1, 1) ** 2
        return (x + 10 * square) / (1 + square)

    levels = calculate_sigmas(model.get_model_object("model_sampling"), SCHEDULER, TOY_STEPS)
    schedule = Schedule(tuple(levels.tolist()), flow=False, eta=1.0)
    generator = torch.Generator().manual_seed(1)
    noises = torch.randn(2, len(levels), 1, 2, TOY_POINTS, 1, generator=generator)
    recorded = recorded_path(denoise, schedule, noises[0])
    path = edit_friendly_path(recorded[0][-1], schedule, noises[1])
    friendly = extract_noise_maps(denoise, path, schedule, len(levels))
    scale = (1 + levels**2).sqrt().view(-1, 1, 1, 1, 1)
    found = {}
    for name, make, (xs, zs) in (
        ("edit-friendly", edit_friendly, friendly),
        ("native", native, recorded),
    ):
        x = xs / scale
        lengths = (x[1:] - x[:-1]).norm(dim=2).mean((1, 2, 3))
        found[name] = Path(x[:, 0, :, 0, 0], lengths, make(zs, schedule))
    return found
