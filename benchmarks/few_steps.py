"""Do less noise on the path and a shorter last map help edits of few steps?

    make bench NAME=few_steps

The colour of one of two things is changed in 4 and 8 steps of even timesteps, of which a quarter is
skipped, inverted at cfg 1: over `noise_shift`, and with `last_map_norm` (Deutch et al. 2024). The
demo model was not distilled to few steps, as the models that both are meant for.
"""

import torch

from .measure import means, options, print_table, write_results
from .task import Task, edit_task

STEPS = (4, 8)
CFGS = (1.0, 2.0)
SETTINGS = {
    **{f"noise_shift {shift}": {"noise_shift": shift} for shift in (0, 50, 100, 200, 300)},
    # TurboEdit's 15.5 for the demo model's smaller latent
    "last_map_norm 2": {"last_map_norm": 2.0},
}


def edit(task: Task, steps: int, settings: dict) -> dict[str, float]:
    """The error of the reconstruction, and scores of edits, the mean over cfgs."""
    maps = task.invert(task.x_0, steps, skip=steps // 4, scheduler="sgm_uniform", **settings)
    error = (task.replay(maps, task.source_prompt) - task.x_0).square().mean().sqrt().item()
    edits = [task.vae.decode(task.replay(maps, task.target_prompt, cfg)) for cfg in CFGS]
    scores = [task.score(images) for images in edits]
    both = {key: torch.cat([score[key] for score in scores]) for key in scores[0]}
    return {"error": error, **means(both)}


@torch.inference_mode()
def main() -> None:
    args = options(__doc__, worlds=64).parse_args()
    task = edit_task("colour", args.worlds, args.seed)
    rows = {
        f"{steps} steps, {name}": edit(task, steps, settings)
        for steps in STEPS
        for name, settings in SETTINGS.items()
    }
    print_table(rows)
    setup = {"worlds": args.worlds, "cfgs": CFGS}
    write_results(args.out, "few_steps", {**setup, "settings": rows})
