"""Where the constants of `inversion/fast_null_text.py` come from.

    make bench NAME=fast_null_text

On tuning worlds each constant is varied alone: the change of reconstruction
(without residuals) and of the distance to the ideal edit, in dB, and evaluations. On other worlds
the constants as they are stand against the paper's loop.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ..inversion.fast_null_text import fast_null_text_inversion
from ..inversion.noise_maps import NoiseMaps
from ..inversion.null_text import NullText, null_text_inversion
from ..nodes.null_text import fit_null_text
from .measure import interval, mean_difference, means, options, print_table, write_results
from .null_text import STEPS, evaluations, reconstruct_and_edit
from .task import Task, edit_task

CFGS = (3.0,)
KEYS = ("reconstruction", "ideal")
SWEEP = {
    "betas": [(0.0, 0.99), (0.6, 0.99), (0.9, 0.99), (0.3, 0.9), (0.3, 0.999)],
    "late": [0.5, 0.85, 1.0],
    "learning_rate": [0.025, 0.1],
    "inner_steps": [2],
}

Found = tuple[dict[str, Tensor], int]


def fit(task: Task, pivot: NoiseMaps, cfg: float, inversion: Callable[..., NullText]) -> Found:
    """Scores per world, and evaluations per picture."""
    run = task.model, task.source_prompt, task.empty, pivot, cfg
    maps, _ = fit_null_text(*run, inversion)
    maps = maps.replace(cfg=cfg)
    return reconstruct_and_edit(task, maps, cfg)[0], evaluations(maps)


def row(found: Found, base: Found | None = None) -> dict:
    """Means, and changes against `base` with their intervals."""
    values, count = found
    averages = means({key: values[key] for key in KEYS})
    changes = base and {
        f"change of {key}": interval(mean_difference, values[key], base[0][key]) for key in KEYS
    }
    return {"evaluations": count, **averages, **(changes or {})}


def sweep(task: Task, cfg: float) -> tuple[dict, dict[str, dict]]:
    """A row of the constants as they are, and one per other setting."""
    pivot = task.invert_ddim(STEPS)
    base = fit(task, pivot, cfg, fast_null_text_inversion)
    rows = {}
    for name, choices in SWEEP.items():
        for value in choices:
            inversion = partial(fast_null_text_inversion, **{name: value})
            rows[f"{name} {value}"] = row(fit(task, pivot, cfg, inversion), base)
    return row(base), rows


@torch.inference_mode()
def main() -> None:
    args = options(__doc__, worlds=8, seed=100).parse_args()
    tuning = edit_task("colour", args.worlds, args.seed)
    reporting = edit_task("colour", args.worlds, args.seed + 1)
    pivot = reporting.invert_ddim(STEPS)
    found: dict = {"worlds": args.worlds, "steps": STEPS}
    for cfg in CFGS:
        base, swept = sweep(tuning, cfg)
        paper = fit(reporting, pivot, cfg, null_text_inversion)
        fast = fit(reporting, pivot, cfg, fast_null_text_inversion)
        reported = {"null_text": row(paper), "fast": row(fast, paper)}
        print(f"cfg {cfg:g}")
        for table in ({"as it is": base, **swept}, reported):
            print_table(table)
        found[f"cfg {cfg:g}"] = {"as it is": base, "sweep": swept, "reported": reported}
        write_results(args.out, "fast_null_text", found)
