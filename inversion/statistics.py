"""What noise maps look like as random numbers: white for a recorded image, edit-friendly ones are
not.
"""

from torch import Tensor


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
