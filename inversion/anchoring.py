"""Which departures of a replay from its bundle are rounding, and not an edit.

A replay repeats the arithmetic of its inversion bit for bit only on the same machine, in the same
precision and batch; elsewhere each step departs by a little, and guidance amplifies what the next
steps make of it. So `walk.replay` sets a latent back to the bundle's own where its distance from it
lies within what rounding can explain.

How far that is follows from where rounding happens. The network errs by a few units of its
precision in what it puts out, and by more where its input is almost clean, since it must tell the
noise from a rounded picture there; guidance adds the errors of two predictions; the step formula
scales them and rounds its own sums in float32. An edit by one word changes the network's output by
a tenth, whatever the level and cfg, so both move together and one factor separates them.
"""

from collections.abc import Sequence
from math import hypot

import torch
from torch import Tensor

from .schedule import Schedule

FLOAT32 = 2.0**-24  # the largest relative error of one rounding
MARGIN = 2.5  # rounding was measured up to 1.5 units, words from 2.8 (in bfloat16)
_SUMS = 48 * FLOAT32  # long sums, in float32 at any precision: 73 at full width; edits from 560
_INPUT = 0.5  # how much of its input's rounding a network mistakes for noise


def rounding_distances(
    schedule: Schedule, output_scales: Sequence[float], unit_roundoff: float, cfg: float
) -> list[float]:
    """For each step the root mean square distance that rounding explains.

    `unit_roundoff` is the largest relative error of one rounding in the network's arithmetic,
    `output_scales` (steps,) say how much of a change of the network's output reaches `denoised`,
    `cfg` is the guidance.
    """
    guided = hypot(cfg, cfg - 1)
    distances: list[float] = []
    for step, output_scale in zip(schedule.steps, output_scales, strict=True):
        reached = abs(step.alpha_next - step.carry * step.alpha) * output_scale
        network = max(unit_roundoff, _SUMS) * guided * (1 + _INPUT / step.sigma) * reached
        arithmetic = FLOAT32 * hypot(step.alpha_next, step.sigma_next)
        distances.append(MARGIN * (network + arithmetic))
    return distances


def anchored(
    x: Tensor, own: Tensor, distance: float | Tensor, on_path: Tensor
) -> tuple[Tensor, Tensor]:
    """`x` with those items set to `own` that are `on_path` (batch,) and lie within `distance`, and
    which these are: an item that has left the path is an edit, and stays one where it comes near.
    """
    departure = (x - own).flatten(1).square().mean(1).sqrt()
    on_path = on_path & (departure <= distance)
    return torch.where(on_path.view(-1, *[1] * (x.ndim - 1)), own, x), on_path
