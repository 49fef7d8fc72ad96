"""The noise-space experiments of Huberman-Spiegelglas et al. 2024, on 2-D data and the demo model.

    make bench NAME=noise_space

Statistics of noise maps, edit-friendly and native (recorded while sampling). Sampled pictures that
are shifted, mirrored and edited by another prompt in both. A colour that is pushed, against SDEdit
of the tinted picture at equal change of colour: how much of the texture survives. Edits by several
seeds.
"""

from collections.abc import Callable
from itertools import pairwise, product

import torch
from torch import Tensor

from ..demo.training.reader import read, read_for
from ..demo.world import SIZE
from ..inversion.edits import flip, push_colour, renoise_path, shift
from ..inversion.noise_maps import NoiseMaps
from ..nodes.inputs import seeded_noise
from .measure import means, options, picture_path, print_table, psnr, write_results, write_sheet
from .noise_space_maps import edit_friendly, native, record, statistics, toy
from .noise_space_plots import draw
from .task import Task, edit_task

STEPS, STATISTICS_STEPS, SHOWN = 50, 100, 8
CFG, SKIP = 4.0, 18  # of edits by prompt
NEAR = 0.5  # what lies nearer to the edited thing may change, in half widths
DISTANCES, SHOWN_DISTANCE = (1, 2, 4, 8), 4
FILLS = ("resample", 0), ("resample", 18), ("reflect", 0), ("wrap", 0)  # each with a skip
STRENGTHS = (0.02, 0.04, 0.06, 0.08, 0.1, 0.14)
TINTS, SDEDIT_SKIPS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6), (15, 25, 35)
CHANGES, SHOWN_CHANGE = (10, 15, 20), 15  # in percent
BLUE = torch.tensor([-0.8, -0.8, 1.0]).view(1, 3, 1, 1)
SEEDS = 5

Codes = dict[str, NoiseMaps]


def moved(task: Task, codes: Codes, image: Tensor) -> tuple[dict, dict, dict[str, list[Tensor]]]:
    """PSNR to the picture that is truly shifted, outside of the strip that comes in, and to the
    truly mirrored one; and pictures of both.
    """
    shifts, flips, shown = {}, {}, {}
    for name, maps in codes.items():
        for (fill, skip), x in product(FILLS, DISTANCES):
            edited = shift(maps, x, 0, fill, (0.4, 0.0))
            found = task.vae.decode(task.replay(edited, task.source_prompt, skip=skip))
            rows = shifts.setdefault(f"{fill}, skip {skip}", {})
            score = psnr(found[:, :, x:], image[:, :, :-x]).mean().item()
            rows.setdefault(f"{x} pixels", {})[name] = score
            if (fill, skip, x) == (*FILLS[0], SHOWN_DISTANCE):
                shown[name] = [found]
        found = task.vae.decode(task.replay(flip(maps, -1), task.source_prompt))
        flips[name] = psnr(found, image.flip(2)).mean().item()
        shown[name].append(found)
    return shifts, flips, shown


def prompted(task: Task, codes: Codes, image: Tensor) -> tuple[dict, dict[str, Tensor]]:
    """Another colour of one thing in the prompt of a sampled picture: what is right, what stays."""
    rows, shown, places = {}, {}, read_for(task.edits.source, image).centres
    axis = (torch.arange(SIZE) + 0.5) * 2 / SIZE - 1
    middle = places[task.edits.edited][:, :, None, None]  # of the edited thing, (worlds, 2, 1, 1)
    outside = torch.hypot(axis - middle[:, 0], axis[:, None] - middle[:, 1]) > NEAR
    for name, maps in codes.items():
        shown[name] = task.vae.decode(task.replay(maps, task.target_prompt, CFG))
        words = task.words(read(shown[name], places))
        rows[name] = means({**words, "outside": psnr(shown[name], image, outside)})
    return rows, shown


def texture(found: Tensor, source: Tensor) -> float:
    """Share of what a 5 x 5 blur takes away that is still there, at its place; mean over images."""

    def fine(x: Tensor) -> Tensor:
        grey = x.clamp(-1, 1).mean(1, keepdim=True)
        edged = torch.nn.functional.pad(grey, (2, 2, 2, 2), mode="reflect")
        return (grey - torch.nn.functional.avg_pool2d(edged, 5, 1)).flatten(1)

    before, after = fine(source), fine(found)
    return ((before * after).sum(1) / before.square().sum(1)).mean().item()


def change_of_colour(found: Tensor, source: Tensor) -> float:
    """How far the mean colour has gone towards blue, in percent; mean over images."""
    way = BLUE - source.mean((2, 3), keepdim=True)
    gone = (found.clamp(-1, 1) - source).mean((2, 3), keepdim=True)
    return 100 * ((gone * way).sum(1) / way.square().sum(1)).mean().item()


def coloured(task: Task) -> tuple[dict[str, dict], list[Tensor]]:
    """Texture at equal change of colour, and each method's picture nearest to one change."""
    source = task.x_0
    maps = task.invert(source, STEPS, skip=SKIP)

    def pushed(strength: float) -> Tensor:
        edited = push_colour(maps, BLUE.expand_as(source), strength, range(len(maps.zs)))
        return task.replay(edited, task.source_prompt)

    def tinted(skip: int) -> Callable[[float], Tensor]:
        tint = source.lerp
        return lambda part: task.sdedit(tint(BLUE, part), task.source_prompt, STEPS, skip)

    methods = {"colour push": (pushed, STRENGTHS)}
    methods |= {f"SDEdit, skip {skip}": (tinted(skip), TINTS) for skip in SDEDIT_SKIPS}
    rows, shown = {f"{change} %": {} for change in CHANGES}, []
    for name, (edit, amounts) in methods.items():
        found = [edit(amount) for amount in amounts]
        curve = [(change_of_colour(x, source), texture(x, source)) for x in found]
        for change in CHANGES:
            rows[f"{change} %"][name] = at_change(curve, change)
        nearest = min(range(len(curve)), key=lambda i: abs(curve[i][0] - SHOWN_CHANGE))
        shown.append(task.vae.decode(found[nearest]))
    return rows, shown


def at_change(curve: list[tuple[float, float]], change: float) -> float | None:
    """Texture at a change of colour, between the two settings around it; None outside of them."""
    for (low, before), (high, after) in pairwise(sorted(curve)):
        if low <= change <= high:
            return before + (after - before) * (change - low) / (high - low)
    return None


def diverse(task: Task) -> tuple[dict[str, dict], list[Tensor]]:
    """The same edit by several inversions and by variations of one; their standard deviation over
    the draws, and the pictures of the former.
    """
    first = task.invert(task.x_0, STEPS)
    noises = [seeded_noise({}, first.xs[0], STEPS, seed) for seed in range(SEEDS)]
    drawn = {
        "seeds": [task.invert(task.x_0, STEPS, seed=seed) for seed in range(SEEDS)],
        "variations": [renoise_path(first, 1.0, noise, range(STEPS)) for noise in noises],
    }
    rows, shown = {}, {}
    for name, bundles in drawn.items():
        edits = [task.vae.decode(task.replay(m, task.target_prompt, CFG, SKIP)) for m in bundles]
        scores = [task.score(images) for images in edits]
        score = {key: torch.stack([of_draw[key] for of_draw in scores]) for key in scores[0]}
        spread = torch.stack(edits).std(0).square().mean().sqrt().item()
        rows[name], shown[name] = {"spread": spread, **means(score)}, edits
    return rows, shown["seeds"]


@torch.inference_mode()
def main() -> None:
    args = options(__doc__, worlds=24).parse_args()
    task = edit_task("colour", args.worlds, args.seed)
    points = toy(task.model)
    long, x_0 = record(task, STATISTICS_STEPS)
    zs = {
        "edit-friendly": edit_friendly(task.invert(x_0, STATISTICS_STEPS).zs, long.schedule),
        "native": native(long.zs, long.schedule),
    }
    recorded, x_0 = record(task, STEPS)
    codes = {"edit-friendly": task.invert(x_0, STEPS), "native": recorded}
    image = task.vae.decode(x_0)
    shifts, flips, moved_pictures = moved(task, codes, image)
    prompts, prompted_pictures = prompted(task, codes, image)
    colours, coloured_pictures = coloured(task)
    draws, drawn = diverse(task)
    lengths = {name: {"mean step": path.lengths.mean().item()} for name, path in points.items()}
    tables = {
        "toy": {name: lengths[name] | statistics(path.maps) for name, path in points.items()},
        "maps": {name: statistics(maps) for name, maps in zs.items()},
        "flip": {"dB": flips}, "prompt": prompts, "colour": colours, "draws": draws,
    }  # fmt: skip
    for table in (*tables.values(), *shifts.values()):
        print_table(table)
    setup = {"worlds": args.worlds, "steps": STEPS, "statistics steps": STATISTICS_STEPS}
    setup |= {"cfg": CFG, "skip": SKIP}
    write_results(args.out, "noise_space", {**setup, **tables, "shift": shifts})
    draw(picture_path(args.out, "noise_space"), points, zs, shifts)
    sheet = [image, *moved_pictures["edit-friendly"], *moved_pictures["native"]]
    sheet += [*prompted_pictures.values(), task.source, *coloured_pictures, *drawn[:3]]
    write_sheet(args.out, "noise_space_pictures", [images[:SHOWN] for images in sheet])
