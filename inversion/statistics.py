"""What can be read off noise maps: how far they are from white, and the model's x_0 behind them."""

import torch
from torch import Tensor

from .noise_maps import NoiseMaps


def variance_per_step(zs: Tensor) -> Tensor:
    """Mean square of each map (steps,), over all of (steps, batch, channels, *spatial)."""
    return zs.flatten(1).square().mean(1)


def neighbour_correlation(zs: Tensor) -> Tensor:
    """Correlation of each map with the next (steps - 1,); about -0.5 for edit-friendly maps, 0 for
    white ones.
    """
    flat = zs.flatten(1)
    return (flat[1:] * flat[:-1]).mean(1) / (
        flat[1:].square().mean(1) * flat[:-1].square().mean(1)
    ).sqrt()


def recover_denoised(maps: NoiseMaps) -> Tensor:
    """The model's x_0 at each step (steps, batch, channels, *spatial), solved from the invariant.

    Accurate to 1e-4 at 100 steps: where two levels are close, the steps themselves are small
    differences.
    """
    return torch.stack(
        [
            (maps.xs[i + 1] - step.scale * maps.zs[i] - step.carry * maps.xs[i])
            / (step.alpha_next - step.carry * step.alpha)
            for i, step in enumerate(maps.steps)
        ]
    )
