"""Null text found fast: one embedding is carried through the schedule, with one update per step.

Two departures from the paper's loop make single updates suffice. Adam keeps its moments from step
to step, with short memory. The last steps, whose errors no later one mends, take twice as many
updates. `benchmarks/fast_null_text.py` is the sweep that the constants come from.

Shapes: as in `null_text`. Gradients must be enabled.
"""

import torch
from torch import Tensor

from .null_text import Aim, Guide, Landing, NullText, OnOptimized, check_finite, collect, search
from .schedule import Schedule


def fast_null_text_inversion(
    guide: Guide,
    pivot: Tensor,
    schedule: Schedule,
    uncond: Tensor,
    inner_steps: int = 1,
    learning_rate: float = 0.05,
    on_step: OnOptimized | None = None,
    *,
    betas: tuple[float, float] = (0.3, 0.99),
    late: float = 0.7,
) -> NullText:
    """The null text after `inner_steps` updates per step, twice as many from the part `late` of the
    schedule on; the best embedding of each step is kept.

    `betas` are Adam's. The learning rate falls by half over the schedule.
    """
    x, landings, updates = pivot[0], list[Landing](), list[Tensor]()
    uncond = uncond.detach().clone().requires_grad_()
    adam = torch.optim.Adam([uncond], betas=betas)
    for i, step in enumerate(schedule.steps):
        passed = i / len(schedule.steps)
        adam.param_groups[0]["lr"] = learning_rate * (1.0 - passed / 2)
        aim = Aim(guide(x, x.new_full(x.shape[:1], step.sigma)), x, step, pivot[i + 1], schedule)
        count = inner_steps * (2 if passed >= late else 1)
        best, made = search(aim, uncond, adam, count, stop=0.0)
        check_finite(i, schedule, best.loss, uncond)
        x = best.hand_on(uncond)
        landings.append(best)
        updates.append(made)
        if on_step:
            on_step(i + 1, x, best.denoised, best.loss)
    return collect(pivot[0], landings, updates)
