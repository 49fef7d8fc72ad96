"""The bundle of noise maps: everything a replay must know, in one immutable value.

Invariant, for edited bundles too: xs[i + 1] = mean(xs[i], denoised_i) + scale_i zs[i] (see
`schedule.Step`), so the model's x_0 at each step, the paper's P(f_t(x_t)), can be recovered without
the model, and `xs[-1]` is the bundle's own picture. Latents are in model space, on the CPU,
contiguous, float32.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .schedule import Step, check_sigmas, plan_steps


class NoiseMaps(NamedTuple):
    """xs (steps + 1, batch, channels, *spatial) and zs (steps, batch, channels, *spatial); `zs[i]`
    belongs to the step from `sigmas[i]` to `sigmas[i + 1]`.

    `skipped` counts the steps that were cut off before `sigmas[0]`. `uncond` (steps, batch, tokens,
    width) and `uncond_pooled` (batch, width) are the unconditional embeddings to replay with, where
    an optimisation stored them. `info` holds what an error or a caption names: method, latent
    format, cfg, seed and the like.
    """

    xs: Tensor
    zs: Tensor
    sigmas: tuple[float, ...]
    eta: float
    flow: bool
    skipped: int
    info: dict[str, str | float | int | list[str]]
    uncond: Tensor | None = None
    uncond_pooled: Tensor | None = None

    @property
    def steps(self) -> list[Step]:
        return plan_steps(self.sigmas, self.eta, self.flow)


def check_noise_maps(maps: NoiseMaps) -> None:
    """ValueError unless schedule and shapes agree and every value is finite."""
    check_sigmas(maps.sigmas, maps.flow)
    if not 0 <= maps.eta <= 1:
        raise ValueError(f"The noise maps' eta is {maps.eta:g}, not in 0 to 1: invert again.")
    for values in (maps.xs, maps.zs):
        if not values.is_floating_point() or not values.numel():
            raise ValueError(
                f"The noise maps hold {values.numel()} values of {values.dtype}: invert again."
            )
    steps = len(maps.sigmas) - 1
    if (
        maps.xs.ndim < 4
        or maps.xs.shape[0] != steps + 1
        or maps.zs.shape != (steps, *maps.xs.shape[1:])
    ):
        raise ValueError(
            f"The noise maps hold latents {tuple(maps.xs.shape)} and maps {tuple(maps.zs.shape)} "
            f"for {steps} steps, which do not belong together: invert the image again."
        )
    for name, values in (("maps", maps.zs), ("latents", maps.xs)):
        finite = values.flatten(1).isfinite().all(1)
        if not finite.all():
            raise ValueError(
                f"The noise {name} are not finite at step {int(torch.argmin(finite.int()))}: "
                "invert with a float32 model, or with a lower cfg."
            )
