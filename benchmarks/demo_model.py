"""Quality of the trained demo model: does a sampled picture show what its caption names?

`python tools/in_host.py benchmarks.demo_model --prediction v --images 512 --cfg 3 --steps 50`
samples as the host's KSampler node does, reads the pictures with `demo.reader`, prints one table
and writes `benchmarks/results/demo_model_<prediction>.json` and a contact sheet in `out/`.
"""

import argparse
from pathlib import Path

import torch
from comfy import sample
from PIL import Image, ImageDraw
from torch import Tensor

from ..demo.model import PREDICTIONS, encode_captions, load_demo
from ..demo.training.reader import Attributes, read
from ..demo.world import COLOURS, GROUNDS, SHAPES, SIZE, Worlds, captions, draw_worlds, render
from .report import ROOT, write_results

BATCH = 64
NAMES = {"colour": COLOURS, "shape": SHAPES, "ground": GROUNDS}


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


def right_rates(worlds: Worlds, seen: Attributes) -> dict[str, float]:
    """Rates of right attributes: each, all three at once, each word where it is named."""
    right = {name: getattr(seen, name) == getattr(worlds, name) for name in NAMES}
    rates = {name: hits.double().mean().item() for name, hits in right.items()}
    rates["all"] = torch.stack([*right.values()]).all(0).double().mean().item()
    for name, words in NAMES.items():
        for i, word in enumerate(words):
            rates[word] = right[name][getattr(worlds, name) == i].double().mean().item()
    return rates


def grid_measures(images: Tensor) -> dict[str, float]:
    """Checkerboard energy, and squared steps across edges of 2 x 2 blocks over those within.

    The model works on such blocks; without a grid both are as for rendered images.
    """
    x = images.double()
    board = x[:, 1:, 1:] - x[:, 1:, :-1] - x[:, :-1, 1:] + x[:, :-1, :-1]
    steps = [x.diff(dim=dim).square().mean((0, 1 if dim == 2 else 2, 3)) for dim in (1, 2)]
    edges = sum(step[1::2].mean() for step in steps) / sum(step[::2].mean() for step in steps)
    return {"checkerboard": board.square().mean().item() / 16, "block edges": edges.item()}


def contact_sheet(images: Tensor, texts: list[str], seen: Attributes, path: Path) -> None:
    """8 x 8 pictures, enlarged; what the reader saw is red where it is not the caption."""
    read_texts = captions(Worlds(*seen, unnamed=torch.empty(0)))
    tile, line, across = SIZE * 4, 14, 8
    sheet = Image.new("RGB", (across * tile, 8 * (tile + 2 * line)), "black")
    draw = ImageDraw.Draw(sheet)
    for i, image in enumerate(images[: 8 * across]):
        left, top = i % across * tile, i // across * (tile + 2 * line)
        pixels = Image.fromarray((image * 255).round().byte().numpy())
        sheet.paste(pixels.resize((tile, tile), Image.Resampling.NEAREST), (left, top))
        draw.text((left, top + tile), texts[i][2:], "white")
        if read_texts[i] != texts[i]:
            draw.text((left, top + tile + line), read_texts[i][2:], (255, 90, 90))
    path.parent.mkdir(exist_ok=True)
    sheet.save(path)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prediction", choices=PREDICTIONS, default="v")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--cfg", type=float, default=3.0)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    worlds = draw_worlds(args.images, torch.Generator().manual_seed(args.seed))
    texts, rendered = captions(worlds), render(worlds)[0]
    sampled = sample_images(args, texts)
    table = {}
    for column, images in (("sampled", sampled), ("rendered", rendered)):
        table[column] = right_rates(worlds, read(images)) | grid_measures(images)
    print(f"{'':<14}" + "".join(f"{column:>10}" for column in table))
    for row in table["sampled"]:
        print(f"{row:<14}" + "".join(f"{values[row]:>10.4f}" for values in table.values()))
    write_results(f"demo_model_{args.prediction}", {"settings": vars(args), **table})
    sheet = ROOT / "out" / f"demo_model_{args.prediction}_cfg{args.cfg:g}.png"
    contact_sheet(sampled, texts, read(sampled), sheet)
