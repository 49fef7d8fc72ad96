"""Null-text inversion (Mokady et al. 2023): one unconditional embedding per step, found so that
guided DDIM sampling returns along the path of the inversion.

The path of DDIM inversion at cfg 1, the pivot, is what guided sampling leaves: guidance amplifies
the inversion's errors. From the noisy end, each step's embedding is optimised until the step lands
on the pivot's next latent; the latent that it really reaches is carried on.

Shapes: the pivot is (steps + 1, batch, channels, *spatial), an embedding (batch, tokens, width).
Every image of a batch has its own optimisation. Gradients must be enabled.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from .schedule import Schedule, Step

Guide = Callable[[Tensor, Tensor], Callable[[Tensor], Tensor]]
"""The guided model: (x, sigma (batch,)) -> the function embedding -> predicted x_0 there."""

OnOptimized = Callable[[int, Tensor, Tensor, Tensor], None]
"""Called as (steps done, x, denoised, loss (batch,)) after each step."""


class NullText(NamedTuple):
    """What an optimisation found: `xs` (steps + 1, batch, channels, *spatial), the path that guided
    sampling takes; `uncond` (steps, batch, tokens, width); and per step and image the number of
    updates that were made and the loss that was left, both (steps, batch).
    """

    xs: Tensor
    uncond: Tensor
    updates: Tensor
    losses: Tensor


def null_text_inversion(
    guide: Guide,
    pivot: Tensor,
    schedule: Schedule,
    uncond: Tensor,
    inner_steps: int = 10,
    learning_rate: float = 1e-2,
    tolerance: float = 1e-5,
    on_step: OnOptimized | None = None,
) -> NullText:
    """The null text after at most `inner_steps` updates per step by a fresh Adam. The first step
    starts from `uncond`, each later one from the embedding before it; the best one seen is kept.
    The authors' settings for 50 steps are relative to the number of steps here.
    """
    x, landings, updates = pivot[0], list[Landing](), list[Tensor]()
    uncond = uncond.detach().clone().requires_grad_()
    for i, step in enumerate(schedule.steps):
        passed = i / len(schedule.steps)
        aim = Aim(guide(x, x.new_full(x.shape[:1], step.sigma)), x, step, pivot[i + 1], schedule)
        adam = torch.optim.Adam([uncond], learning_rate * (1.0 - passed / 2))
        stop = tolerance + 1e-3 * passed  # the authors' 2e-5 more at each of 50 steps
        best, count = search(aim, uncond, adam, inner_steps, stop)
        check_finite(i, schedule, best.loss, uncond)
        x = best.hand_on(uncond)
        landings.append(best)
        updates.append(count)
        if on_step:
            on_step(i + 1, x, best.denoised, best.loss)
    return collect(pivot[0], landings, updates)


def search(
    aim: "Aim", uncond: Tensor, adam: torch.optim.Adam, inner_steps: int, stop: float
) -> tuple["Landing", Tensor]:
    """The best landing of one step and how many updates were made for each image (batch,), at most
    `inner_steps` and none after a loss below `stop`. `uncond` is the tensor that `adam` updates.
    """
    landing = aim.land(uncond)
    best, running = landing.kept(), torch.ones_like(landing.loss, dtype=torch.bool)
    updates = torch.zeros_like(running, dtype=torch.int64)
    for left in reversed(range(inner_steps)):
        aim.update(landing, adam)
        # The authors update, and then test the loss from before that update.
        updated, running = running, running & (landing.loss >= stop)
        updates += updated
        # The only wait for the device, beside network evaluations.
        again = left > 0 and bool(running.any())
        with torch.set_grad_enabled(again):  # a graph without a backward pass stays in memory
            landing = aim.land(uncond)
        best = best.replaced(landing.kept(), updated & (landing.loss < best.loss))
        if not again:
            break
    return best, updates


class Landing(NamedTuple):
    """An embedding and where it leads; loss (batch,) is the mean square error in the papers'
    units.
    """

    uncond: Tensor
    x_next: Tensor
    denoised: Tensor
    loss: Tensor

    def kept(self) -> "Landing":
        """A copy that later updates leave as it is."""
        return Landing(*(part.detach().clone() for part in self))

    def replaced(self, other: "Landing", where: Tensor) -> "Landing":
        """The other landing for the images where asked, this one for the rest."""
        return Landing(
            *(
                torch.where(where.reshape(-1, *[1] * (new.ndim - 1)), new, old)
                for old, new in zip(self, other, strict=True)
            )
        )

    def hand_on(self, uncond: Tensor) -> Tensor:
        """Writes this embedding into the optimised one; returns the latent to go on from."""
        with torch.no_grad():
            uncond.copy_(self.uncond)
        return self.x_next


class Aim(NamedTuple):
    """One step's search for the embedding that takes x to `target`."""

    denoised_with: Callable[[Tensor], Tensor]
    x: Tensor
    step: Step
    target: Tensor
    schedule: Schedule

    @property
    def units(self) -> float:
        """The papers' latent is x / sqrt(1 + sigma^2) where alpha is 1."""
        return 1.0 if self.schedule.flow else 1.0 + self.step.sigma_next**2

    def land(self, uncond: Tensor) -> Landing:
        """Where this embedding leads."""
        denoised = self.denoised_with(uncond)
        x_next = self.step.mean(self.x, denoised)
        square = (x_next - self.target).square().flatten(1).mean(1)
        return Landing(uncond, x_next, denoised, square / self.units)

    def update(self, landing: Landing, adam: torch.optim.Adam) -> None:
        """One update of the embedding, in place."""
        landing.uncond.grad = self.gradient(landing)
        cast(Any, adam).step()  # which declares no types

    def gradient(self, landing: Landing) -> Tensor:
        """The derivative of the loss by the embedding.

        The network's part is taken with residuals scaled to unit size, as half-precision networks
        lose small gradients.
        """
        residual = (landing.x_next - self.target).detach()
        if not landing.x_next.requires_grad:
            raise ValueError(
                "The prediction does not depend on the negative prompt, so null text cannot be "
                "fitted: connect the model without what sets its cfg to 1 (such as CFG Override)."
            )
        size = residual.square().flatten(1).mean(1).sqrt().clamp_min(1e-30)
        rows = size.reshape(-1, *[1] * (residual.ndim - 1))
        (slope,) = torch.autograd.grad(landing.x_next, landing.uncond, residual / rows)
        return slope * (2.0 / (residual[0].numel() * self.units) * size).reshape(-1, 1, 1)


def check_finite(i: int, schedule: Schedule, loss: Tensor, uncond: Tensor) -> None:
    """ValueError that names the step where the optimisation broke down."""
    slope = loss if uncond.grad is None else uncond.grad
    if not loss.isfinite().all() or not slope.isfinite().all():
        raise ValueError(
            f"Null text met NaN or infinite values at step {i} of {len(schedule.steps)}: use a "
            "float32 model, or a lower cfg or learning rate."
        )


def collect(x_T: Tensor, landings: Sequence[Landing], updates: Sequence[Tensor]) -> NullText:
    """The steps' landings as one result."""
    return NullText(
        xs=torch.stack([x_T, *(landing.x_next for landing in landings)]),
        uncond=torch.stack([landing.uncond for landing in landings]),
        updates=torch.stack([*updates]),
        losses=torch.stack([landing.loss for landing in landings]),
    )
