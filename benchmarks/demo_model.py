"""Quality of the trained demo model: does a sampled picture show what its caption names?

`python tools/in_host.py benchmarks.demo_model --prediction v --images 512 --cfg 3 --steps 50`
samples captions of two things, of one thing, and of two things one of which is a pair of colour and
shape that training never showed, as the host's KSampler node does. It reads the pictures with
`demo.reader`, prints one table and writes `benchmarks/results/demo_model_<prediction>.json` and
contact sheets in `out/`.
"""

import argparse
from pathlib import Path

import torch
from comfy import sample
from PIL import Image, ImageDraw
from torch import Tensor

from ..demo.model import PREDICTIONS, encode_captions, load_demo
from ..demo.reader import Reading, read
from ..demo.world import HELD_OUT_PAIRS, SIZE, Worlds, captions, draw_worlds, render
from .report import ROOT, write_results

BATCH = 64
THINGS = ("colour", "shape", "size", "present")


def two_things(count: int, generator: torch.Generator) -> Worlds:
    worlds = draw_worlds(count, generator)
    return worlds._replace(present=torch.ones_like(worlds.present))


def one_thing(count: int, generator: torch.Generator) -> Worlds:
    worlds = draw_worlds(count, generator)
    return worlds._replace(present=torch.tensor([True, False]).repeat(count, 1))


def one_unseen(count: int, generator: torch.Generator) -> Worlds:
    """Two things; the one of a held-out pair is named first in every second caption."""
    worlds = two_things(count, generator)
    unseen = draw_worlds(count, generator, HELD_OUT_PAIRS)
    chosen = is_unseen(count)
    return worlds._replace(
        colour=torch.where(chosen, unseen.colour, worlds.colour),
        shape=torch.where(chosen, unseen.shape, worlds.shape),
    )


def is_unseen(count: int) -> Tensor:
    return torch.arange(2) == torch.arange(count)[:, None] % 2


DRAWN = {"two things": two_things, "one thing": one_thing, "one unseen": one_unseen}


def sample_images(args: argparse.Namespace, texts: list[str]) -> Tensor:
    """One image per caption (batch, 32, 32, 3), by the host's sampler."""
    model, clip, vae = load_demo(args.prediction)
    scheduler = "simple" if args.prediction == "flow" else "ddim_uniform"
    empty = encode_captions(clip, [""])
    images = []
    for start in range(0, len(texts), BATCH):
        chosen = texts[start : start + BATCH]
        positive = encode_captions(clip, chosen)
        latent = torch.zeros(len(chosen), 3, SIZE, SIZE)
        seed = args.seed + start
        noise = sample.prepare_noise(latent, seed)
        x_0 = sample.sample(
            model, noise, args.steps, args.cfg, "euler", scheduler, positive, empty, latent,
            disable_pbar=True, seed=seed,
        )  # fmt: skip
        images.append(vae.decode(x_0))
    return torch.cat(images)


def match(worlds: Worlds, images: Tensor) -> Reading:
    """What the images show, its things in the order of the captions that fits better."""
    seen = read(images)
    flipped = seen._replace(**{name: getattr(seen, name).flip(1) for name in (*THINGS, "centres")})
    better = _hits(worlds, flipped).sum((1, 2)) > _hits(worlds, seen).sum((1, 2))
    return Reading(
        *(
            torch.where(better.view(-1, *[1] * (a.dim() - 1)), b, a)
            for a, b in zip(seen, flipped, strict=True)
        )
    )


def _hits(worlds: Worlds, seen: Reading) -> Tensor:
    """Which of THINGS are right, (batch, 2, 4); an absent thing is right where none is seen."""
    alike = torch.stack([getattr(worlds, name) == getattr(seen, name) for name in THINGS], -1)
    present, shown = worlds.present[..., None], seen.present[..., None]
    return torch.where(present, alike & shown, ~shown)


def right_rates(worlds: Worlds, seen: Reading) -> dict[str, float]:
    """Rates of pictures that are right; bound means right in colour and shape of all things."""
    hits = _hits(worlds, seen)
    rates = {f"{name}s": hits[..., i].all(1) for i, name in enumerate(THINGS[:3])}
    rates["number"] = hits[..., 3].all(1)
    rates["bound"] = hits[..., :2].all((1, 2))
    rates["ground"] = seen.ground == worlds.ground
    rates["bound + ground"] = rates["bound"] & rates["ground"]
    rates["all words"] = hits.all((1, 2)) & rates["ground"]
    things = hits[..., :2].all(2)
    rates["each thing"] = things[worlds.present]
    rates["every second"] = things[is_unseen(len(things))]  # the unseen ones, if there are
    return {name: right.double().mean().item() for name, right in rates.items()}


def grid_measures(images: Tensor) -> dict[str, float]:
    """Checkerboard energy, and squared steps across edges of 2 x 2 blocks over those within.

    The model works on such blocks; without a grid both are as for rendered images.
    """
    x = images.double()
    board = x[:, 1:, 1:] - x[:, 1:, :-1] - x[:, :-1, 1:] + x[:, :-1, :-1]
    steps = [x.diff(dim=dim).square().mean((0, 1 if dim == 2 else 2, 3)) for dim in (1, 2)]
    edges = sum(step[1::2].mean() for step in steps) / sum(step[::2].mean() for step in steps)
    return {"checkerboard": board.square().mean().item() / 16, "block edges": edges.item()}


def contact_sheet(images: Tensor, texts: list[str], seen: Reading, path: Path) -> None:
    """8 x 8 pictures, enlarged; what the reader saw is red where it is not the caption."""
    read_texts = captions(Worlds(*seen[:5], unnamed=torch.empty(0)))
    tile, line, across = SIZE * 8, 14, 8
    rows = -(-min(len(images), 64) // across)
    sheet = Image.new("RGB", (across * tile, rows * (tile + 2 * line)), "black")
    draw = ImageDraw.Draw(sheet)
    for i, image in enumerate(images[: rows * across]):
        left, top = i % across * tile, i // across * (tile + 2 * line)
        pixels = Image.fromarray((image * 255).round().byte().numpy())
        sheet.paste(pixels.resize((tile, tile), Image.Resampling.NEAREST), (left, top))
        draw.text((left, top + tile), texts[i], "white")
        if read_texts[i] != texts[i]:
            draw.text((left, top + tile + line), read_texts[i], (255, 90, 90))
    path.parent.mkdir(exist_ok=True)
    sheet.save(path)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prediction", choices=PREDICTIONS, default="v")
    parser.add_argument("--images", type=int, default=512, help="captions of each sort")
    parser.add_argument("--cfg", type=float, default=3.0)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    table = {}
    for sort, draw in DRAWN.items():
        worlds = draw(args.images, torch.Generator().manual_seed(args.seed))
        texts, rendered = captions(worlds), render(worlds)[0]
        sampled = sample_images(args, texts)
        for column, images in ((sort, sampled), ("drawn", rendered)):
            seen = match(worlds, images)
            # Rendered pictures are a check of the reader; the first sort suffices.
            table.setdefault(column, right_rates(worlds, seen) | grid_measures(images))
        name = f"demo_model_{args.prediction}_{sort.replace(' ', '_')}_cfg{args.cfg:g}.png"
        contact_sheet(sampled, texts, match(worlds, sampled), ROOT / "out" / name)
    print(f"{'':<14}" + "".join(f"{column:>12}" for column in table))
    for row in next(iter(table.values())):
        print(f"{row:<14}" + "".join(f"{values[row]:>12.4f}" for values in table.values()))
    write_results(f"demo_model_{args.prediction}", {"settings": vars(args), **table})
