"""From a picture to latents at all levels of a schedule: paths that noise maps are extracted from.

The edit-friendly path is Algorithm 1 of Huberman-Spiegelglas et al. 2024, the native path the
paper's baseline, the recorded path that of an ordinary sampler. The DDIM path climbs the schedule:
a step down is x_next = x + (sigma_next - sigma) d with the slope d = (x - denoised) / sigma at
(x, sigma); going up, that slope is not known yet, and the papers' code (Mokady et al. 2023) takes
it at the step's target level from the latent at hand, which errs to first order in the step's size.

Shapes: x_0 is (batch, channels, *spatial), paths and noise (steps + 1, batch, channels, *spatial),
maps (steps, batch, channels, *spatial). Noise comes in as a tensor of unit normal values.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .schedule import Denoise, OnStep, Schedule, Step, alpha_of


def edit_friendly_path(x_0: Tensor, schedule: Schedule, noise: Tensor) -> Tensor:
    """Independently noised copies of x_0, one per level (Huberman-Spiegelglas et al., eq. 6)."""
    path, levels = torch.empty_like(noise), zip(schedule.alphas, schedule.sigmas, strict=True)
    for i, (alpha, sigma) in enumerate(levels):
        path[i] = alpha * x_0 + sigma * noise[i]
    return path


def shifted_path(
    x_0: Tensor,
    schedule: Schedule,
    noise: Tensor,
    lower_sigmas: Sequence[float],
    input_scales: Sequence[float],
) -> Tensor:
    """The edit-friendly path with less noise than its levels say, for few-step models, whose steps
    leave less (Deutch et al. 2024): at each level (steps + 1,) the network sees what it would see
    at `lower_sigmas`, if it scales its input by `input_scales` times what it does here.
    """
    path, levels = torch.empty_like(noise), zip(lower_sigmas, input_scales, strict=True)
    for i, (sigma, scale) in enumerate(levels):
        path[i] = scale * (alpha_of(sigma, schedule.flow) * x_0 + sigma * noise[i])
    return path


def native_path(x_0: Tensor, schedule: Schedule, noise: Tensor) -> Tensor:
    """The path that the sampler would take if its model always answered x_0: from pure noise down,
    with fresh noise at each step.
    """
    path = torch.empty_like(noise)
    path[0] = schedule.sigmas[0] * noise[0]
    for i, step in enumerate(schedule.steps):
        path[i + 1] = step.mean(path[i], x_0) + step.std * noise[i + 1]
    return path


def recorded_path(
    denoise: Denoise, schedule: Schedule, noise: Tensor, on_step: OnStep | None = None
) -> tuple[Tensor, Tensor]:
    """Path and true noise maps of an image that is sampled from pure noise; maps are 0 at steps
    without noise.
    """
    zs = torch.stack(
        [
            n if step.std > 0 else torch.zeros_like(n)
            for step, n in zip(schedule.steps, noise[1:], strict=True)
        ]
    )
    xs = [schedule.sigmas[0] * noise[0]]
    for i, step in enumerate(schedule.steps):
        denoised = denoise(xs[-1], xs[-1].new_full(xs[-1].shape[:1], step.sigma))
        xs.append(step.mean(xs[-1], denoised) + step.scale * zs[i])
        if on_step:
            on_step(i + 1, xs[-1], denoised)
    return torch.stack(xs), zs


def ddim_path(
    denoise: Denoise,
    x_0: Tensor,
    schedule: Schedule,
    input_scales: Sequence[float],
    evaluate_at: str = "target",
    fixed_point_steps: int = 0,
    on_step: OnStep | None = None,
) -> Tensor:
    """The deterministic path from x_0 upwards; its noise maps at eta 0 are the residuals along it.

    At "target" the network sees at `sigma` what it would see at `sigma_next`: `input_scales` are
    the factors by which the model scales its input at each level. At "current" the slope is the one
    at `sigma_next`, or, where that is 0, at the smallest positive sigma. Each of
    `fixed_point_steps` repeats the step with the slope at its own result (Pan et al. 2023; Garibi
    et al. 2024).
    """
    xs = [x_0]
    for i, step in reversed([*enumerate(schedule.steps)]):
        sigma, sigma_next, x_next = step.sigma, step.sigma_next, xs[-1]
        if evaluate_at == "target":
            guess, level = x_next * (input_scales[i + 1] / input_scales[i]), sigma
        else:
            guess, level = x_next, sigma_next or sigma
        denoised = denoise(guess, guess.new_full(guess.shape[:1], level))
        x = x_next + (sigma - sigma_next) / level * (guess - denoised)
        for _ in range(fixed_point_steps):
            denoised = denoise(x, x.new_full(x.shape[:1], sigma))
            x = _climb(x_next, x, denoised, step)
        xs.append(x)
        if on_step:
            on_step(len(xs) - 1, x, denoised)
    return torch.stack(xs[::-1])


def _climb(x_next: Tensor, x: Tensor, denoised: Tensor, step: Step) -> Tensor:
    """The latent from which a DDIM step reaches x_next, given the model's x_0 at the guess `x`.

    Holding the slope or holding `denoised` has the same fixed point; each repetition errs by the
    step's size times the derivative of what is held. For data of unit variance `denoised` changes
    less where sigma * sigma_next > alpha * alpha_next, and only that form converges at the huge
    first steps of zero-terminal-SNR schedules.
    """
    if step.sigma * step.sigma_next > step.alpha * step.alpha_next:
        return step.alpha * denoised + (x_next - step.alpha_next * denoised) / step.carry
    return x_next + (step.sigma - step.sigma_next) / step.sigma * (x - denoised)
