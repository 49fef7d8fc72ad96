"""Which method edits best? Colour words changed on random worlds, whose ideal edits are known.

    make bench NAME=editing

Edit-friendly and native DDPM inversion, and SDEdit (the stock KSampler with denoise), inverted at
cfg 1, over skip x cfg. Methods are compared at their best settings: those with the highest PSNR to
the ideal edit among those that get most words right. The interval of a difference chooses the
settings anew for each draw of worlds.
"""

from functools import partial
from itertools import product

import numpy as np
import torch
from torch import Tensor

from .measure import interval, means, options, print_table, write_results, write_sheet
from .task import SHOWN, Task, word_task

STEPS = 50
SKIPS = (0, 7, 14, 24, 34)
CFGS = (1.0, 1.5, 2.0, 3.0)
RATE = 0.9  # of right words that a setting must reach
SHOWN_AT = (14, 1.5)  # skip and cfg of the sheet: the demo's
PATHS = {"edit-friendly": "edit_friendly", "native": "native"}


def editors(task: Task) -> dict:
    """By method, the function (skip, cfg) -> latents. Skipping in the sampler or in the inversion
    gives the same edits.
    """
    editors = {
        name: partial(_replay, task, task.invert(task.x_0, STEPS, path=path))
        for name, path in PATHS.items()
    }
    return editors | {"SDEdit": partial(task.sdedit, task.x_0, task.target_prompt, STEPS)}


def _replay(task: Task, maps, skip: int, cfg: float) -> Tensor:
    return task.replay(maps, task.target_prompt, cfg, skip)


def best(rows: dict[str, dict]) -> dict:
    """The row with the highest PSNR among those with enough right words."""
    enough = [row for row in rows.values() if row["right"] >= RATE]
    return max(enough or rows.values(), key=lambda row: row["ideal"])


def difference_of_bests(*values: np.ndarray, axis: int) -> np.ndarray:
    """`values` hold PSNR and then right words of all settings of one method, then of another."""
    averages = np.stack([of_worlds.mean(axis) for of_worlds in values])
    ideal, right = averages.reshape(2, 2, len(values) // 4, *averages.shape[1:]).swapaxes(0, 1)
    enough = (right >= RATE) | (right.max(1, keepdims=True) < RATE)
    one, other = np.where(enough, ideal, -np.inf).max(1)
    return one - other


@torch.inference_mode()
def main() -> None:
    args = options(__doc__, worlds=64).parse_args()
    task = word_task(args.worlds, args.seed)
    settings, values, shown = {}, {}, []
    for name, edit in editors(task).items():
        settings[name], values[name] = {}, []
        for skip, cfg in product(SKIPS, CFGS):
            images = task.vae.decode(edit(skip=skip, cfg=cfg))
            score = task.score(images)
            values[name].append(score)
            settings[name][f"skip {skip}, cfg {cfg:g}"] = {"skip": skip, "cfg": cfg, **means(score)}
            if (skip, cfg) == SHOWN_AT:
                shown.append(images[:SHOWN])
        print(name)
        print_table(settings[name])
    bests = {name: best(rows) for name, rows in settings.items()}
    flat = {
        name: [score[key] for key in ("ideal", "right") for score in scores]
        for name, scores in values.items()
    }
    leads = {
        f"over {name}": interval(difference_of_bests, *flat["edit-friendly"], *flat[name])
        for name in ("native", "SDEdit")
    }
    for table in (bests, leads):
        print_table(table)
    setup = {"worlds": args.worlds, "steps": STEPS, "rate": RATE, "shown at": SHOWN_AT}
    setup["settings per method"] = len(SKIPS) * len(CFGS)
    found = {**setup, "best": bests, "lead": leads, "settings": settings}
    write_results(args.out, "editing", found)
    write_sheet(args.out, "editing", [task.source[:SHOWN], task.ideal[:SHOWN], *shown])
