"""The noise-space experiments of Huberman-Spiegelglas et al. 2024, on a toy and on the demo model.

    python tools/in_host.py benchmarks.noise_space --worlds 32

(a) Paths, step lengths and angles for 2-D data N((10, 10), I), 40 steps. (b) Variance and
correlation of maps. (c) Generated images, shifted, flipped and edited by another prompt in their
own recorded maps and in edit-friendly maps of the same images. (d) A colour pushed, against SDEdit
of the tinted image, at equal change of colour: how much of the texture survives. (e) Edits by
several seeds. Writes `benchmarks/results/noise_space.json` and two pictures in `out/`.
"""

import argparse
from itertools import pairwise, product

import torch
from comfy import sample
from torch import Tensor

from ..demo.model import load_demo
from ..demo.training.reader import read
from ..inversion import (
    NoiseMaps,
    flip,
    neighbour_angles,
    neighbour_correlation,
    push_colour,
    renoise_path,
    shift,
    variance_per_step,
)
from ..nodes import _host as host
from ..nodes.invert import EFDDPMInvert
from ..nodes.sample import InvertedSampler, RecordDDPM
from .editing import Task, colour_task, score
from .noise_space_plots import draw
from .noise_space_toy import toy
from .report import print_table, write_results, write_sheet

STEPS, SHOWN = 50, 8
EDGE = 3  # pixels from the border, which no object covers
DISTANCES = (1, 2, 4, 8)
FILLS = ("resample", 0), ("resample", 18), ("reflect", 0), ("wrap", 0)  # each with a skip
STRENGTHS = (0.02, 0.04, 0.06, 0.08, 0.1, 0.14)
TINTS, SKIPS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6), (15, 25, 35)
CHANGES = (0.1, 0.15, 0.2)
BLUE = torch.tensor([-0.8, -0.8, 1.0]).view(1, 3, 1, 1)
SEEDS = 5


class Bench:
    """The demo model with one batch of prompts."""

    def __init__(self, task: Task):
        self.model, self.clip, self.vae = load_demo("v")
        self.task = task
        self.source, self.target, self.empty = task.prompts
        self.x_0 = self.vae.encode(task.source)

    def invert(self, x_0: Tensor, seed: int = 0, skip: int = 0) -> NoiseMaps:
        prompts, settings = (self.source, self.empty), (STEPS, 1.0, "ddim_uniform", skip)
        latent = {"samples": x_0}
        return EFDDPMInvert.execute(self.model, *prompts, latent, seed, *settings).result[0]

    def record(self) -> tuple[NoiseMaps, Tensor]:
        latent, settings = {"samples": torch.zeros_like(self.x_0)}, (STEPS, 1.0, "ddim_uniform")
        prompts = self.source, self.empty
        maps, made = RecordDDPM.execute(self.model, *prompts, latent, 0, *settings).result
        return maps, made["samples"]

    def replay(self, maps: NoiseMaps, prompt=None, cfg: float = 1.0, skip: int = 0) -> Tensor:
        prompts = prompt or self.source, self.empty
        return InvertedSampler.execute(self.model, *prompts, maps, cfg, skip).result[0]["samples"]

    def sdedit(self, x: Tensor, skip: int) -> Tensor:
        kept = STEPS - skip
        return sample.sample(
            self.model, sample.prepare_noise(x, 0), kept, 1.0, "euler", "ddim_uniform",
            self.source, self.empty, x, denoise=kept / STEPS, disable_pbar=True, seed=0,
        )  # fmt: skip


def psnr(found: Tensor, expected: Tensor) -> float:
    """Mean over images, of latents in -1..1."""
    square = (found.clamp(-1, 1) - expected).square().mean((1, 2, 3)) / 4
    return (-10 * square.clamp(min=1e-12).log10()).mean().item()


def statistics(maps: NoiseMaps, recorded: NoiseMaps) -> tuple[list[dict], dict]:
    """(b) By the bounds of the papers' closed form at sigma above 1, without the last step."""
    both, rows = {"edit-friendly": maps, "native": recorded}, []
    for name, m in both.items():
        zs = m.zs[:-1]
        variance, correlation = variance_per_step(zs), neighbour_correlation(zs)
        high = torch.tensor([step.sigma_next > 1 for step in m.steps[:-1]])
        ratio = torch.tensor([step.sigma_next / step.sigma for step in m.steps[:-1]]) ** 2
        expected = (1 + ratio) / (1 - ratio) if m is maps else torch.ones(len(zs))
        rows.append(
            {
                "maps": name,
                "least variance": variance.min().item(),
                "largest": variance.max().item(),
                "off expected, %": 100 * (variance / expected - 1)[high].abs().max().item(),
                "least correlation": correlation[high[1:]].min().item(),
                "largest one": correlation[high[1:]].max().item(),
                "mean angle": neighbour_angles(zs).mean().item(),
            }
        )
    return rows, {name: m.zs[:-1] for name, m in both.items()}


def moved(bench: Bench, codes: dict[str, NoiseMaps], image: Tensor) -> tuple[list[dict], dict]:
    """(c) PSNR to the image that is truly shifted, outside of the hole, and truly flipped."""
    rows, shown = [], {name: [] for name in codes}
    for (fill, skip), x in product(FILLS, DISTANCES):
        row = {"edit": f"shift, {fill}", "skip": skip, "pixels": x}
        for name, maps in codes.items():
            found = bench.replay(shift(maps, x, 0, fill, (0.4, 0.0)), skip=skip)
            row[name] = psnr(found[..., x:], image[..., :-x])
            if (fill, skip, x) == ("resample", 0, 4):
                shown[name].append(found)
        rows.append(row)
    row = {"edit": "flip", "skip": 0, "pixels": 0}
    for name, maps in codes.items():
        found = bench.replay(flip(maps, -1))
        row[name] = psnr(found, image.flip(-1))
        shown[name].append(found)
    return [*rows, row], shown


def prompted(bench: Bench, codes: dict[str, NoiseMaps], image: Tensor) -> tuple[list[dict], dict]:
    """(c) Another colour in the prompt of a generated image: what is right, and what stays."""
    rows, shown = [], {}
    before = read(bench.vae.decode(image))
    for name, maps in codes.items():
        found = bench.replay(maps, bench.target, 1.5)
        after = read(bench.vae.decode(found))
        right = {
            "colour right": after.colour == bench.task.colour,
            "shape kept": after.shape == before.shape,
            "ground kept": after.ground == before.ground,
        }
        rates = {key: values.double().mean().item() for key, values in right.items()}
        edge = torch.ones_like(image, dtype=torch.bool)
        edge[..., EDGE:-EDGE, EDGE:-EDGE] = False
        kept = psnr(found[edge].view(len(image), 3, -1, 1), image[edge].view(len(image), 3, -1, 1))
        rows.append({"maps": name, **rates, "dB at the edge": kept, "dB": psnr(found, image)})
        shown[name] = found
    return rows, shown


def texture(found: Tensor, source: Tensor) -> float:
    """Share of what a 5 x 5 blur takes away that is still there, at its place; mean over images."""

    def fine(x: Tensor) -> Tensor:
        grey = x.clamp(-1, 1).mean(1, keepdim=True)
        edged = torch.nn.functional.pad(grey, (2, 2, 2, 2), mode="reflect")
        return (grey - torch.nn.functional.avg_pool2d(edged, 5, 1)).flatten(1)

    before, after = fine(source), fine(found)
    return ((before * after).sum(1) / before.square().sum(1)).mean().item()


def coloured(bench: Bench) -> tuple[list[dict], list[Tensor]]:
    """(d) Change of the mean colour towards blue, and texture, interpolated at equal change."""
    maps, source = bench.invert(bench.x_0, skip=14), bench.x_0
    axis = (BLUE - source.mean((2, 3), keepdim=True)) / 3
    curves, pictures = {}, {}

    def measure(name: str, found: Tensor) -> None:
        gone = ((found.clamp(-1, 1) - source).mean((2, 3), keepdim=True) * axis).sum(1)
        change = (gone / axis.square().sum(1) / 3).mean().item()
        curves.setdefault(name, []).append((change, texture(found, source)))
        pictures.setdefault(name, []).append(found)

    for strength in STRENGTHS:
        pushed = push_colour(maps, BLUE.expand_as(source), strength, range(len(maps.zs)))
        measure("colour push", bench.replay(pushed))
    for skip in SKIPS:
        for tint in TINTS:
            measure(f"SDEdit, skip {skip}", bench.sdedit(source.lerp(BLUE, tint), skip))
    rows = []
    for change in CHANGES:
        row = {"change of colour": change}
        rows.append(row | {name: at_change(curve, change) for name, curve in curves.items()})
    nearest = [
        pictures[name][min(range(len(c)), key=lambda i: abs(c[i][0] - CHANGES[1]))]
        for name, c in curves.items()
    ]
    return rows, nearest


def at_change(curve: list[tuple[float, float]], change: float) -> float | None:
    """Texture at a change of colour, between the two settings around it; None outside of them."""
    for (low, before), (high, after) in pairwise(sorted(curve)):
        if low <= change <= high:
            return before + (after - before) * (change - low) / (high - low)
    return None


def diverse(bench: Bench) -> tuple[list[dict], dict]:
    """(e) The same edit by several inversions, and by variations of one."""
    first = bench.invert(bench.x_0)
    noises = [host.step_noise({}, first.xs[0], STEPS, seed) for seed in range(SEEDS)]
    made = {
        "seeds": [bench.invert(bench.x_0, seed) for seed in range(SEEDS)],
        "variations": [renoise_path(first, 1.0, noise, range(STEPS)) for noise in noises],
    }
    rows, shown = [], {}
    for name, bundles in made.items():
        edits = [bench.replay(maps, bench.target, 1.5, 14) for maps in bundles]
        scores = [score(bench.task, bench.vae.decode(edit)) for edit in edits]
        means = [torch.stack([getattr(s, key) for s in scores]).mean() for key in scores[0]._fields]
        spread = torch.stack(edits).std(0).square().mean().sqrt() / 2
        named = dict(zip(("ideal dB", "background dB", "right"), means, strict=True))
        rows.append(
            {"drawn by": name, "spread": spread.item()} | {k: v.item() for k, v in named.items()}
        )
        shown[name] = edits
    return rows, shown


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    bench = Bench(colour_task(load_demo("v")[1], args.worlds, args.seed))
    paths = toy(host.schedule(bench.model, "ddim_uniform", 40).tolist())
    recorded, image = bench.record()
    friendly = bench.invert(image)
    codes = {"edit-friendly": friendly, "native": recorded}
    spread, zs = statistics(friendly, recorded)
    moves, moved_pictures = moved(bench, codes, image)
    prompts, prompted_pictures = prompted(bench, codes, image)
    colours, coloured_pictures = coloured(bench)
    seeds, drawn = diverse(bench)
    tables = {"maps": spread, "moved": moves, "prompt": prompts, "colour": colours, "seeds": seeds}
    for rows in tables.values():
        print_table(rows)
    write_results("noise_space", {"worlds": args.worlds, **tables})
    draw(paths, zs, moves)
    sheet = [image, *moved_pictures["edit-friendly"], *moved_pictures["native"]]
    sheet += [prompted_pictures[name] for name in codes]
    sheet += [bench.x_0, *coloured_pictures, *drawn["seeds"][:3]]
    write_sheet("noise_space_pictures", [bench.vae.decode(x[:SHOWN]) for x in sheet])
