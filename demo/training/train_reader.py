"""Trains the reader of demo pictures: `python tools/in_host.py demo.training.train_reader`.

It sees rendered worlds with all pairs of colour and shape; most are warped, blurred, tinted and
made noisy at random, so that the flaws of generated and edited pictures do not turn a right shape
into a wrong one.
"""

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from ..world import PAIRS, Worlds, centres, draw_worlds, render
from .reader import GRID, NAMES, WEIGHTS, Reader, Scores, distances, hits, read_with

SEED, STEPS, BATCH, LEARNING_RATE = 0, 3000, 64, 3e-3
TEST_SEED, TEST_IMAGES = 1_000_000, 10_000
REPORT_EVERY = 250
SPREAD = 0.09  # of the places that are taught to know a thing, in half widths of the picture


def loss(scores: Scores, worlds: Worlds) -> Tensor:
    """Cross-entropy of presence everywhere, of the words near their things, and of the ground."""
    close = torch.exp(-(distances(centres(worlds)) ** 2) / (2 * SPREAD**2))
    close = close * worlds.present[:, :, None, None]
    total = functional.cross_entropy(scores.ground, worlds.ground)
    total = total + 4 * functional.binary_cross_entropy_with_logits(
        scores.presence, close.amax(1).square()
    )
    for name in NAMES:
        logs = getattr(scores, name).log_softmax(1)  # (batch, words, 16, 16)
        words = getattr(worlds, name)[:, :, None, None].expand(-1, -1, GRID, GRID)
        total = total - (logs.gather(1, words) * close).sum() / close.sum()
    return total


def flaw(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images with the flaws of generated ones; how much of each is drawn per image, often none."""
    count = len(images)
    flawed = torch.rand(count, 1, 1, 1, generator=generator) < 0.75

    def amount(*size: int) -> Tensor:
        return torch.rand(count, *size, generator=generator)

    x = images.movedim(-1, 1)
    # In half widths: 6 x 6 points that move by up to 1.1 pixels each.
    warp = 0.07 * amount(1, 1, 1) * (2 * amount(2, 6, 6) - 1)
    warp = functional.interpolate(warp, x.shape[-2:], mode="bicubic", align_corners=True)
    still = functional.affine_grid(torch.eye(2, 3).expand(count, 2, 3), x.shape, False)
    x = functional.grid_sample(
        x, still + warp.movedim(1, -1), padding_mode="border", align_corners=False
    )
    edged = functional.pad(x, (1, 1, 1, 1), mode="replicate")
    x = x.lerp(functional.avg_pool2d(edged, 3, 1), 0.8 * amount(1, 1, 1))
    # High guidance saturates, so contrast rises by more than it falls.
    x = 0.5 + (x - 0.5) * (0.85 + 0.5 * amount(1, 1, 1).square())
    x = x + 0.16 * amount(1, 1, 1) * (amount(3, 1, 1) - 0.5)
    x = x + 0.12 * amount(1, 1, 1) * torch.randn(x.shape, generator=generator)
    return torch.where(flawed, x.clamp(0, 1).movedim(1, -1), images)


def accuracy(network: Reader, flawed: bool) -> dict[str, float]:
    """Rates of right words on fresh worlds at their places, and of pictures right in everything."""
    generator = torch.Generator().manual_seed(TEST_SEED)
    worlds = draw_worlds(TEST_IMAGES, generator, PAIRS)
    images = render(worlds)[0]
    images = flaw(images, generator) if flawed else images
    seen = read_with(network, images, centres(worlds))
    found = read_with(network, images, None)
    right = {name: (getattr(seen, name) == getattr(worlds, name))[worlds.present] for name in NAMES}
    right["present"] = (seen.present == worlds.present).all(1)
    right["ground"] = seen.ground == worlds.ground
    right["picture"] = hits(seen, worlds).all((1, 2)) & right["ground"]
    right["number found"] = found.present.sum(1) == worlds.present.sum(1)
    return {name: of_worlds.double().mean().item() for name, of_worlds in right.items()}


def train(network: Reader) -> None:
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.01)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=STEPS)
    for step in range(STEPS):
        generator = torch.Generator().manual_seed((SEED << 32) + step)
        worlds = draw_worlds(BATCH, generator, PAIRS)
        value = loss(network(flaw(render(worlds)[0], generator)), worlds)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        rate.step()
        if (step + 1) % REPORT_EVERY == 0:
            print(f"step {step + 1:>5}  loss {value.item():.4f}", flush=True)


def main() -> None:
    """Trains, saves as float16 and prints the accuracy of what was saved."""
    torch.manual_seed(SEED)
    network = Reader()
    train(network)
    values = network.state_dict().items()
    halves = {name: v.half() if v.is_floating_point() else v for name, v in values}
    save_file(halves, WEIGHTS)
    network.load_state_dict(halves)
    network.eval()
    with torch.no_grad():
        for flawed in (False, True):
            rates = accuracy(network, flawed)
            print("flawed" if flawed else "clean ", {k: f"{v:.2%}" for k, v in rates.items()})
