"""What does null text buy? Edits of random worlds at high guidance.

    make bench NAME=null_text

For plain DDIM, the paper's null text, its start from the source prompt, negative-prompt inversion
(NPI) and the node's `fast`: PSNR of the reconstruction without residuals, the scores of the edit
with the sampler's defaults, and network evaluations per picture (a backward pass counts 2).
"""

import torch
from torch import Tensor

from ..demo.tasks import KINDS
from ..inversion.noise_maps import NoiseMaps
from ..nodes.null_text import NullTextOptimize
from .measure import (
    interval,
    mean_difference,
    means,
    options,
    print_table,
    psnr,
    write_results,
    write_sheet,
)
from .task import SHOWN, Task, edit_task, outputs

STEPS = 50
CFGS = (3.0, 7.5)
PAPER = {
    "method": "null_text",
    "inner_steps": 10,
    "learning_rate": 0.01,
    "tolerance": 1e-5,
    "start_from": "negative",
}
METHODS = {
    "DDIM at cfg 1": None,
    "DDIM": None,
    "null_text": PAPER,
    "null_text from positive": {**PAPER, "start_from": "positive"},
    "negative_prompt": {"method": "negative_prompt"},
    "fast": {"method": "fast", "inner_steps": 1, "learning_rate": 0.05},
}


def reconstruct_and_edit(
    task: Task, maps: NoiseMaps, cfg: float
) -> tuple[dict[str, Tensor], Tensor]:
    """Scores per world, and the edited pictures."""
    reconstruction = task.vae.decode(task.replay(maps, task.source_prompt, cfg, residual=0.0))
    images = task.vae.decode(task.replay(maps, task.target_prompt, cfg))
    return {"reconstruction": psnr(reconstruction, task.source), **task.score(images)}, images


def evaluations(maps: NoiseMaps) -> int:
    """Network evaluations per picture that the optimisation took: two predictions a step; an update
    is a backward pass and another prediction.
    """
    updates = maps.info.get("updates")
    return 0 if updates is None else round(2 * len(maps.zs) + 3 * float(updates))


def compare(task: Task, cfg: float) -> tuple[dict[str, dict], dict[str, dict], list[Tensor]]:
    """A row per method, the lead of `fast` over each other, and the edited pictures."""
    pivot = task.invert_ddim(STEPS)
    rows, values, pictures = {}, {}, []
    for name, method in METHODS.items():
        maps = pivot
        if method:
            prompts = task.prompts(task.source_prompt, cfg)
            maps, *_ = outputs(NullTextOptimize, **prompts, noise_maps=pivot, method=method)
        at_cfg = 1.0 if name == "DDIM at cfg 1" else cfg
        values[name], images = reconstruct_and_edit(task, maps, at_cfg)
        rows[name] = {**means(values[name]), "evaluations": evaluations(maps)}
        pictures.append(images[:SHOWN])
    leads = {
        f"over {name}": {
            key: interval(mean_difference, values["fast"][key], values[name][key])
            for key in ("reconstruction", "ideal")
        }
        for name in METHODS
        if name != "fast"
    }
    return rows, leads, pictures


@torch.inference_mode()
def main() -> None:
    parser = options(__doc__, worlds=32, seed=1)
    parser.add_argument("--kind", choices=KINDS, default="colour", help="what is edited")
    args = parser.parse_args()
    task = edit_task(args.kind, args.worlds, args.seed)
    found: dict = {"worlds": args.worlds, "steps": STEPS, "kind": args.kind}
    for cfg in CFGS:
        rows, leads, pictures = compare(task, cfg)
        print(f"cfg {cfg:g}")
        for table in (rows, leads):
            print_table(table)
        found[f"cfg {cfg:g}"] = {"methods": rows, "lead": leads}
        write_results(args.out, "null_text", found)
        if cfg == CFGS[0]:
            sheet = [task.source[:SHOWN], task.ideal[:SHOWN], *pictures]
            write_sheet(args.out, "null_text", sheet)
