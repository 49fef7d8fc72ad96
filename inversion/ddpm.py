"""DDPM inversion: paths from an image to noise, the noise maps along them, and their replay.

The edit-friendly path and its extraction are Algorithm 1 of Huberman-Spiegelglas et al. 2024; the
native path is the paper's baseline. Two departures from the authors' code: the last step keeps its
residual, which makes reconstruction exact, and eta enters as eta^2 in the step's variance, as DDIM
has it (the authors use eta; both agree at eta = 1).

Shapes: x_0 is (batch, channels, *spatial), paths and noise (steps + 1, batch, channels, *spatial),
maps (steps, batch, channels, *spatial). Noise comes in as a tensor of unit normal values.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .noise_maps import NoiseMaps
from .schedule import Denoise, OnStep, plan_steps


def edit_friendly_path(x_0: Tensor, sigmas: Sequence[float], flow: bool, noise: Tensor) -> Tensor:
    """Independently noised copies of x_0, one per sigma (Huberman-Spiegelglas et al., eq. 6)."""
    return torch.stack(
        [
            (1.0 - sigma if flow else 1.0) * x_0 + sigma * n
            for sigma, n in zip(sigmas, noise, strict=True)
        ]
    )


def native_path(
    x_0: Tensor, sigmas: Sequence[float], eta: float, flow: bool, noise: Tensor
) -> Tensor:
    """The path of the sampler itself if its model always answered x_0: one draw at the top, then
    fresh noise.
    """
    path = [edit_friendly_path(x_0, sigmas[:1], flow, noise[:1])[0]]
    for step, n in zip(plan_steps(sigmas, eta, flow), noise[1:], strict=True):
        path.append(step.mean(path[-1], x_0) + step.std * n)
    return torch.stack(path)


def record(
    denoise: Denoise,
    x_T: Tensor,
    sigmas: Sequence[float],
    eta: float,
    flow: bool,
    noise: Tensor,
    on_step: OnStep | None = None,
) -> tuple[Tensor, Tensor]:
    """Path and true noise maps of an image that is sampled from x_T; maps are 0 at steps without
    noise.
    """
    steps = plan_steps(sigmas, eta, flow)
    zs = torch.stack(
        [n if step.std > 0 else torch.zeros_like(n) for step, n in zip(steps, noise, strict=True)]
    )
    xs = [x_T]
    for i, step in enumerate(steps):
        denoised = denoise(xs[-1], xs[-1].new_full(xs[-1].shape[:1], step.sigma))
        xs.append(step.mean(xs[-1], denoised) + step.scale * zs[i])
        if on_step:
            on_step(i + 1, xs[-1], denoised)
    return torch.stack(xs), zs


def extract(
    denoise: Denoise,
    path: Tensor,
    sigmas: Sequence[float],
    eta: float,
    flow: bool,
    batch_timesteps: int = 1,
    on_step: OnStep | None = None,
) -> tuple[Tensor, Tensor]:
    """Corrected path and noise maps: replaying the maps under the same `denoise` walks the path.

    After each map the next latent is replaced by the one that the map reproduces (the paper's
    correction), so one step at a time the replay is exact to the last bit. Where several steps
    share a model call, up to `batch_timesteps`, it rounds in another way and saw latents from
    before the correction; guidance amplifies that difference along the replay.
    """
    xs, zs = path.clone(), torch.empty_like(path[1:])
    steps = plan_steps(sigmas, eta, flow)
    # Before the loop: a copy to the device inside would wait for the device.
    levels = torch.tensor(sigmas[:-1], dtype=torch.float64).to(path)
    for first in range(0, len(steps), batch_timesteps):
        part = range(first, min(first + batch_timesteps, len(steps)))
        x = xs[part.start : part.stop]
        sigma = levels[part.start : part.stop].repeat_interleave(x.shape[1])
        denoised = denoise(x.flatten(0, 1), sigma).reshape(x.shape)
        for i, d in zip(part, denoised, strict=True):
            mean = steps[i].mean(xs[i], d)
            zs[i] = (xs[i + 1] - mean) / steps[i].scale
            xs[i + 1] = mean + steps[i].scale * zs[i]
        if on_step:
            on_step(part.stop, xs[part.stop], denoised[-1])
    return xs, zs


def replay(
    denoise: Denoise,
    maps: NoiseMaps,
    skip: int = 0,
    residual: float = 1.0,
    mask: Tensor | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """The latent at the last sigma, sampled from `maps.xs[skip]` with the stored maps.

    `residual` scales the maps of steps without noise: 0 at the last step is the authors' code, 0 at
    every step of a DDIM bundle is plain DDIM. Where `mask` (batch, channels, *spatial) is 0, the
    result is exactly the bundle's own latent; in between, the edit's departure from the bundle is
    scaled by the mask.
    """
    x = maps.xs[skip]
    steps = maps.steps
    for i in range(skip, len(steps)):
        step = steps[i]
        denoised = denoise(x, x.new_full(x.shape[:1], step.sigma))
        z = maps.zs[i] if step.std > 0 else residual * maps.zs[i]
        x_next = step.mean(x, denoised) + step.scale * z
        if mask is not None:
            kept = maps.xs[i + 1] + step.carry * (x - maps.xs[i])
            x_next = kept + mask * (x_next - kept)
        x = x_next
        if on_step:
            on_step(i + 1 - skip, x, denoised)
    return x
