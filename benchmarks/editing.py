"""Which method edits best? Captions of random worlds changed, whose ideal edits are known.

    make bench NAME=editing

The colour of one thing by edit-friendly and native DDPM inversion and by SDEdit (the stock KSampler
with denoise), inverted at cfg 1, over skip x cfg; then the other kinds of edits, edit-friendly
alone. Methods are compared at their best settings: those with the highest PSNR to the ideal edit
among those that get most words right. The interval of a difference chooses the settings anew for
each draw of worlds.
"""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import product

import numpy as np
import torch
from torch import Tensor

from ..demo.tasks import KINDS
from .measure import interval, means, options, print_table, write_results, write_sheet
from .task import SHOWN, Task, edit_task

STEPS = 50
SKIPS = (0, 7, 14, 18, 24, 34)
CFGS = (1.0, 2.0, 3.0, 4.0, 6.0)
KIND_SKIPS, KIND_CFGS = (7, 18, 24), (2.0, 4.0)  # of the kinds other than colour
RATE = 0.9  # of right words that a setting must reach
SHOWN_AT = (18, 4.0)  # skip and cfg of the sheet
SHOWN_EACH = 3  # worlds of each kind on a sheet
PATHS = {"edit-friendly": "edit_friendly", "native": "native"}

Scores = dict[tuple[int, float], dict[str, Tensor]]


def editors(task: Task) -> dict:
    """By method, the function (skip, cfg) -> latents. Skipping in the sampler or in the inversion
    gives the same edits.
    """
    editors = {name: edit_ddpm(task, path) for name, path in PATHS.items()}
    return editors | {"SDEdit": partial(task.sdedit, task.x_0, task.target_prompt, STEPS)}


def edit_ddpm(task: Task, path: str) -> Callable[..., Tensor]:
    maps = task.invert(task.x_0, STEPS, path=path)
    return lambda skip, cfg: task.replay(maps, task.target_prompt, cfg, skip)


def over_settings(
    task: Task, edit: Callable[..., Tensor], settings: Iterable[tuple[int, float]]
) -> tuple[Scores, dict[tuple[int, float], Tensor]]:
    """Scores and pictures by skip and cfg."""
    images = {(skip, cfg): task.vae.decode(edit(skip=skip, cfg=cfg)) for skip, cfg in settings}
    return {setting: task.score(found) for setting, found in images.items()}, images


def best(scores: Scores) -> dict:
    """The setting with the highest PSNR among those with enough right words, and its means."""
    return nearest(
        [{"skip": skip, "cfg": cfg, **means(score)} for (skip, cfg), score in scores.items()]
    )


def nearest(rows: list[dict]) -> dict:
    """The row with the highest PSNR among those with enough right words, if there are any."""
    enough = [row for row in rows if row["right"] >= RATE]
    return max(enough or rows, key=lambda row: row["ideal"])


def difference_of_bests(*values: np.ndarray, axis: int) -> np.ndarray:
    """`values` hold PSNR and then right words of all settings of one method, then of another."""
    averages = np.stack([of_worlds.mean(axis) for of_worlds in values])
    ideal, right = averages.reshape(2, 2, len(values) // 4, *averages.shape[1:]).swapaxes(0, 1)
    enough = (right >= RATE) | (right.max(1, keepdims=True) < RATE)
    one, other = np.where(enough, ideal, -np.inf).max(1)
    return one - other


def colours(task: Task, found: dict) -> list[Tensor]:
    """Adds all methods' scores to what was found; rows of pictures."""
    values, rows, found["settings"] = {}, [task.source, task.ideal], {}
    for name, edit in editors(task).items():
        scores, images = over_settings(task, edit, product(SKIPS, CFGS))
        values[name] = [score[key] for score in scores.values() for key in ("ideal", "right")]
        found["best"][name] = best(scores)
        found["settings"][name] = {
            f"skip {skip}, cfg {cfg:g}": {"skip": skip, "cfg": cfg, **means(score)}
            for (skip, cfg), score in scores.items()
        }
        rows.append(images[SHOWN_AT])
        print(name)
        print_table(found["settings"][name])
    for name in ("native", "SDEdit"):
        lead = interval(difference_of_bests, *values["edit-friendly"], *values[name])
        found["lead"][f"over {name}"] = lead
    return [row[:SHOWN] for row in rows]


def other_kinds(worlds: int, seed: int, found: dict) -> list[Tensor]:
    """Adds the best edits of each kind; rows of pictures: source, ideal edit, edit."""
    shown = []
    for kind in (kind for kind in KINDS if kind != "colour"):
        task = edit_task(kind, worlds, seed)
        settings = product(KIND_SKIPS, KIND_CFGS)
        scores, images = over_settings(task, edit_ddpm(task, "edit_friendly"), settings)
        found["kinds"][kind] = row = best(scores)
        edited = images[row["skip"], row["cfg"]]
        shown.append(torch.stack([task.source, task.ideal, edited])[:, :SHOWN_EACH])
    return [*torch.cat(shown[::2], 1), *torch.cat(shown[1::2], 1)]


@torch.inference_mode()
def main() -> None:
    args = options(__doc__, worlds=64).parse_args()
    found: dict = {"worlds": args.worlds, "steps": STEPS, "rate": RATE, "shown at": SHOWN_AT}
    found["settings per method"] = len(SKIPS) * len(CFGS)
    found |= {"best": {}, "lead": {}, "kinds": {}}
    rows = colours(edit_task("colour", args.worlds, args.seed), found)
    write_sheet(args.out, "editing", rows)
    rows = other_kinds(args.worlds, args.seed, found)
    write_sheet(args.out, "editing_kinds", rows)
    for table in ("best", "lead", "kinds"):
        print_table(found[table])
    write_results(args.out, "editing", found)
