"""Null-text inversion (Mokady et al. 2023): one unconditional embedding per step, found so that
guided DDIM sampling returns along the path of the inversion.

The path of DDIM inversion at cfg 1, the pivot, is what guided sampling leaves: guidance amplifies
the inversion's errors. From the noisy end, each step's embedding is optimised until the step lands
on the pivot's next latent; the latent that it really reaches is carried on.

Shapes: the pivot is (steps + 1, batch, channels, *spatial), an embedding (batch, tokens, width).
Every image of a batch has its own optimisation.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from .schedule import Step, plan_steps

Guide = Callable[[Tensor, Tensor], Callable[[Tensor], Tensor]]
"""The guided model: (x, sigma (batch,)) -> the function embedding -> predicted x_0 there."""

OnOptimized = Callable[[int, Tensor, Tensor, Tensor, Tensor], None]
"""Called as (steps done, x, denoised, updates (batch,), loss (batch,)) after each step."""

_ONLINE_BETAS = (0.3, 0.99)
_RETURN = 0.16  # part of the whole schedule over which `online` brings x back
_LATE = 0.7  # where in the schedule its last steps begin


class NullText(NamedTuple):
    """What an optimisation found: `xs` (steps + 1, batch, channels, *spatial), the path that guided
    sampling takes; `uncond` (steps, batch, tokens, width); and per step and image the number of
    updates and the loss that was left, both (steps, batch).
    """

    xs: Tensor
    uncond: Tensor
    updates: Tensor
    losses: Tensor


def optimize(
    guide: Guide,
    pivot: Tensor,
    sigmas: Sequence[float],
    flow: bool,
    uncond: Tensor,
    inner_steps: int = 10,
    learning_rate: float = 1e-2,
    tolerance: float = 1e-5,
    online: bool = False,
    on_step: OnOptimized | None = None,
) -> NullText:
    """Per step at most `inner_steps` updates by Adam, starting from `uncond` and then from the
    embedding of the step before; the best one seen is kept.

    Learning rate and stopping loss are those of the authors' code, which knows 50 steps only,
    relative to the number of steps: the rate falls by half over the schedule, the stopping loss
    grows from `tolerance` by 1e-3. The authors start Adam anew at each step and aim at the pivot.

    `online` makes single updates suffice: one embedding drifts through the schedule, so
    Adam keeps its moments, with short memory, and never stops early; and where x has strayed from
    the pivot, a step aims at bringing it back over the next steps, not at once, which would pull
    the embedding far off for a small error. The last steps, whose errors no later one mends, take
    twice as many.

    Needs gradients to be enabled. The embedding's precision is that of the optimisation.
    """
    steps = plan_steps(sigmas, 0.0, flow)
    x, fits = pivot[0], list[_Fit]()
    uncond = uncond.detach().clone().requires_grad_()
    adam = torch.optim.Adam([uncond], betas=_ONLINE_BETAS)
    for i, step in enumerate(steps):
        passed = i / len(steps)
        if not online:
            adam = torch.optim.Adam([uncond])
        adam.param_groups[0]["lr"] = learning_rate * (1.0 - passed / 2)
        stop = 0.0 if online else tolerance + 1e-3 * passed
        denoised_with = guide(x, x.new_full(x.shape[:1], step.sigma))
        strayed = max(0.0, 1.0 - _RETURN / (1.0 - passed)) * (x - pivot[i]) if online else 0.0
        search = _Search(x, step, denoised_with, pivot[i + 1] + strayed, flow)
        late = online and passed >= _LATE
        fit = search.run(uncond, adam, inner_steps * (2 if late else 1), stop)
        loss = search.distance(fit.x_next, pivot[i + 1])
        slope = loss if uncond.grad is None else uncond.grad
        if not loss.isfinite().all() or not slope.isfinite().all():
            raise ValueError(
                f"Null text met NaN or infinite values at step {i} of {len(steps)}: use a float32 "
                "model, or a lower cfg or learning rate."
            )
        x = fit.x_next
        fits.append(fit._replace(loss=loss))
        with torch.no_grad():
            uncond.copy_(fit.uncond)
        if on_step:
            on_step(i + 1, x, fit.denoised, fit.updates, loss)
    return NullText(
        xs=torch.stack([pivot[0], *(fit.x_next for fit in fits)]),
        uncond=torch.stack([fit.uncond for fit in fits]),
        updates=torch.stack([fit.updates for fit in fits]),
        losses=torch.stack([fit.loss for fit in fits]),
    )


class _Fit(NamedTuple):
    """An embedding, where it leads, and after how many updates; loss and updates are (batch,)."""

    uncond: Tensor
    x_next: Tensor
    denoised: Tensor
    loss: Tensor
    updates: Tensor

    def replaced(self, other: "_Fit", where: Tensor) -> "_Fit":
        """Image by image `other` where asked, else this."""
        return _Fit(
            *(
                torch.where(where.reshape(-1, *[1] * (new.ndim - 1)), new, old)
                for old, new in zip(self, other, strict=True)
            )
        )


class _Search(NamedTuple):
    """One step's search for the embedding that takes x to `target`."""

    x: Tensor
    step: Step
    denoised_with: Callable[[Tensor], Tensor]
    target: Tensor
    flow: bool

    @property
    def units(self) -> float:
        """The papers' latent is x / sqrt(1 + sigma^2) where alpha is 1."""
        return 1.0 if self.flow else 1.0 + self.step.sigma_next**2

    def distance(self, x_next: Tensor, target: Tensor) -> Tensor:
        """Mean square in the papers' units (batch,)."""
        return (x_next - target).square().flatten(1).mean(1) / self.units

    def run(self, uncond: Tensor, adam: torch.optim.Adam, inner_steps: int, stop: float) -> _Fit:
        updates = torch.zeros(len(uncond), dtype=torch.int64, device=uncond.device)
        active = torch.ones_like(updates, dtype=torch.bool)
        best = None
        for j in range(inner_steps + 1):
            fit = self.attempt(uncond, updates)
            kept = _Fit(*(part.detach().clone() for part in fit))
            best = kept if best is None else best.replaced(kept, active & (kept.loss < best.loss))
            active = active & (kept.loss >= stop)
            # The only wait for the device, beside network evaluations.
            if j == inner_steps or not active.any():
                break
            uncond.grad = self.gradient(fit)
            cast(Any, adam).step()  # which declares no types
            updates = updates + active
        assert best is not None
        return best

    def attempt(self, uncond: Tensor, updates: Tensor) -> _Fit:
        denoised = self.denoised_with(uncond)
        x_next = self.step.mean(self.x, denoised)
        return _Fit(uncond, x_next, denoised, self.distance(x_next, self.target), updates)

    def gradient(self, fit: _Fit) -> Tensor:
        """Derivative of the loss by the embedding.

        The network's part is taken with residuals scaled to unit size, as half-precision networks
        lose small gradients.
        """
        residual = (fit.x_next - self.target).detach()
        size = residual.square().flatten(1).mean(1).sqrt().clamp_min(1e-30)
        rows = size.reshape(-1, *[1] * (residual.ndim - 1))
        (slope,) = torch.autograd.grad(fit.x_next, fit.uncond, residual / rows)
        return slope * (2.0 / (residual[0].numel() * self.units) * size).reshape(-1, 1, 1)
