"""What does each fraction of an attention control do to a picture?

    make bench NAME=attention_fractions

One word changed by EF-DDPM inversion: in each row of the sheet one input takes several values while
all others are off, and for each world stand the source and the edits with rising values. The table
says how near the edits are to the ideal ones.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch

from ..inversion.attention import Control
from ..inversion.cross_guidance import CrossGuidance
from ..inversion.injection import MasaCtrl, PlugAndPlay
from .attention_control import edit, prompt_to_prompt
from .measure import options, print_table, write_results, write_sheet
from .task import edit_task

STEPS, SKIP, CFG = 50, 12, 3.0


class Input(NamedTuple):
    """One input of a node: the kind of edit that shows it, the control with a value, values."""

    kind: str
    control: Callable[[float], Control]
    values: tuple[float, ...] = (0.0, 0.3, 0.6, 1.0)


INPUTS = {
    "cross_replace": Input("colour", partial(prompt_to_prompt, self_replace=0.0)),
    "self_replace": Input("colour", partial(prompt_to_prompt, 0.0)),
    "features": Input("colour", partial(PlugAndPlay, self_attention=0.0)),
    "self_attention": Input("colour", partial(PlugAndPlay, 0.0)),
    "first_step": Input("size", partial(MasaCtrl, first_layer=0.3)),
    "first_layer": Input("size", partial(MasaCtrl, 0.1)),
    "amount": Input("colour", CrossGuidance, (0.0, 0.03, 0.1, 0.3)),
}


@torch.inference_mode()
def main() -> None:
    args = options(__doc__, worlds=4).parse_args()
    tasks = {kind: edit_task(kind, args.worlds, args.seed) for kind in ("colour", "size")}
    maps = {kind: task.invert(task.x_0, STEPS) for kind, task in tasks.items()}
    table, rows = {}, []
    for name, (kind, control, values) in INPUTS.items():
        task = tasks[kind]
        images = [edit(task, maps[kind], CFG, SKIP, control(value)) for value in values]
        table[name] = {
            f"{i}: {value:g}": task.score(found)["ideal"].mean().item()
            for i, (value, found) in enumerate(zip(values, images, strict=True))
        }
        rows.append(torch.stack([task.source, *images], 1).flatten(0, 1))
        print_table({name: table[name]})
    write_sheet(args.out, "attention_fractions", rows)
    found = {"worlds": args.worlds, "steps": STEPS, "skip": SKIP, "cfg": CFG, "ideal": table}
    write_results(args.out, "attention_fractions", found)
