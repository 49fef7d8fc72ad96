"""Quality of the trained demo models: does a sampled picture show what its caption names?

    make bench NAME=demo_model

Samples as the host's KSampler does and reads the pictures with `demo.training.reader`; drawn
pictures of the same captions are read beside them. The sheet shows the v model's.
"""

import torch
from comfy import sample
from torch import Tensor

from ..demo.model import encode_captions, load_demo
from ..demo.training.reader import Attributes, read
from ..demo.world import COLOURS, GROUNDS, SHAPES, SIZE, Worlds, captions, draw_worlds, render
from .measure import options, print_table, write_results, write_sheet

STEPS, CFG, BATCH = 50, 3.0, 64
SHOWN, ACROSS = 64, 8
SMALLER = 4  # the share of pictures for the models that only prove other families
SCHEDULERS = {"v": "ddim_uniform", "eps": "ddim_uniform", "flow": "simple"}
NAMES = {"colour": COLOURS, "shape": SHAPES, "ground": GROUNDS}


def sample_images(prediction: str, texts: list[str], seed: int) -> Tensor:
    """One image per caption (batch, 32, 32, 3), by the host's sampler."""
    model, clip, vae = load_demo(prediction)
    empty, images = encode_captions(clip, [""]), []
    for start in range(0, len(texts), BATCH):
        positive = encode_captions(clip, texts[start : start + BATCH])
        latent = torch.zeros(len(texts[start : start + BATCH]), 3, SIZE, SIZE)
        noise = sample.prepare_noise(latent, seed + start)
        x_0 = sample.sample(
            model, noise, STEPS, CFG, "euler", SCHEDULERS[prediction], positive, empty, latent,
            disable_pbar=True, seed=seed + start,
        )  # fmt: skip
        images.append(vae.decode(x_0))
    return torch.cat(images)


def right_rates(worlds: Worlds, seen: Attributes) -> dict[str, float]:
    """Rates of right attributes: each, and all three at once."""
    right = {name: getattr(seen, name) == getattr(worlds, name) for name in NAMES}
    right["all"] = torch.stack([*right.values()]).all(0)
    return {name: hits.double().mean().item() for name, hits in right.items()}


def grid_measures(images: Tensor) -> dict[str, float]:
    """Checkerboard energy, and squared steps across edges of 2 x 2 blocks over those within.

    The model works on such blocks; without a grid both are as for drawn images.
    """
    x = images.double()
    board = x[:, 1:, 1:] - x[:, 1:, :-1] - x[:, :-1, 1:] + x[:, :-1, :-1]
    steps = [x.diff(dim=dim).square().mean((0, 1 if dim == 2 else 2, 3)) for dim in (1, 2)]
    within, across = (sum(step[i::2].mean().item() for step in steps) for i in (0, 1))
    return {"checkerboard": board.square().mean().item() / 16, "block edges": across / within}


@torch.inference_mode()
def main() -> None:
    args = options(__doc__, worlds=512).parse_args()
    rows: dict[str, dict] = {}
    for prediction in SCHEDULERS:
        count = args.worlds if prediction == "v" else max(1, args.worlds // SMALLER)
        worlds = draw_worlds(count, torch.Generator().manual_seed(args.seed))
        texts, drawn = captions(worlds), render(worlds)[0]
        sampled = sample_images(prediction, texts, args.seed)
        for name, images in ((prediction, sampled), (f"{prediction}, drawn", drawn)):
            rates = right_rates(worlds, read(images))
            rows[name] = {"pictures": count, **rates, **grid_measures(images)}
        if prediction == "v":
            rows_shown = sampled[:SHOWN].split(ACROSS)
            whole = [row for row in rows_shown if len(row) == len(rows_shown[0])]
            write_sheet(args.out, "demo_model", whole)
    print_table(rows)
    write_results(args.out, "demo_model", {"steps": STEPS, "cfg": CFG, "models": rows})
