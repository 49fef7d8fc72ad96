"""What does attention control add? One word changed, with and without it, ideal edits known.

    make bench NAME=attention_control

The colour of one of two things by EF-DDPM inversion and by null text; each control with the
settings that gave the nearest edits on other worlds, among those that got most words right. And how
well Attention Map finds a thing.
"""

from collections.abc import Callable, Iterable
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from ..demo.model import load_demo
from ..demo.text import TOKENS
from ..demo.world import COLOURS, SHAPES, captions, render
from ..inversion.attention import Control
from ..inversion.cross_guidance import CrossGuidance
from ..inversion.fast_null_text import fast_null_text_inversion
from ..inversion.injection import PlugAndPlay
from ..inversion.noise_maps import NoiseMaps
from ..inversion.prompt_to_prompt import PromptToPrompt
from ..nodes._host.steering import AttentionControl
from ..nodes.attention_map import find_words
from ..nodes.null_text import fit_null_text
from .editing import nearest
from .measure import (
    interval,
    mean_difference,
    means,
    options,
    print_table,
    write_results,
    write_sheet,
)
from .task import SHOWN, Task, edit_task

STEPS, SKIP = 50, 18
CFGS, NULL_CFG = (2.0, 4.0), 7.5
TUNING = 24  # worlds, other ones than those reported
MAPS, MAP_STEPS = 128, 20  # worlds and steps of Attention Map
DEFAULT = 9  # the node's threshold, of those from 0.05 to 0.95


def prompt_to_prompt(cross_replace: float, self_replace: float) -> PromptToPrompt:
    """For all captions of a batch: where as many words answer to each other, so do their places."""
    spans = ((0.0, cross_replace),) * TOKENS
    ones = torch.ones(TOKENS)
    return PromptToPrompt(torch.eye(TOKENS), ones, ones, spans, self_replace, 16)


# The settings of each control between which the tuning worlds choose.
SETTINGS = {
    "Prompt-to-Prompt": (prompt_to_prompt, tuple(product((0.6, 0.8, 1.0), (0.2, 0.6)))),
    "Plug-and-Play": (PlugAndPlay, ((0.8, 0.5), (0.5, 0.5), (0.8, 0.8))),
    "pix2pix-zero": (CrossGuidance, ((0.1,),)),
}


def edit(task: Task, maps: NoiseMaps, cfg: float, skip: int, rules: Control | None) -> Tensor:
    """Pictures by Inverted Sampler under the target prompt."""
    control = None if rules is None else AttentionControl(rules, task.source_prompt)
    latent = task.replay(maps, task.target_prompt, cfg, skip, attention_control=control)
    return task.vae.decode(latent)


def ef_ddpm(task: Task) -> NoiseMaps:
    return task.invert(task.x_0, STEPS)


def null_text(task: Task) -> NoiseMaps:
    run = task.model, task.source_prompt, task.empty, task.invert_ddim(STEPS), NULL_CFG
    maps, _ = fit_null_text(*run, fast_null_text_inversion)
    return maps.replace(cfg=NULL_CFG)


def best(task: Task, maps: NoiseMaps, cfg: float, skip: int, make, settings: Iterable) -> tuple:
    """The setting with the nearest edits among those with enough right words."""
    rows = [
        {"setting": values, **means(task.score(edit(task, maps, cfg, skip, make(*values))))}
        for values in settings
    ]
    return nearest(rows)["setting"]


class Case(NamedTuple):
    """One way to invert, at which cfgs it is edited, and the controls to try on it."""

    name: str
    invert: Callable[[Task], NoiseMaps]
    skip: int
    cfgs: tuple[float, ...]
    controls: dict


def compare(case: Case, task: Task, tuning: Task, found: dict) -> list[Tensor]:
    """Adds rows without and with each control, and what each adds; pictures at the last cfg."""
    maps, tuning_maps, images = case.invert(task), case.invert(tuning), []
    for cfg in case.cfgs:
        images = [edit(task, maps, cfg, case.skip, None)]
        plain = task.score(images[0])
        found["rows"][f"{case.name}, cfg {cfg:g}"] = {"setting": "", **means(plain)}
        for name, (make, settings) in case.controls.items():
            setting = best(tuning, tuning_maps, cfg, case.skip, make, settings)
            images.append(edit(task, maps, cfg, case.skip, make(*setting)))
            score, row = task.score(images[-1]), f"{case.name} + {name}, cfg {cfg:g}"
            found["rows"][row] = {"setting": " / ".join(map(str, setting)), **means(score)}
            found["adds"][row] = {
                key: interval(mean_difference, score[key], plain[key]) for key in ("ideal", "kept")
            }
            print_table({row: found["rows"][row]})
    return [task.source, task.ideal, *images]


def find_things(worlds: int, seed: int) -> tuple[dict[str, float], list[Tensor]]:
    """Intersection over union of the map of one thing's two words with where it is; rows of
    pictures, maps and masks at the default threshold.
    """
    task, (_, clip, _) = edit_task("colour", worlds, seed), load_demo("v")
    drawn = task.edits.source
    pictures, masks = render(drawn)
    thresholds = torch.linspace(0.05, 0.95, 19)
    overlaps, shown = [], []
    for picture, thing, caption in zip(pictures, masks[:, 0] > 0.5, captions(drawn), strict=True):
        words = [word for word in caption.split() if word in (*COLOURS, *SHAPES)]
        prompt = clip.encode_from_tokens_scheduled(clip.tokenize(caption))
        maps = task._replace(source_prompt=prompt).invert(task.vae.encode(picture[None]), MAP_STEPS)
        pair = " ".join(words[:2])
        seen, _ = find_words(task.model, clip, caption, maps, pair, threshold=0.0)
        found = seen[0] > thresholds.view(-1, 1, 1)
        overlaps.append((found & thing).sum((1, 2)) / (found | thing).sum((1, 2)))
        maps = torch.stack([seen[0], found[DEFAULT].float()])[..., None].expand(-1, -1, -1, 3)
        shown.append(torch.cat([picture[None], maps]))
    averages = torch.stack(overlaps).mean(0)
    at = averages.argmax()
    found = {
        "worlds": worlds,
        "best threshold": thresholds[at].item(),
        "best": averages[at].item(),
        "default": averages[DEFAULT].item(),
    }
    return found, list(torch.stack(shown[:SHOWN], 1))


def cases() -> list[Case]:
    only_p2p = {"Prompt-to-Prompt": SETTINGS["Prompt-to-Prompt"]}
    return [
        Case("EF-DDPM", ef_ddpm, SKIP, CFGS, SETTINGS),
        Case("null text", null_text, 0, (NULL_CFG,), only_p2p),
    ]


@torch.inference_mode()
def main() -> None:
    args = options(__doc__, worlds=64).parse_args()
    found: dict = {"worlds": args.worlds, "tuning": TUNING, "steps": STEPS, "skip": SKIP}
    found |= {"rows": {}, "adds": {}}
    found["map"], rows = find_things(min(MAPS, 2 * args.worlds), args.seed)
    write_sheet(args.out, "attention_map", rows)
    task = edit_task("colour", args.worlds, args.seed)
    tuning = edit_task("colour", TUNING, args.seed + 1)
    for case in cases():
        rows = compare(case, task, tuning, found)
        name = f"attention_control_{case.name.replace(' ', '_')}"
        write_sheet(args.out, name, [row[:SHOWN] for row in rows])
        write_results(args.out, "attention_control", found)
    print_table(found["rows"])
    print_table(found["adds"])
    print_table({"Attention Map": found["map"]})
