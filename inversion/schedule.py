"""One step of DDPM or DDIM in the host's parametrisation, for all model families.

The latent at level sigma is x = alpha x_0 + sigma n, with alpha = 1 for eps, v and EDM models and
alpha = 1 - sigma for flow models. The papers' symbols map at alpha = 1 as sigma = sqrt((1 -
alpha_bar) / alpha_bar) and x_paper = sqrt(alpha_bar) x; a flow step is that step on sigma / (1 -
sigma), times alpha_next.

Shapes: every latent is (batch, channels, *spatial); sigma and sigma_next are plain floats, where
`x` is and where the step goes.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor

Denoise = Callable[[Tensor, Tensor], Tensor]
"""The model: (x, sigma (batch,)) -> the predicted x_0; each batch row has its own level."""

OnStep = Callable[[int, Tensor, Tensor], None]
"""Called as (steps done, x, denoised) after each step."""


class Step(NamedTuple):
    """What one step from `sigma` to `sigma_next` needs: x_next = mean(x, denoised) + scale * z.

    `std` is the step's standard deviation, `direction` the weight of the predicted noise in the
    mean. `scale` is `std` where that is positive, else 1: there z is the plain residual.
    """

    sigma: float
    sigma_next: float
    alpha: float
    alpha_next: float
    std: float
    direction: float

    @property
    def scale(self) -> float:
        return self.std if self.std > 0 else 1.0

    @property
    def carry(self) -> float:
        """How much of a change of x reaches x_next when `denoised` stays as it is."""
        return self.direction / self.sigma

    def mean(self, x: Tensor, denoised: Tensor) -> Tensor:
        """Mean of x at sigma_next. Extraction and replay share it: another order of operations
        costs 1e-5.
        """
        eps = (x - self.alpha * denoised) / self.sigma
        return self.alpha_next * denoised + self.direction * eps

    def recover_denoised(self, x: Tensor, x_next: Tensor, z: Tensor) -> Tensor:
        """The x_0 with which this step leads from x to x_next."""
        known = x_next - self.scale * z - self.carry * x
        return known / (self.alpha_next - self.carry * self.alpha)


def plan_step(sigma: float, sigma_next: float, eta: float, flow: bool) -> Step:
    """The step from `sigma` to `sigma_next`.

    eta = 1 is the DDPM posterior (Ho et al. 2020, eq. 7), eta = 0 the DDIM step (Song et al. 2021,
    eq. 12 and 16), both divided by sqrt(alpha_bar_next). At sigma_next = 0 the standard deviation
    is 0 for every eta.
    """
    alpha, alpha_next = (1.0 - sigma, 1.0 - sigma_next) if flow else (1.0, 1.0)
    ratio = alpha * sigma_next / (alpha_next * sigma)
    std = eta * sigma_next * math.sqrt(1.0 - ratio**2)
    direction = math.sqrt(sigma_next**2 - std**2)
    return Step(sigma, sigma_next, alpha, alpha_next, std, direction)


def plan_steps(sigmas: Sequence[float], eta: float, flow: bool) -> list[Step]:
    return [plan_step(sigma, sigma_next, eta, flow) for sigma, sigma_next in pairwise(sigmas)]


def check_sigmas(sigmas: Sequence[float], flow: bool) -> None:
    """ValueError unless there is a step, all steps fall, and no level lies outside the model's."""
    if len(sigmas) < 2:
        raise ValueError(
            f"The schedule holds {len(sigmas)} sigmas and so no step: set steps to 1 or more."
        )
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        if not math.isfinite(sigma) or not math.isfinite(sigma_next):
            raise ValueError(
                f"Step {i} goes from sigma {sigma} to {sigma_next}: use another scheduler or more "
                "steps."
            )
        if not sigma > sigma_next >= 0:
            raise ValueError(
                f"Inversion needs falling sigmas, but step {i} goes from {sigma:.4g} to "
                f"{sigma_next:.4g}: connect the schedule itself, not a flipped copy, or set fewer "
                "steps where levels repeat."
            )
    if flow and sigmas[0] > 1:
        raise ValueError(
            f"A flow model's sigmas end at 1, but the schedule starts at {sigmas[0]:.8g}: use a "
            "scheduler of this model."
        )


def check_eta(eta: float) -> None:
    """ValueError unless eta is in (0, 1]."""
    if eta == 0:
        raise ValueError("eta 0 has no noise maps to extract: use DDIM Invert, or set eta to 1.")
    if not 0 < eta <= 1:
        raise ValueError(
            f"eta is {eta:.4g}, but must lie above 0 and at most at 1: set it to 1, the paper's "
            "value."
        )


def check_skip(skip: int, steps: int) -> None:
    """ValueError unless at least one of `steps` is left after the first `skip`."""
    if not 0 <= skip < steps:
        raise ValueError(
            f"skip_steps is {skip}, but there are {steps} steps: set it to {round(0.36 * steps)} "
            "(36 %) or less."
        )
