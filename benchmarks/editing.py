"""Which method edits best? Colour words changed on random worlds, whose ideal edits are known.

    python tools/in_host.py benchmarks.editing --worlds 64

Edit-friendly and native DDPM inversion and SDEdit (the stock KSampler with denoise) over skip x
cfg: PSNR to the ideal edit, PSNR of the background, rate of right colour. The methods are compared
at equal rates: the best PSNR to the ideal edit among the settings that reach a rate, with a paired
bootstrap over worlds. Writes `benchmarks/results/editing.json` and a sheet of pictures in `out/`.
"""

import argparse
from itertools import product
from typing import NamedTuple

import torch
from comfy import sample
from torch import Tensor

from ..demo.model import encode_captions, load_demo
from ..demo.training.reader import read
from ..demo.world import COLOURS, SHAPES, captions, draw_worlds, render
from ..nodes.invert import EFDDPMInvert
from ..nodes.sample import InvertedSampler
from .report import print_table, write_results, write_sheet

STEPS = 50
SKIPS = (6, 12, 18, 24)
CFGS = (1.0, 1.5, 2.0, 3.0, 5.0)
RATES = (0.5, 0.7, 0.9)
RESAMPLES = 2000
SHOWN = (18, 1.5)  # skip and cfg of the sheet, which are also the demo's
METHODS = ("edit-friendly", "native", "SDEdit")


class Task(NamedTuple):
    """Images (worlds, 32, 32, 3) with their prompts, and what a perfect editor would return."""

    source: Tensor
    ideal: Tensor
    outside: Tensor
    attribute: str
    wanted: Tensor
    prompts: tuple[list, list, list]


class Score(NamedTuple):
    """One value per world."""

    ideal: Tensor
    background: Tensor
    right: Tensor


def word_task(clip, count: int, seed: int, attribute: str) -> Task:
    """Random worlds in whose captions the word for `attribute`, colour or shape, changes."""
    generator = torch.Generator().manual_seed(seed)
    worlds = draw_worlds(count, generator)
    words = len({"colour": COLOURS, "shape": SHAPES}[attribute])
    other = torch.randint(1, words, (count,), generator=generator)
    wanted = (getattr(worlds, attribute) + other) % words
    changed = worlds._replace(**{attribute: wanted})
    (source, mask), (ideal, mask_after) = render(worlds), render(changed)
    texts = captions(worlds), captions(changed), [""]
    prompts = tuple(encode_captions(clip, rows) for rows in texts)
    return Task(source, ideal, (mask == 0) & (mask_after == 0), attribute, wanted, prompts)


def edit(method: str, model, vae, task: Task, maps: dict, skip: int, cfg: float) -> Tensor:
    """The edited images of one setting."""
    _, target, empty = task.prompts
    latent = vae.encode(task.source)
    if method == "SDEdit":
        noise = sample.prepare_noise(latent, 0)
        kept = STEPS - skip
        x_0 = sample.sample(
            model, noise, kept, cfg, "euler", "ddim_uniform", target, empty, latent,
            denoise=kept / STEPS, disable_pbar=True, seed=0,
        )  # fmt: skip
    else:
        replayed = InvertedSampler.execute(model, target, empty, maps[method], cfg, skip)
        x_0 = replayed.result[0]["samples"]
    return vae.decode(x_0)


def invert(model, vae, task: Task) -> dict:
    """Noise maps by method; skipping happens in the sampler, which gives the same edits as skipping
    here.
    """
    source, _, empty = task.prompts
    latent = {"samples": vae.encode(task.source)}
    return {
        method: EFDDPMInvert.execute(
            model, source, empty, latent, 0, STEPS, 1.0, "ddim_uniform", 0, path=path
        ).result[0]
        for method, path in (("edit-friendly", "edit_friendly"), ("native", "native"))
    }  # fmt: skip


def score(task: Task, images: Tensor) -> Score:
    def psnr(reference: Tensor, mask: Tensor) -> Tensor:
        square = (images - reference).square().mean(-1) * mask
        return -10 * (square.sum((1, 2)) / mask.sum((1, 2))).clamp(min=1e-12).log10()

    everywhere = torch.ones_like(task.outside)
    right = (getattr(read(images), task.attribute) == task.wanted).double()
    return Score(psnr(task.ideal, everywhere), psnr(task.source, task.outside), right)


def best_at_rate(scores: list[Score], rate: float, worlds: Tensor) -> Tensor:
    """The best mean PSNR to the ideal edit among settings whose rate on these worlds reaches
    `rate`; NaN if none.
    """
    means = [s.ideal[worlds].mean() for s in scores if s.right[worlds].mean() >= rate]
    return torch.stack(means).max() if means else torch.tensor(float("nan"))


def compare(scores: dict[str, list[Score]], count: int) -> list[dict]:
    """Edit-friendly against the others: difference in dB with its 95 % interval over resampled
    worlds.
    """
    generator = torch.Generator().manual_seed(0)
    draws = torch.randint(count, (RESAMPLES, count), generator=generator)
    rows = []
    for rate in RATES:
        best = {m: best_at_rate(scores[m], rate, torch.arange(count)) for m in METHODS}
        again = {
            m: torch.stack([best_at_rate(scores[m], rate, draw) for draw in draws]) for m in METHODS
        }
        for other in METHODS[1:]:
            difference = again[METHODS[0]] - again[other]
            low, high = difference.nanquantile(torch.tensor([0.025, 0.975])).tolist()
            rows.append(
                {
                    "rate": rate,
                    "against": other,
                    "edit-friendly dB": best[METHODS[0]].item(),
                    "its dB": best[other].item(),
                    "95 % from": low,
                    "to": high,
                }
            )
    return rows


def measure(model, vae, task: Task) -> tuple[list[dict], dict[str, list[Score]], list[Tensor]]:
    """A row per setting, the scores by method, and each method's pictures at one setting."""
    maps = invert(model, vae, task)
    rows, shown = [], []
    scores: dict[str, list[Score]] = {method: [] for method in METHODS}
    for method, skip, cfg in product(METHODS, SKIPS, CFGS):
        images = edit(method, model, vae, task, maps, skip, cfg)
        found = score(task, images)
        scores[method].append(found)
        means = {name: values.mean().item() for name, values in found._asdict().items()}
        rows.append({"method": method, "skip": skip, "cfg": cfg, **means})
        print(".", end="", flush=True)
        if (skip, cfg) == SHOWN:
            shown.append(images[:12])
    print()
    return rows, scores, shown


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    model, clip, vae = load_demo("v")
    task = word_task(clip, args.worlds, args.seed, "colour")
    rows, scores, shown = measure(model, vae, task)
    comparison = compare(scores, args.worlds)
    print_table(rows)
    print_table(comparison)
    write_results("editing", {"worlds": args.worlds, "comparison": comparison, "settings": rows})
    write_sheet("editing", [task.source[:12], task.ideal[:12], *shown])
