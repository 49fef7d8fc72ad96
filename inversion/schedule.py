"""A schedule of noise levels and its steps, DDPM and DDIM, for all model families.

The latent at level sigma is x = alpha x_0 + sigma n, with alpha = 1 for eps, v and EDM models and
alpha = 1 - sigma for flow models. The papers' symbols map at alpha = 1 as sigma = sqrt((1 -
alpha_bar) / alpha_bar) and x_paper = sqrt(alpha_bar) x; a flow step is that step on sigma / (1 -
sigma), times alpha_next.

Shapes: every latent is (batch, channels, *spatial); sigma and sigma_next are plain floats, where
`x` is and where the step goes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
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
    alpha, alpha_next = alpha_of(sigma, flow), alpha_of(sigma_next, flow)
    ratio = alpha * sigma_next / (alpha_next * sigma)
    std = eta * sigma_next * math.sqrt(1.0 - ratio**2)
    direction = math.sqrt(sigma_next**2 - std**2)
    return Step(sigma, sigma_next, alpha, alpha_next, std, direction)


@dataclass(frozen=True)
class Schedule:
    """Falling noise levels, of which the last may be 0, and the steps between them.

    `flow` says which alpha goes with a level, `eta` in 0..1 how much of DDPM's noise each step
    adds. ValueError where there is no step, a step does not fall, or a value lies outside its
    range.
    """

    sigmas: tuple[float, ...]
    flow: bool
    eta: float
    steps: tuple[Step, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._check_sigmas()
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta is {self.eta:.4g}, but must lie between 0 and 1: set it to 1.")
        steps = (plan_step(*levels, self.eta, self.flow) for levels in pairwise(self.sigmas))
        object.__setattr__(self, "steps", tuple(steps))

    @property
    def alphas(self) -> tuple[float, ...]:
        """The weight of x_0 in the latent at each level."""
        return tuple(alpha_of(sigma, self.flow) for sigma in self.sigmas)

    @property
    def noisy_steps(self) -> list[int]:
        """The numbers of the steps that add noise."""
        return [i for i, step in enumerate(self.steps) if step.std > 0]

    def after(self, skip: int, advice: str = "") -> "Schedule":
        """The schedule without its first `skip` steps; ValueError, with `advice`, where no step is
        left.
        """
        count = len(self.steps)
        if not 0 <= skip < count:
            raise ValueError(
                f"skip_steps is {skip}, but of the {count} steps here at least one must be left: "
                f"set it between 0 and {count - 1}{advice}."
            )
        return Schedule(self.sigmas[skip:], self.flow, self.eta)

    def _check_sigmas(self) -> None:
        if len(self.sigmas) < 2:
            raise ValueError(
                f"The schedule is too short for a step, with {len(self.sigmas)} of at least 2 "
                "sigmas (noise levels): set steps to 1 or more, or connect the whole schedule."
            )
        for i, (sigma, sigma_next) in enumerate(pairwise(self.sigmas)):
            if not math.isfinite(sigma) or not math.isfinite(sigma_next):
                raise ValueError(
                    f"Step {i} goes from sigma {sigma} to {sigma_next}, but every sigma must be a "
                    "finite number: use another scheduler or another number of steps."
                )
            if not sigma > sigma_next >= 0:
                raise ValueError(
                    f"Inversion needs falling sigmas, but step {i} goes from {sigma:.4g} to "
                    f"{sigma_next:.4g}: connect the schedule itself, not a flipped copy, or set "
                    "fewer steps where levels repeat."
                )
        if self.flow and self.sigmas[0] > 1:
            raise ValueError(
                f"A flow model's sigmas start at 1 at most, but the schedule starts at "
                f"{self.sigmas[0]:.8g}: use a scheduler of this model."
            )


def alpha_of(sigma: float, flow: bool) -> float:
    """The weight of x_0 in the latent at this level."""
    return 1.0 - sigma if flow else 1.0
