"""Null text found fast: one embedding is carried through the schedule, with one update per step.

Three departures from the paper's loop make single updates suffice. Adam keeps its moments from step
to step, with short memory. Where x has strayed from the pivot, a step aims at bringing it back over
the next steps and not at once, which would pull the embedding far off for a small error. The last
steps, whose errors no later one mends, take twice as many updates. `benchmarks/fast_null_text.py`
is the sweep that the constants come from.

Shapes: as in `null_text`. Gradients must be enabled.
"""

import torch
from torch import Tensor

from .null_text import Aim, Guide, Landing, NullText, OnOptimized, check_finite, collect
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
    return_over: float = 0.16,
    late: float = 0.7,
) -> NullText:
    """The null text after `inner_steps` updates per step, twice as many from the part `late` of the
    schedule on; the best embedding of each step is kept.

    `betas` are Adam's; `return_over` is the part of the schedule over which x is brought back to
    the pivot. The learning rate falls by half over the schedule.
    """
    x, landings, updates = pivot[0], list[Landing](), list[Tensor]()
    uncond = uncond.detach().clone().requires_grad_()
    adam = torch.optim.Adam([uncond], betas=betas)
    for i, step in enumerate(schedule.steps):
        passed = i / len(schedule.steps)
        adam.param_groups[0]["lr"] = learning_rate * (1.0 - passed / 2)
        strayed = max(0.0, 1.0 - return_over / (1.0 - passed)) * (x - pivot[i])
        guided = guide(x, x.new_full(x.shape[:1], step.sigma))
        aim = Aim(guided, x, step, pivot[i + 1] + strayed, schedule)
        landing, count = aim.land(uncond), inner_steps * (2 if passed >= late else 1)
        best = landing.kept()
        for _ in range(count):
            landing = aim.improve(landing, adam)
            best = best.replaced(landing.kept(), landing.loss < best.loss)
        best = best._replace(loss=aim.loss(best.x_next, pivot[i + 1]))
        check_finite(i, schedule, best.loss, uncond)
        x = best.hand_on(uncond)
        landings.append(best)
        updates.append(torch.full_like(best.loss, count, dtype=torch.int64))
        if on_step:
            on_step(i + 1, x, best.denoised, best.loss)
    return collect(pivot[0], landings, updates)
