"""How far does DDIM inversion miss the picture, and how much does the noise it ends at weigh?

    make bench NAME=ddim

Round-trip error without residuals, over the number of steps, for both places of evaluation and for
fixed-point steps; and over the cfg of the inversion, with the standard deviation of x_T in units of
the noise that a sampler would start from.
"""

import torch
from matplotlib.figure import Figure

from .measure import options, picture_path, print_table, write_results
from .task import Task, edit_task

STEPS = (10, 20, 50, 100, 250, 999)
MOST_ELSEWHERE = 250  # steps of all variants but the first
CFGS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.5)
AT_STEPS = 50  # the steps of the cfgs
VARIANTS = {
    "target": {},
    "current": {"evaluate_at": "current"},
    "target, 3 fixed-point steps": {"fixed_point_steps": 3},
}


def round_trip(task: Task, steps: int, cfg: float = 1.0, **variant) -> dict[str, float]:
    """Root mean square error of the latent, and the spread of x_T."""
    maps = task.invert_ddim(steps, cfg, "simple", **variant)
    error = task.replay(maps, task.source_prompt, cfg, residual=0.0) - task.x_0
    spread = maps.xs[0].std() / (1 + maps.schedule.sigmas[0] ** 2) ** 0.5
    return {"error": error.square().mean().sqrt().item(), "std of x_T": spread.item()}


def draw(by_steps: dict[str, dict], by_cfg: dict[str, dict]) -> Figure:
    figure = Figure((11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for variant, rows in by_steps.items():
        errors = [row["error"] for row in rows.values()]
        left.loglog(STEPS[: len(errors)], errors, "o-", label=variant)
    left.set(xlabel="steps", ylabel="error of the round trip (rms)", title="inversion cfg 1")
    for key, style in (("error", "o-"), ("std of x_T", "s-")):
        right.plot(CFGS, [row[key] for row in by_cfg.values()], style, label=key)
    right.axhline(1, color="grey", linewidth=1)
    right.set(xlabel="inversion cfg", title=f"{AT_STEPS} steps, target", ylim=(0, None))
    for axes in (left, right):
        axes.legend(frameon=False)
        axes.grid(color="#e8e8e8")
        axes.spines[["top", "right"]].set_visible(False)
    return figure


@torch.inference_mode()
def main() -> None:
    args = options(__doc__, worlds=4, seed=1).parse_args()
    task = edit_task("colour", args.worlds, args.seed)
    by_steps = {
        name: {
            f"{steps} steps": round_trip(task, steps, **variant)
            for steps in STEPS
            if name == "target" or steps <= MOST_ELSEWHERE
        }
        for name, variant in VARIANTS.items()
    }
    by_cfg = {f"cfg {cfg:g}": round_trip(task, AT_STEPS, cfg) for cfg in CFGS}
    for table in (*by_steps.values(), by_cfg):
        print_table(table)
    draw(by_steps, by_cfg).savefig(picture_path(args.out, "ddim"), dpi=100)
    setup = {"worlds": args.worlds, "steps of the cfgs": AT_STEPS}
    write_results(args.out, "ddim", {**setup, "steps": by_steps, "cfg": by_cfg})
