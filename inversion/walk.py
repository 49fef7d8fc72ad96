"""Along a path: noise maps out of it, and a picture out of noise maps; two directions of one step.

Extraction is Algorithm 1 of Huberman-Spiegelglas et al. 2024, for every path. Two departures from
the authors' code: the last step keeps its residual, which makes reconstruction exact, and eta
enters as eta^2 in the step's variance, as DDIM has it (the authors use eta; both agree at eta = 1).

Shapes: paths are (steps + 1, batch, channels, *spatial), maps (steps, batch, channels, *spatial).
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from .anchoring import anchored
from .noise_maps import NoiseMaps
from .schedule import Denoise, OnStep, Schedule, plan_step


def extract_noise_maps(
    denoise: Denoise,
    path: Tensor,
    schedule: Schedule,
    batch_timesteps: int = 1,
    on_step: OnStep | None = None,
    longest_last: float | None = None,
) -> tuple[Tensor, Tensor]:
    """`path`, corrected in place, and its noise maps: a replay under the same `denoise` walks it.

    After each map the next latent is replaced by the one that the map reproduces (the paper's
    correction), so one step at a time the replay is exact to the last bit. Where several steps
    share a model call, up to `batch_timesteps`, it rounds in another way and saw latents from
    before the correction; guidance would amplify that difference along a replay that is not
    anchored.

    `longest_last` clamps the Euclidean norm of the last map, where few steps leave what shows in
    edits (Deutch et al. 2024); the path then ends beside the picture.
    """
    xs, zs, steps = path, torch.empty_like(path[1:]), schedule.steps
    # Before the loop: a copy to the device inside would wait for the device.
    levels = torch.tensor(schedule.sigmas[:-1], dtype=torch.float64).to(path)
    for first in range(0, len(steps), batch_timesteps):
        part = slice(first, min(first + batch_timesteps, len(steps)))
        x = xs[part]
        sigma = levels[part].repeat_interleave(x.shape[1])
        denoised = denoise(x.flatten(0, 1), sigma).reshape(x.shape)
        for i, d in enumerate(denoised, first):
            mean = steps[i].mean(xs[i], d)
            zs[i] = (xs[i + 1] - mean) / steps[i].scale
            if longest_last is not None and i == len(steps) - 1:
                zs[i] = _shortened(zs[i], longest_last)
            xs[i + 1] = mean + steps[i].scale * zs[i]
        if on_step:
            on_step(part.stop, xs[part.stop], denoised[-1])
    return xs, zs


def longest_last_map(schedule: Schedule, norm: float, sigma_min: float) -> float:
    """The norm of a last map with `norm` times the standard deviation of its step; of one to
    `sigma_min`, where it goes to 0 and adds no noise.
    """
    step = schedule.steps[-1]
    to_least = plan_step(step.sigma, min(sigma_min, step.sigma), schedule.eta, schedule.flow)
    return norm if step.std > 0 else norm * to_least.std


def _shortened(z: Tensor, longest: float) -> Tensor:
    lengths = z.flatten(1).square().sum(1).sqrt().clamp(min=longest or 1)
    return z * (longest / lengths).view(-1, *[1] * (z.ndim - 1))


class Steer(Protocol):
    """What an attention control does along a replay; `own` is the bundle's latent at that level."""

    def before(self, i: int, x: Tensor, own: Tensor, sigma: Tensor) -> Tensor:
        """The latent that step `i` goes on with, from `x`."""
        ...

    def after(self, x_next: Tensor, own: Tensor) -> Tensor:
        """The latent that comes out of it, from `x_next`."""
        ...


def replay(
    denoise: Denoise,
    maps: NoiseMaps,
    skip: int = 0,
    residual: float = 1.0,
    mask: Tensor | None = None,
    distances: Sequence[float] | None = None,
    on_step: OnStep | None = None,
    steer: Steer | None = None,
) -> Tensor:
    """The latent at the last sigma, sampled from `maps.xs[skip]` with the stored maps.

    `residual` scales the maps of steps without noise: the last one of an EF-DDPM inversion, every
    one of a DDIM inversion, which is plain DDIM at 0. Where `mask` (batch, channels, *spatial) is
    0, the result is exactly the bundle's own latent; in between, the edit's departure from the
    bundle is scaled by the mask. `distances` (steps,) are those within which a latent counts
    as the bundle's own (see `anchoring`), as long as no map was scaled.
    """
    xs, x, scaled = maps.xs, maps.xs[skip], False
    on_path = torch.ones(len(x), dtype=torch.bool, device=x.device)
    inside = 1.0 if mask is None else mask.flatten(1).square().mean(1).sqrt()  # what may depart
    for i, step in enumerate(maps.schedule.steps[skip:], skip):
        sigma = x.new_full(x.shape[:1], step.sigma)
        if steer:
            x = x + (1 if mask is None else mask) * (steer.before(i, x, xs[i], sigma) - x)
        denoised = denoise(x, sigma)
        scaled = scaled or (step.std == 0 and residual != 1)
        z = residual * maps.zs[i] if step.std == 0 else maps.zs[i]
        x_next = step.mean(x, denoised) + step.scale * z
        if mask is not None:
            locked = xs[i + 1] + step.carry * (x - xs[i])
            x_next = locked + mask * (x_next - locked)
        if steer:
            x_next = steer.after(x_next, xs[i + 1])
        if distances is not None and not scaled:
            x_next, on_path = anchored(x_next, xs[i + 1], distances[i] * inside, on_path)
        x = x_next
        if on_step:
            on_step(i + 1 - skip, x, denoised)
    return x
