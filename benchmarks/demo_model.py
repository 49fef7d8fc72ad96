"""Quality of the trained demo models: does a sampled picture show what its caption names?

    make bench NAME=demo_model

Captions of two things, of one, and of two of which one is a pair of colour and shape that training
never showed. Samples as the host's KSampler does and reads the pictures with
`demo.training.reader`; drawn pictures are read beside them. The sheet shows drawn pictures above
those that the v model sampled from their captions.
"""

import torch
from comfy import sample
from torch import Tensor

from ..demo.model import block_pattern, encode_captions, load_demo
from ..demo.training.reader import Reading, hits, read_for
from ..demo.world import HELD_OUT_PAIRS, SIZE, Worlds, captions, draw_worlds, render
from .measure import options, print_table, write_results, write_sheet

STEPS, CFG, BATCH = 50, 3.0, 64
SHOWN, ACROSS = 24, 8
SMALLER = 16  # times fewer pictures than of two things by the v model
SCHEDULERS = {"v": "ddim_uniform", "eps": "ddim_uniform", "flow": "simple"}


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
    """Which of two things `one_unseen` takes from the held-out pairs, (count, 2)."""
    return torch.arange(2) == torch.arange(count)[:, None] % 2


DRAWN = {"two things": two_things, "one thing": one_thing, "one unseen": one_unseen}


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


def right_rates(worlds: Worlds, seen: Reading) -> dict[str, float]:
    """Rates of pictures that are right; `bound` is right in colour and shape of all things."""
    found, ground = hits(seen, worlds), seen.ground == worlds.ground
    names = ("colours", "shapes", "sizes", "number")
    right = {name: found[..., i].all(1) for i, name in enumerate(names)}
    right["bound"] = found[..., :2].all((1, 2))
    right["ground"] = ground
    right["all words"] = found.all((1, 2)) & ground
    right["unseen"] = found[..., :2].all(2)[is_unseen(len(found))]  # every second of other captions
    return {name: of_worlds.double().mean().item() for name, of_worlds in right.items()}


def grid_strength(images: Tensor) -> float:
    """Root mean square of the 2 x 2 pattern that repeats all over a picture, in grey levels of 255.

    The models work on such blocks; drawn pictures have hardly any.
    """
    return 255 * block_pattern(images.movedim(-1, 1)).square().mean().sqrt().item()


@torch.inference_mode()
def main() -> None:
    args = options(__doc__, worlds=512).parse_args()
    rows: dict[str, dict] = {}

    def add(name: str, worlds: Worlds, images: Tensor) -> None:
        rates = right_rates(worlds, read_for(worlds, images))
        rows[name] = {"pictures": len(images), **rates, "grid": grid_strength(images)}
        print(name, rows[name], flush=True)

    for prediction in SCHEDULERS:
        for sort, draw in DRAWN.items():
            few = prediction != "v" or sort != "two things"
            count = max(1, args.worlds // SMALLER) if few else args.worlds
            worlds = draw(count, torch.Generator().manual_seed(args.seed))
            drawn = render(worlds)[0]
            sampled = sample_images(prediction, captions(worlds), args.seed)
            add(f"{prediction}, {sort}", worlds, sampled)
            if prediction == "v":
                add(f"drawn, {sort}", worlds, drawn)
                if sort == "two things":
                    shown = [*drawn[:SHOWN].split(ACROSS), *sampled[:SHOWN].split(ACROSS)]
                    write_sheet(args.out, "demo_model", shown)
    print_table(rows)
    write_results(args.out, "demo_model", {"steps": STEPS, "cfg": CFG, "models": rows})
