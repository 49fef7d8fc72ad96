"""DDIM inversion: the deterministic path from an image to noise, by climbing the schedule.

A DDIM step down is x_next = x + (sigma_next - sigma) d with the slope d = (x - denoised) / sigma at
(x, sigma). Going up, that slope is not known yet: the papers' code (Mokady et al. 2023) takes it at
the step's target level from the latent at hand, which errs to first order in the step's size.

Shapes: x_0 is (batch, channels, *spatial), the path (steps + 1, batch, channels, *spatial).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .schedule import Denoise, OnStep, plan_step


def ddim_path(
    denoise: Denoise,
    x_0: Tensor,
    sigmas: Sequence[float],
    flow: bool,
    input_scales: Sequence[float],
    evaluate_at: str = "target",
    fixed_point_steps: int = 0,
    on_step: OnStep | None = None,
) -> Tensor:
    """One latent per sigma, from x_0 upwards; `ddpm.extract` at eta 0 gives the residuals along it.

    At "target" the network sees at `sigma` what it would see at `sigma_next`: `input_scales` are
    the factors by which the model scales its input at each sigma. At "current" the slope is the one
    at `sigma_next`, or, where that is 0, at the smallest positive sigma. Each of
    `fixed_point_steps` repeats the step with the slope at its own result (Pan et al. 2023; Garibi
    et al. 2024).
    """
    xs = [x_0]
    for i in reversed(range(len(sigmas) - 1)):
        sigma, sigma_next, x_next = sigmas[i], sigmas[i + 1], xs[-1]
        if evaluate_at == "target":
            guess, level = x_next * (input_scales[i + 1] / input_scales[i]), sigma
        else:
            guess, level = x_next, sigma_next or sigma
        denoised = denoise(guess, guess.new_full(guess.shape[:1], level))
        x = x_next + (sigma - sigma_next) / level * (guess - denoised)
        for _ in range(fixed_point_steps):
            denoised = denoise(x, x.new_full(x.shape[:1], sigma))
            x = _climb(x_next, x, denoised, sigma, sigma_next, flow)
        xs.append(x)
        if on_step:
            on_step(len(xs) - 1, x, denoised)
    return torch.stack(xs[::-1])


def _climb(
    x_next: Tensor, x: Tensor, denoised: Tensor, sigma: float, sigma_next: float, flow: bool
) -> Tensor:
    """The latent at `sigma` from which the step reaches x_next, given the model's x_0 at the guess
    `x`.

    Holding the slope or holding `denoised` has the same fixed point; each repetition errs by the
    step's size times the derivative of what is held. For data of unit variance `denoised` changes
    less where sigma * sigma_next > alpha * alpha_next, and only that form converges at the huge
    first steps of zero-terminal-SNR schedules.
    """
    step = plan_step(sigma, sigma_next, 0.0, flow)
    if sigma * sigma_next > step.alpha * step.alpha_next:
        return step.alpha * denoised + (x_next - step.alpha_next * denoised) / step.carry
    return x_next + (sigma - sigma_next) / sigma * (x - denoised)
