"""What can be read off noise maps: how far they are from white, and the model's x_0 behind them."""

import math

import torch
from torch import Tensor

from .noise_maps import NoiseMaps
from .schedule import Schedule


def variance_per_step(zs: Tensor) -> Tensor:
    """The mean square of each map (steps,), over all of (steps, batch, channels, *spatial)."""
    return zs.flatten(1).square().mean(1)


def edit_friendly_variance(schedule: Schedule) -> Tensor:
    """What `variance_per_step` tends to (steps,) for edit-friendly maps at eta 1 where the noise
    outweighs the image; the last step, which adds no noise, has none and is 1.
    """
    ratios = [
        step.alpha * step.sigma_next / (step.alpha_next * step.sigma) for step in schedule.steps
    ]
    squares = torch.tensor(ratios, dtype=torch.float64).square()
    return (1 + squares) / (1 - squares)


def neighbour_correlation(zs: Tensor) -> Tensor:
    """The correlation of each map with the next (steps - 1,); about -0.5 for edit-friendly maps, 0
    for white ones.
    """
    flat = zs.flatten(1)
    return (flat[1:] * flat[:-1]).mean(1) / (
        flat[1:].square().mean(1) * flat[:-1].square().mean(1)
    ).sqrt()


def neighbour_angles(zs: Tensor) -> Tensor:
    """The angle in degrees between the channel vectors of each cell in a map and in the next
    (steps - 1, batch, *spatial).
    """
    cosine = torch.nn.functional.cosine_similarity(zs[1:], zs[:-1], dim=2)
    return cosine.clamp(-1, 1).acos().rad2deg()


def white_angle_density(degrees: Tensor, channels: int) -> Tensor:
    """The density per degree of the angle between two independent normal vectors; needs two
    channels or more.
    """
    power = channels - 2
    total = math.sqrt(math.pi) * math.gamma((power + 1) / 2) / math.gamma(power / 2 + 1)
    return degrees.deg2rad().sin() ** power / total * math.pi / 180


def recover_denoised(maps: NoiseMaps) -> Tensor:
    """The model's x_0 at each step (steps, batch, channels, *spatial), solved from the invariant.

    Accurate to 1e-4 at 100 steps: where two levels are close, the steps themselves are small
    differences.
    """
    denoised = torch.empty_like(maps.zs)
    for i, step in enumerate(maps.schedule.steps):
        denoised[i] = step.recover_denoised(maps.xs[i], maps.xs[i + 1], maps.zs[i])
    return denoised
